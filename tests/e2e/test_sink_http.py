# SPDX-License-Identifier: MIT
"""The http sink alone, against receivers that misbehave: each gives its documented class in time."""

import base64
import hashlib
import hmac
import os
import socket
import ssl
import struct
import subprocess
import threading
import time
from pathlib import Path

import pytest

from fake_hub import FakeHub
from harness import BUILD, wait_for
from receiver import Receiver, date, make_certificate, tls_context

PROGRAM = str(BUILD / "belfry-sink-http")
KEY_A = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
KEY_B = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KEY_C = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
# For what runs into its timeout, and for what must be known long before it, on the busiest machine.
FAST, PATIENT = {"timeout": 2_000_000}, {"timeout": 60_000_000}
IN_TIME = 20
ID = "0123456789abcdef0123456789abcdef"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as r:
        yield r


@pytest.fixture(scope="module")
def credentials(tmp_path_factory):
    directory = tmp_path_factory.mktemp("credentials")
    for name, value in {"a": KEY_A, "b": KEY_B, "c": KEY_C, "token": "s3cret-token"}.items():
        (directory / name).write_text(value + "\n")
        (directory / name).chmod(0o600)
    return directory


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    d = str(tmp_path_factory.mktemp("certificates"))
    ca = make_certificate(d, "ca", ["127.0.0.1"])
    return {
        "ca": ca,
        "good": make_certificate(d, "good", ["127.0.0.1"], ca=ca),
        "wrong-name": make_certificate(d, "wrong", ["other.example"], ca=ca),
        "expired": make_certificate(d, "expired", ["127.0.0.1"], ca=ca, not_before="20200101000000Z",
                                    not_after="20200201000000Z"),
        "self-signed": make_certificate(d, "self", ["127.0.0.1"]),
    }


@pytest.fixture(scope="module")
def hub(credentials, certificates):
    with FakeHub(PROGRAM, credentials_dir=str(credentials),
                 read=[str(Path(certificates["ca"][0]).parent), str(credentials.parent)]) as h:
        h.numbers = iter(range(1, 10000))
        yield h


def add(hub, url, **options):
    number = next(hub.numbers)
    options = {"url": url, **options}
    assert hub.endpoint(number, options) == ""
    return number


def post(hub, url, *args, options=PATIENT, **kw):
    return hub.post(add(hub, url, **options), *args, **kw)


# What each ends as: path, class, status.
MISBEHAVIOURS = [
    ("ok", "delivered", 200),
    ("continue", "delivered", 200),
    ("trailers", "delivered", 200),
    ("rst-request", "network", 0),
    ("close", "network", 0),
    ("rst-head", "network", 0),
    ("silence", "timeout", 0),
    ("slow-head", "timeout", 0),
    ("endless-headers", "protocol", 0),
    ("huge-header", "protocol", 0),
    ("flood-1xx", "protocol", 0),
    ("only-1xx", "protocol", 0),
    ("early-close", "delivered", 200),
    ("early-refuse", "rejected", 413),
    ("http09", "protocol", 0),
    ("rst-body", "delivered", 200),
    ("rst-body?status=503", "server", 503),
    ("slow-body", "delivered", 200),
    ("slow-body?status=500", "server", 500),
    ("endless-body", "delivered", 200),
    ("endless-body?status=400", "rejected", 400),
    ("gzip-bomb", "delivered", 200),
    ("extra", "delivered", 204),
    ("status/300", "redirect", 300),
    ("status/301?location=http://169.254.169.254/", "redirect", 301),
    ("status/302?location=/status/302", "redirect", 302),
    ("status/307?location=file:///etc/passwd", "redirect", 307),
    ("status/400", "rejected", 400),
    ("status/401", "client", 401),
    ("status/403", "rejected", 403),
    ("status/404", "client", 404),
    ("status/407", "client", 407),
    ("status/408", "server", 408),
    ("status/409", "client", 409),
    ("status/410", "gone", 410),
    ("status/425", "throttled", 425),
    ("status/429", "throttled", 429),
    ("status/500", "server", 500),
    ("status/599", "server", 599),
    ("status/600", "protocol", 600),
    ("status/999", "protocol", 999),
    ("status/000", "protocol", 0),
    ("status/20", "protocol", 0),
    ("status/201", "delivered", 201),
    ("status/299", "delivered", 299),
    ("status/101?Upgrade=x&Connection=Upgrade", "protocol", 101),
]


@pytest.mark.parametrize("path,cls,status", MISBEHAVIOURS)
def test_misbehaviour(hub, receiver, path, cls, status):
    waits = cls == "timeout" or path.startswith("slow-body?")
    start = time.monotonic()
    v = post(hub, f"{receiver.url}/{path}", b'{"n": 1}', options=FAST if waits else PATIENT)
    took = time.monotonic() - start
    assert (v.cls, v.status) == (cls, status), v
    # A timeout ends within its time; all else is known before.
    assert (1.9 if waits else 0) < took < IN_TIME, took
    if cls == "delivered":
        assert v.detail == ""
    else:
        assert 0 < len(v.detail) < 256


# Bytes of a whole answer, after which the receiver closes.
RAW = [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef", "delivered"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc", "delivered"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "protocol"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\nhello", "delivered"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nhello", "delivered"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\nhello", "delivered"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "delivered"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello", "delivered"),
    (b"HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello", "server"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", "delivered"),
    (b"HTTP/1.1 200\r\n\r\n", "delivered"),
    (b"HTTP/1.1 200 OK\n\n", "delivered"),
    (b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n", "protocol"),
    (b"HTTP/1.1 200 OK\r\n", "network"),
    (b"HTTP/1.1 2000 OK\r\n\r\n", "protocol"),
    (b"HTTP/1.1 abc\r\n\r\n", "protocol"),
    (b"HTTP/9.9 200 OK\r\n\r\n", "protocol"),
    (b"\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "protocol"),
    (b"SSH-2.0-OpenSSH_9.2\r\n", "protocol"),
    (b"\x16\x03\x01\x00\x05hello", "protocol"),
    (b"\0" * 1000, "protocol"),
    (b"HTTP/1.1 302 Found\r\nLocation: " + b"/x" * 5000 + b"\r\n\r\n", "redirect"),
]


@pytest.mark.parametrize("raw,cls", RAW, ids=range(len(RAW)))
def test_raw_answers(hub, receiver, raw, cls):
    receiver.raw = raw
    v = post(hub, receiver.url + "/raw")
    assert v.cls == cls, v


def test_no_listener(hub):
    v = post(hub, f"http://127.0.0.1:{free_port()}/")
    assert v.cls == "network" and v.status == 0 and v.total_usec < IN_TIME * 1e6


def test_reset_at_accept(hub, receiver):
    v = post(hub, f"http://127.0.0.1:{receiver.listen(accept='rst')}/")
    assert v.cls == "network"


def test_accept_then_silence(hub, receiver):
    v = post(hub, f"http://127.0.0.1:{receiver.listen(accept='silence')}/", options=FAST)
    assert v.cls == "timeout"


def test_backlog_full_is_a_connect_timeout(hub):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen(0)
        fill = [socket.socket() for _ in range(4)]
        for f in fill:
            f.setblocking(False)
            f.connect_ex(s.getsockname())
        v = post(hub, f"http://127.0.0.1:{s.getsockname()[1]}/", options={**PATIENT, "connect_timeout": 300_000})
        assert v.cls == "timeout" and v.total_usec < IN_TIME * 1e6
        for f in fill:
            f.close()


def test_names_that_do_not_exist(hub):
    v = post(hub, "http://no-such-host.invalid/", options={"timeout": 5_000_000})
    assert v.cls in ("network", "timeout"), v


# TLS.
@pytest.mark.parametrize("which", ["self-signed", "expired", "wrong-name"])
def test_bad_certificates(hub, receiver, certificates, which):
    port = receiver.listen(tls=tls_context(certificates[which]))
    v = post(hub, f"https://127.0.0.1:{port}/", options={"ca": certificates["ca"][0]})
    assert v.cls == "tls", v
    # With the checks switched off it is delivered, and stats say so.
    endpoint = add(hub, f"https://127.0.0.1:{port}/", verify=False)
    assert hub.post(endpoint).cls == "delivered"
    hub.wait(lambda: hub.stats.get("endpoints", {}).get(f"sink-{endpoint}", {}).get("verify") is False, 20)


def test_good_certificate(hub, receiver, certificates):
    port = receiver.listen(tls=tls_context(certificates["good"]))
    assert post(hub, f"https://127.0.0.1:{port}/", options={"ca": certificates["ca"][0]}).cls == "delivered"
    assert post(hub, f"https://127.0.0.1:{port}/").cls == "tls"  # the system's authorities do not know it


def test_old_tls(hub, receiver, certificates):
    context = tls_context(certificates["good"], ssl.TLSVersion.TLSv1)
    v = post(hub, f"https://127.0.0.1:{receiver.listen(tls=context)}/", options={"verify": False})
    assert v.cls == "tls", v


def test_stalled_handshake(hub, receiver):
    port = receiver.listen(accept="silence")
    v = post(hub, f"https://127.0.0.1:{port}/", options={**PATIENT, "connect_timeout": 500_000})
    assert v.cls == "timeout" and v.total_usec < IN_TIME * 1e6, v


def test_tls_to_a_plain_port(hub, receiver):
    assert post(hub, receiver.url.replace("http", "https") + "/", options=FAST).cls in ("tls", "timeout")


# HTTP/2 without TLS.
@pytest.mark.parametrize("mode,cls", [("ok", "delivered"), ("early", "delivered"), ("rst", "network"),
                                      ("goaway", "network"), ("garbage", "protocol"),
                                      ("settings-flood", "timeout")])
def test_http2(hub, receiver, mode, cls):
    port = receiver.listen(h2=mode)
    v = post(hub, f"http://127.0.0.1:{port}/", b"x" * 300_000, options={**(FAST if cls == "timeout" else PATIENT), "http": "2"})
    expected = {cls} | ({"protocol", "network"} if mode in ("settings-flood", "goaway", "garbage") else set())
    assert v.cls in expected, v


def test_http2_over_tls_where_offered(hub, receiver, certificates):
    context = tls_context(certificates["good"])
    context.set_alpn_protocols(["h2", "http/1.1"])
    url = f"https://127.0.0.1:{receiver.listen(tls=context, h2='ok')}/"
    before, connections = len(receiver.http2_requests), receiver.n_connections
    endpoint = add(hub, url, ca=certificates["ca"][0])
    tickets = [hub.attempt(endpoint) for _ in range(20)]
    assert {hub.verdict(t).cls for t in tickets} == {"delivered"}
    # All of them on one connection.
    assert len(receiver.http2_requests) - before == 20 and receiver.n_connections - connections == 1


# Names.
class NameServer(threading.Thread):
    """Answers by the first label: nx, servfail, silent (not at all), meta (a metadata address), and
    flap (an error at first, then an address)."""

    def __init__(self):
        super().__init__(daemon=True)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.address = f"127.{os.getpid() % 200 + 20}.{os.getpid() // 200 % 250}.53"
        self.sock.bind((self.address, 53))
        self.flapping = True
        self.start()

    def run(self):
        while True:
            query, peer = self.sock.recvfrom(4096)
            if not query:
                return
            question = query[12:query.index(b"\0", 12) + 5]
            label, ipv4 = question[1:1 + question[0]].decode(), question[-4:-2] == b"\0\1"
            address = {"meta": "169.254.169.254", "flap": "127.0.0.1"}.get(label) if ipv4 else None
            if label == "silent":
                continue
            code = {"nx": 3, "servfail": 2}.get(label, 2 if label == "flap" and self.flapping else 0)
            n = 1 if address and code == 0 else 0
            answer = query[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, n, 0, 0) + question
            if n:
                answer += struct.pack(">HHHIH", 0xC00C, 1, 1, 60, 4) + socket.inet_aton(address)
            self.sock.sendto(answer, peer)


@pytest.fixture(scope="module")
def named_hub(tmp_path_factory):
    try:
        server = NameServer()
    except PermissionError:
        pytest.skip("port 53 and mount namespaces need root")
    path = tmp_path_factory.mktemp("resolver") / "resolv.conf"
    path.write_text(f"nameserver {server.address}\noptions attempts:2 timeout:5\n")
    path.chmod(0o644)
    with FakeHub(PROGRAM, read=[str(path)], resolv_conf=str(path)) as h:
        h.numbers, h.name_server = iter(range(1, 100)), server
        yield h


@pytest.mark.parametrize("label,cls", [("nx", "network"), ("servfail", "network"), ("silent", "timeout"),
                                       ("meta", "forbidden")])
def test_names(named_hub, label, cls):
    v = post(named_hub, f"http://{label}.example/", options=FAST if cls == "timeout" else PATIENT)
    assert v.cls == cls and v.status == 0 and v.total_usec < IN_TIME * 1e6, v


def test_a_name_that_comes_back(named_hub, receiver):
    endpoint = add(named_hub, f"http://flap.example:{receiver.port}/ok")
    assert named_hub.post(endpoint).cls == "network"
    named_hub.name_server.flapping = False
    assert named_hub.post(endpoint).cls == "delivered"


def test_a_silent_name_server_blocks_nobody_else(named_hub, receiver):
    """Giving up on a name leaves its resolver thread behind; it must not be waited for."""
    silent, good = add(named_hub, "http://silent.example/", timeout=6_000_000), add(named_hub, receiver.url + "/ok")
    tickets = [named_hub.attempt(silent) for _ in range(8)]
    slowest = 0
    while not all(t in named_hub.verdicts for t in tickets):
        start = time.monotonic()
        assert named_hub.post(good).cls == "delivered"
        slowest = max(slowest, time.monotonic() - start)
    assert {named_hub.verdicts[t].cls for t in tickets} == {"timeout"}
    assert slowest < 4, slowest


# Retry-After.
@pytest.mark.parametrize("value,low,high", [
    ("7", 7, 7), ("0", 0, 0), ("-1", 0, 0), ("1000000000", 3600, 3600), ("soon", 0, 0),
    (lambda: date(60), 30, 61), (lambda: date(-60), 0, 0), (lambda: date(86400), 3600, 3600)])
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after(hub, receiver, status, value, low, high):
    value = value() if callable(value) else value
    v = post(hub, f"{receiver.url}/status/{status}", options={**PATIENT, "query": {"retry-after": value}})
    assert v.status == status and low <= v.retry_after_usec / 1e6 <= high, v.retry_after_usec


# Connections.
def test_keep_alive(hub, receiver):
    endpoint = add(hub, receiver.url + "/ok")
    before = receiver.n_connections
    for _ in range(20):
        assert hub.post(endpoint).cls == "delivered"
    assert receiver.n_connections - before <= 1


@pytest.mark.parametrize("size,connections", ((1024, 1), (1025, 4)))
def test_response_limit(hub, receiver, size, connections):
    """The status counts either way; a longer body than that is not read, its connection is closed."""
    receiver.raw = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size
    endpoint = add(hub, receiver.url + "/raw-keep", response_limit=1024)
    for _ in range(4):
        assert hub.post(endpoint).cls == "delivered"
    assert len({r.connection for r in receiver.requests[-4:]}) == connections


def test_many_at_once(hub, receiver):
    endpoint = add(hub, receiver.url + "/ok")
    tickets = [hub.attempt(endpoint, b'{"n": %d}' % i) for i in range(64)]
    assert {hub.verdict(t).cls for t in tickets} == {"delivered"}


@pytest.mark.parametrize("path", ["close-after", "rst-second"])
def test_connection_dead_at_reuse(hub, receiver, path):
    """libcurl repeats by itself what died on a reused connection before a byte came back."""
    endpoint = add(hub, f"{receiver.url}/{path}")
    for i in range(5):
        v = hub.post(endpoint, b'{"n": %d}' % i)
        assert v.cls == "delivered", (i, v)
    sent = [r for r in receiver.requests if r.path == "/" + path]
    bodies = [r.body for r in sent]
    for i in range(5):
        # At most one repetition, with the same bytes.
        assert 1 <= bodies.count(b'{"n": %d}' % i) <= 2


def test_no_repetition_once_an_answer_began(hub, receiver):
    endpoint = add(hub, f"{receiver.url}/half-second")
    v = hub.post(endpoint, b"1")
    assert v.cls == "delivered", v
    assert hub.post(endpoint, b"2").cls == "network"
    assert [r.body for r in receiver.requests if r.path == "/half-second"] == [b"1", b"2"]


def test_extra_bytes_do_not_answer_the_next_request(hub, receiver):
    receiver.raw = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 500 Forged\r\nContent-Length: 0\r\n\r\n"
    endpoint = add(hub, receiver.url + "/raw-keep")
    assert hub.post(endpoint).status == 200
    assert hub.post(endpoint).status == 200


def test_slow_body_is_reported_early_and_gives_its_place(receiver):
    with FakeHub(PROGRAM, slots=2) as hub:
        hub.endpoint(1, {"url": receiver.url + "/slow-body", **PATIENT})
        hub.endpoint(2, {"url": receiver.url + "/ok"})
        start = time.monotonic()
        tickets = [hub.attempt(1), hub.attempt(1)]
        assert {hub.verdict(t).cls for t in tickets} == {"delivered"}
        assert time.monotonic() - start < IN_TIME
        assert {hub.post(2).cls for _ in range(4)} == {"delivered"}  # both places are there again


def test_more_attempts_than_slots_come_back_unsent(receiver):
    with FakeHub(PROGRAM, slots=2) as hub:
        hub.endpoint(1, {"url": receiver.url + "/delay/0.3"})
        tickets = [hub.attempt(1) for _ in range(4)]
        hub.wait(lambda: len(hub.verdicts) == 2 and len(hub.unsent) == 2, 10)
        assert set(tickets[2:]) == hub.unsent


def test_cancel(hub, receiver):
    before = len(receiver.requests)
    late = hub.attempt(add(hub, receiver.url + "/delay/0.5"))
    wait_for(lambda: len(receiver.requests) > before, "the request")
    hub.cancel(late)
    assert hub.verdict(late).cls == "delivered"
    early = hub.attempt(add(hub, f"https://127.0.0.1:{receiver.listen(accept='silence')}/"))
    hub.cancel(early)
    hub.wait(lambda: early in hub.unsent, 20)
    hub.cancel(987654321)  # unknown: nothing happens


def test_stop_waits_for_what_runs(receiver):
    with FakeHub(PROGRAM) as hub:
        hub.endpoint(1, {"url": receiver.url + "/delay/0.5"})
        before = len(receiver.requests)
        ticket = hub.attempt(1)
        wait_for(lambda: len(receiver.requests) > before, "the request")
        hub.send(4, b"")
        assert hub.verdict(ticket).cls == "delivered"
        hub.wait(lambda: hub.closed, 10)
        hub.process.wait(10)


def test_generations(hub, receiver):
    number = add(hub, receiver.url + "/delay/0.5")
    running = hub.attempt(number)
    assert hub.endpoint(number, {"url": receiver.url + "/status/503"}, generation=2) == ""
    assert hub.post(number, generation=2).status == 503
    assert hub.verdict(running).status == 200
    old = hub.attempt(number, generation=1)
    hub.wait(lambda: old in hub.unsent, 20)
    hub.forget(number)
    gone = hub.attempt(number, generation=2)
    hub.wait(lambda: gone in hub.unsent, 20)


# Egress.
@pytest.mark.parametrize("host", ["169.254.169.254", "169.254.0.1", "[fe80::1]", "[fd00:ec2::254]", "0.0.0.0",
                                  "[::ffff:169.254.169.254]", "2852039166", "0xa9fea9fe", "[64:ff9b::a9fe:a9fe]"])
def test_forbidden_addresses(hub, host):
    v = post(hub, f"http://{host}/latest/meta-data/")
    assert v.cls == "forbidden" and v.total_usec < IN_TIME * 1e6, v


def test_denied_and_allowed(hub, receiver):
    assert post(hub, receiver.url + "/ok", options={"deny": ["127.0.0.0/8"]}).cls == "forbidden"
    # A connection that another endpoint opened is judged anew for this one.
    assert post(hub, receiver.url + "/ok").cls == "delivered"
    assert post(hub, receiver.url + "/ok", options={"deny": ["127.0.0.1"]}).cls == "forbidden"
    assert post(hub, f"http://0.0.0.0:{receiver.port}/ok", options={"allow": ["0.0.0.0/8", "127.0.0.0/8"]}).cls \
        == "delivered"


def test_a_name_with_a_forbidden_address(hub, receiver):
    """localhost resolves to two addresses; the second is not tried when the first is forbidden."""
    v = post(hub, f"http://localhost:{receiver.port}/ok", options={"deny": ["127.0.0.0/8", "::1"]})
    assert v.cls == "forbidden", v


def proxy_variables(port):
    """Every variable that curl takes a proxy from, at a port where a request would be noticed."""
    names = ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY")
    return {name: f"http://127.0.0.1:{port}" for name in names}


def test_environment_proxies_are_ignored(receiver):
    # The hub passes no environment at all (test_main_path.py); this is the belt to those braces.
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        with FakeHub(PROGRAM, variables=proxy_variables(proxy.getsockname()[1])) as hub:
            hub.endpoint(1, {"url": receiver.url + "/ok"})
            assert hub.post(1).cls == "delivered"
        proxy.setblocking(False)
        with pytest.raises(BlockingIOError):
            proxy.accept()


# Secrets.
def signature(key, id, timestamp, body):
    mac = hmac.new(base64.b64decode(key[6:]), f"{id}.{timestamp}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(mac.digest()).decode()


def test_signatures(hub, receiver, credentials):
    body = '{"ü": "€"}'.encode()
    assert post(hub, receiver.url + "/ok", body, options={"secret": ["credential:b", "credential:c", "credential:a"]}) \
        .cls == "delivered"
    r = receiver.requests[-1]
    stamp = r.headers["webhook-timestamp"]
    assert abs(int(stamp) - time.time()) < 30
    b, c, a = r.headers["webhook-signature"].split(" ")
    assert b == signature(KEY_B, ID, stamp, body) and a == signature(KEY_A, ID, stamp, body)
    assert c.startswith("v1a,") and len(base64.b64decode(c[4:])) == 64
    assert r.body == body


def test_missing_secret_degrades_and_heals(hub, receiver, credentials):
    number = next(hub.numbers)
    reason = hub.endpoint(number, {"url": receiver.url + "/ok", "secret": ["credential:late"]})
    assert "credential:late" in reason
    assert hub.post(number).cls == "endpoint"
    (credentials / "late").write_text(KEY_A)
    hub.wait(lambda: hub.states[-1] == (number, 1, ""), 30)
    assert hub.post(number).cls == "delivered"
    assert "webhook-signature" in receiver.requests[-1].headers


def test_rotated_file(hub, receiver, credentials):
    path = credentials.parent / credentials.name / "rotating"
    path.write_text(KEY_A)
    path.chmod(0o600)
    endpoint = add(hub, receiver.url + "/ok", secret=[f"file:{path}"])

    def signed_with(key):
        assert hub.post(endpoint).cls == "delivered"
        r = receiver.requests[-1]
        return r.headers["webhook-signature"] == signature(key, ID, r.headers["webhook-timestamp"], r.body)

    assert signed_with(KEY_A)
    path.write_text(KEY_B)
    wait_for(lambda: signed_with(KEY_B), "the new key in use", 30)


def test_nothing_secret_is_shown(receiver, credentials, tmp_path):
    (credentials / "url").write_text(f"{receiver.url.replace('//', '//user:pw-s3cret@')}/echo/T0KEN-s3cret?k=q-s3cret")
    with FakeHub(PROGRAM, credentials_dir=str(credentials)) as hub:
        hub.endpoint(1, {"url": "credential:url", "headers": {"X-Token": "credential:token"},
                         "query": {"t": "credential:token"}, "secret": ["credential:a"]})
        v = hub.post(1, b'{"shown": 1}', trace=True)
        assert v.cls == "delivered" and '{"shown": 1}' in v.trace and "webhook-id: " + ID in v.trace
        assert "HTTP/1.1 200 OK" in v.trace and "s3cret" not in v.trace and "****" in v.trace
        # The receiver did get them.
        raw = receiver.requests[-1].raw.decode()
        assert raw.count("s3cret") == 4 and "Authorization: Basic" in raw
        (credentials / "url").write_text("http://no-such-host-s3cret.invalid/x")
        hub.endpoint(1, {"url": "credential:url", **PATIENT}, generation=2)
        v = hub.post(1, generation=2)
        assert "s3cret" not in v.detail and v.detail
        (credentials / "url").write_text(f"{receiver.url}/status/302/s3cret?location=/status/302/s3cret")
        hub.endpoint(1, {"url": "credential:url"}, generation=3)
        v = hub.post(1, generation=3)
        assert v.cls == "redirect" and "s3cret" not in v.detail
        assert not any("s3cret" in line for line in hub.logs) and "s3cret" not in hub.errors()


# The request.
def test_golden_request(hub, receiver, credentials):
    """The request of belfry-http(5), byte for byte; only port, time and so the signature differ."""
    id = "5f0c6bd2a1f94c0e8b7d3a1e6c2f9b04"
    text = man_example()
    head, body = text.split("\n\n", 1)
    body = body.rstrip("\n").encode()
    v = post(hub, receiver.url + "/ok/hooks/ops", body, id=id, options={"secret": ["credential:a"]})
    assert v.cls == "delivered"
    sent = receiver.requests[-1]
    stamp = sent.headers["webhook-timestamp"]
    now = {"Host": f"127.0.0.1:{receiver.port}", "webhook-timestamp": stamp,
           "webhook-signature": signature(KEY_A, id, stamp, body)}
    lines = []
    for line in head.replace("POST /hooks/ops", "POST /ok/hooks/ops").split("\n"):
        name = line.split(":")[0]
        lines.append(f"{name}: {now[name]}" if name in now else line)
    assert sent.raw == "\r\n".join(lines).encode() + b"\r\n\r\n" + body
    # What the page itself prints is right too.
    printed = dict(line.split(": ", 1) for line in head.split("\n")[1:])
    assert printed["webhook-signature"] == signature(KEY_A, id, printed["webhook-timestamp"], body)
    assert int(printed["Content-Length"]) == len(body)


MAN = Path(__file__).resolve().parents[2] / "man" / "belfry-http.5"


def man_blocks():
    """The displays (.EX to .EE) of the manual page, as a reader would see them."""
    blocks, block = [], None
    for line in MAN.read_text().splitlines():
        if line == ".EX":
            block = []
        elif line == ".EE":
            blocks.append("\n".join(block) + "\n")
            block = None
        elif block is not None:
            line = line[2:] if line.startswith("\\&") else line
            block.append(line.replace("\\-", "-").replace("\\(aq", "'").replace("\\(dq", '"').replace("\\e", "\\")
                         .replace("\\(ha", "^").replace("\\(ti", "~"))
    return blocks


def man_example():
    return next(b for b in man_blocks() if b.startswith("POST /hooks/ops"))


@pytest.mark.parametrize("language", ["python", "shell"])
def test_verify_recipes(hub, receiver, credentials, tmp_path, language):
    """The recipes of the manual page accept what is sent and nothing else."""
    start = {"python": "#!/usr/bin/python3", "shell": "#!/bin/sh"}[language]
    recipe = tmp_path / "verify"
    recipe.write_text(next(b for b in man_blocks() if b.startswith(start)))
    recipe.chmod(0o755)
    body = b'{"a": "' + "ü€".encode() + b'"}\n'
    post(hub, receiver.url + "/ok", body, options={"secret": ["credential:b", "credential:a"]})
    sent = receiver.requests[-1]
    (tmp_path / "body").write_bytes(sent.body)

    def verify(id=sent.headers["webhook-id"], stamp=sent.headers["webhook-timestamp"],
               header=sent.headers["webhook-signature"], key=KEY_A):
        with open(tmp_path / "body", "rb") as f:
            return subprocess.run([str(recipe), id, stamp, header], stdin=f, env={**os.environ, "SECRET": key},
                                  capture_output=True).returncode == 0

    assert verify() and verify(key=KEY_B)
    assert not verify(key="whsec_" + base64.b64encode(b"x" * 24).decode())
    assert not verify(id="other") and not verify(header="v1,") and not verify(header="")
    assert not verify(stamp=str(int(sent.headers["webhook-timestamp"]) - 1000))
    (tmp_path / "body").write_bytes(sent.body + b" ")
    assert not verify()


@pytest.mark.parametrize("format,type", [
    ("cloudevents", "application/cloudevents+json; charset=UTF-8"), ("data", "application/json"),
    ("rendered", "application/json"), ("cloudevents-binary", "application/json")])
def test_content_types(hub, receiver, format, type):
    headers = [("ce-id", "x"), ("ce-type", "file.created")] if format == "cloudevents-binary" else []
    assert post(hub, receiver.url + "/ok", format=format, headers=headers).cls == "delivered"
    r = receiver.requests[-1]
    assert r.headers["content-type"] == type
    assert [line for line in r.header_lines if line.startswith("ce-")] == [f"{n}: {v}" for n, v in headers]
    assert not {"accept", "accept-encoding", "expect"} & set(r.headers)


def test_headers(hub, receiver, credentials):
    endpoint = add(hub, receiver.url + "/ok?a=1", query={"b": "x y", "t": "credential:token"},
                   headers={"X-Own": "own", "Authorization": "credential:token", "X-Empty": "", "User-Agent": "mine/1"})
    assert hub.post(endpoint, format="rendered",
                    headers=[("Content-Type", "text/plain"), ("x-own", "rule's"), ("X-Rule", "")]).cls == "delivered"
    r = receiver.requests[-1]
    assert r.target == "/ok?a=1&b=x%20y&t=s3cret-token"
    names = [line.split(":")[0].lower() for line in r.header_lines]
    assert len(names) == len(set(names))
    assert r.headers["content-type"] == "text/plain" and r.headers["x-own"] == "rule's"
    assert r.headers["x-empty"] == "" and r.headers["x-rule"] == "" and r.headers["user-agent"] == "mine/1"
    assert r.headers["authorization"] == "s3cret-token"
    # The endpoint's own come back for a request whose rule sets none.
    assert hub.post(endpoint).cls == "delivered"
    assert receiver.requests[-1].headers["x-own"] == "own"


@pytest.mark.parametrize("headers", [[("X", "a\r\nY: b")], [("X\r\nY", "b")], [("webhook-id", "x")], [("Host", "x")],
                                     [("ce-id", "x")], [("", "x")]])
def test_headers_that_cannot_be_sent(hub, receiver, headers):
    before = len(receiver.requests)
    v = post(hub, receiver.url + "/ok", headers=headers)
    assert v.cls == "rejected" and "header" in v.detail and len(receiver.requests) == before


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "GET"])
@pytest.mark.parametrize("body", [b"", b"{}", b"\0\xff" * 1000])
def test_methods_and_bodies(hub, receiver, method, body):
    assert post(hub, receiver.url + "/ok", body, method=method).cls == "delivered"
    r = receiver.requests[-1]
    assert (r.method, r.body) == (method, body)
    # The same handle serves another method next.
    assert post(hub, receiver.url + "/ok", b"next").cls == "delivered"
    assert receiver.requests[-1].body == b"next" and receiver.requests[-1].method == "POST"


def test_a_large_body(hub, receiver):
    body = os.urandom(2 << 20)
    assert post(hub, receiver.url + "/ok", body, options=PATIENT).cls == "delivered"
    assert receiver.requests[-1].body == body and "expect" not in receiver.requests[-1].headers


def test_descriptors_and_memory_are_bounded(receiver):
    with FakeHub(PROGRAM, slots=32) as hub:
        hub.endpoint(1, {"url": receiver.url + "/close-after"})
        hub.endpoint(2, {"url": receiver.url + "/body?bytes=300000"})
        hub.endpoint(3, {"url": receiver.url + "/rst-request"})
        for i in range(10):
            for t in [hub.attempt(1 + n % 3, b"x" * 10000) for n in range(30)]:
                hub.verdict(t)
        assert len(os.listdir(f"/proc/{hub.process.pid}/fd")) < 80
