# SPDX-License-Identifier: MIT
"""The receiver, sign and verify: the real program over real sockets."""
import concurrent.futures
import http.client
import json
import os
import re
import resource
import socket
import ssl
import subprocess
import threading
import time

import pytest
from harness import BUILD, wait_for

SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
OTHER = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
VECTORS = [
    (SECRET, "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", 1649367553, b'{"email":"test@example.com","username":"test_user"}',
     "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="),
    (OTHER, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}',
     "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    ("whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==",
     "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}',
     "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="),
]


def belfry(*arguments, stdin=b"", secret=None):
    env = {"PATH": os.environ["PATH"], **({"BELFRY_SECRET": secret} if secret else {})}
    return subprocess.run([BUILD / "belfry", *map(str, arguments)], input=stdin, capture_output=True, timeout=60, env=env)


class Listen:
    def __init__(self, *arguments, secret=None):
        env = {"PATH": os.environ["PATH"], **({"BELFRY_SECRET": secret} if secret else {})}
        self.process = subprocess.Popen([BUILD / "belfry", "listen", "--port", "0", *map(str, arguments)], env=env,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.out, self.err = [], []
        self.readers = [threading.Thread(target=lines.extend, args=(pipe,)) for lines, pipe in
                        ((self.out, self.process.stdout), (self.err, self.process.stderr))]
        for r in self.readers:
            r.start()
        ready = self.err if "--json" in arguments else self.out
        wait_for(lambda: ready or self.process.poll() is not None, "the ready line")
        self.match = re.fullmatch(r"listening on (https?)://([^/]+):(\d+)/\n", ready.pop(0))
        assert self.match, self.out + self.err
        self.port = int(self.match.group(3))

    def post(self, body, headers=None, method="POST", path="/hook", connection=None):
        c = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        c.request(method, path, body, headers or {})
        answer = c.getresponse()
        answer.read()
        if not connection:
            c.close()
        return answer.status

    def end(self, code=0):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(20)
        for r in self.readers:
            r.join(20)
        err = "".join(self.err)
        assert self.process.returncode == code, self.out + self.err
        assert "Sanitizer" not in err and "runtime error" not in err, err
        return [line.rstrip("\n") for line in self.out]


@pytest.fixture
def listen():
    started = []

    def start(*arguments, secret=None):
        started.append(Listen(*arguments, secret=secret))
        return started[-1]
    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


def signed(body, secret=SECRET, **more):
    options = [x for k, v in more.items() for x in (f"--{k}", v)]
    r = belfry("sign", "--json", *options, stdin=body, secret=secret)
    assert r.returncode == 0, r.stderr
    return json.loads(r.stdout)


@pytest.mark.parametrize("secret,id_,timestamp,body,signature", VECTORS)
def test_vectors(secret, id_, timestamp, body, signature, tmp_path):
    r = belfry("sign", "--id", id_, "--timestamp", timestamp, stdin=body, secret=secret)
    assert r.stdout.decode() == f"webhook-id: {id_}\nwebhook-timestamp: {timestamp}\nwebhook-signature: {signature}\n"
    headers = tmp_path / "headers"
    headers.write_bytes(b"POST / HTTP/1.1\r\nHost: x\r\n" + r.stdout.replace(b"\n", b"\r\n").replace(b"webhook-id", b"Webhook-Id"))
    good = belfry("verify", "--headers", headers, "--tolerance", "0s", stdin=body, secret=secret)
    assert (good.returncode, good.stdout) == (0, b"verified\n")
    old = belfry("verify", "--headers", headers, stdin=body, secret=secret)
    assert old.returncode == 1 and old.stdout.startswith(b"NOT VERIFIED: ")
    bad = belfry("verify", "--headers", headers, "--tolerance", "0s", stdin=body + b" ", secret=secret)
    assert bad.returncode == 1 and bad.stdout.startswith(b"NOT VERIFIED: ")


def test_secret_sources(tmp_path):
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    file.chmod(0o600)
    arguments = ("--id", "a", "--timestamp", "1")
    want = belfry("sign", *arguments, stdin=b"x", secret=SECRET).stdout
    assert want and belfry("sign", *arguments, "--secret", f"file:{file}", stdin=b"x").stdout == want
    literal = belfry("sign", *arguments, "--secret", SECRET, stdin=b"x")
    assert literal.stdout == want and b"warning" in literal.stderr and SECRET.encode() not in literal.stderr
    file.chmod(0o644)
    refused = belfry("sign", *arguments, "--secret", f"file:{file}", stdin=b"x")
    assert refused.returncode == 1 and str(file).encode() in refused.stderr
    assert belfry("sign", stdin=b"x").returncode == 2
    assert belfry("verify", stdin=b"x", secret=SECRET).returncode == 2
    both = signed(b"x", OTHER)
    assert belfry("verify", "--secret", SECRET, "--secret", OTHER, "--id", both["webhook-id"], "--timestamp",
                  both["webhook-timestamp"], "--signature", both["webhook-signature"], stdin=b"x").returncode == 0


def test_lines(listen):
    server = listen(secret=SECRET)
    body = b'{"id":"e1","type":"file.created","subject":"/srv/a\\u001b[31m.pdf"}'
    headers = signed(body)
    assert server.post(body, headers) == 200
    assert server.post(body, headers) == 200
    assert server.post(body + b" ", headers) == 200
    assert server.post(b'{"type":"x.y"}') == 200
    assert server.post(b"\xff\x00no json", {"ce-type": "a.b", "ce-subject": "Euro%20%E2%82%AC"}) == 200
    lines = server.end(code=1)  # not all were verified
    assert len(lines) == 5
    id_ = headers["webhook-id"]
    assert lines[0].split("  ")[1:] == ["file.created", "/srv/a\\x1b[31m.pdf", id_, "verified"]
    assert lines[1].endswith("  verified  duplicate")
    assert "NOT VERIFIED: " in lines[2] and lines[2].endswith("SAME ID, OTHER BODY")
    assert "NOT VERIFIED: it is unsigned" in lines[3] and "  x.y  -  -  " in lines[3]
    assert "  a.b  Euro €  -  " in lines[4]
    assert all("\x1b" not in line for line in lines)


def test_without_secret(listen):
    server = listen()
    server.post(b"{}", signed(b"{}"))
    server.post(b"{}")
    lines = server.end()
    assert "verified" not in "".join(lines)
    assert lines[0].endswith("signed, not checked (no --secret)") and lines[1].endswith("unsigned")


def test_fail_and_repeat(listen):
    server = listen("--fail", 2, "--json", "--count", 4, secret=SECRET)
    body = b'{"type":"t","n":1}'
    headers = signed(body)
    assert [server.post(body, headers) for _ in range(4)] == [500, 500, 200, 200]
    server.process.wait(20)  # ends by itself
    rows = [json.loads(line) for line in server.end()]
    assert [r["again"] for r in rows] == [None, "repeated", "repeated", "duplicate"]
    assert [r["duplicate"] for r in rows] == [False, False, False, True]
    assert rows[0]["verified"] is True and rows[0]["body"] == {"type": "t", "n": 1} and rows[0]["status"] == 500
    assert rows[0]["path"] == "/hook" and rows[0]["method"] == "POST" and rows[0]["bytes"] == len(body)


def test_status(listen):
    server = listen("--status", 410)
    assert server.post(b"{}") == 410 and server.post(b"", method="PUT") == 410 and server.post(None, method="GET") == 410
    assert len(server.end()) == 3


def test_delay_holds_nobody_else_up(listen):
    server = listen("--delay", "400ms")
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        assert list(pool.map(lambda n: server.post(b"{}"), range(20))) == [200] * 20
    assert 0.4 <= time.monotonic() - start < 4  # one after the other would be 8 s
    assert len(server.end()) == 20


def test_ends_with_answers_outstanding(listen):
    server = listen("--delay", "1h")
    s = socket.create_connection(("127.0.0.1", server.port))
    s.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}")
    wait_for(lambda: server.out, "the request to be shown")
    server.end()
    s.close()


def test_keep_alive(listen):
    server = listen()
    c = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    c.connect()
    first = c.sock
    for _ in range(200):
        assert server.post(b'{"type":"t"}', connection=c) == 200
        assert c.sock is first
    c.close()
    assert len(server.end()) == 200


def test_thousand_connections(listen):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    server = listen()
    sockets = [socket.create_connection(("127.0.0.1", server.port), timeout=30) for _ in range(1000)]
    try:
        for round_ in range(2):  # all stay open, and each is used twice
            for s in sockets:
                s.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}")
            for s in sockets:
                got = b""
                while b"\r\n\r\n" not in got:
                    piece = s.recv(4096)
                    assert piece, got
                    got += piece
                assert got.startswith(b"HTTP/1.1 200")
    finally:
        for s in sockets:
            s.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(server.end()) == 2000


def test_save(listen, tmp_path):
    directory = tmp_path / "saved"
    server = listen("--save", directory)
    body = b'{ "type" : "t",\n "x": "\xc3\xa9" }'
    server.post(body, {"webhook-id": "../../../../tmp/escaped"})
    server.post(b"\x00\x01\xff")
    server.end()
    assert {p.name: p.read_bytes() for p in directory.iterdir()} == {"000001.json": body, "000002.bin": b"\x00\x01\xff"}
    again = listen("--save", directory)
    again.post(b"{}")
    again.end()
    assert (directory / "000003.json").read_bytes() == b"{}" and len(list(directory.iterdir())) == 3
    assert not (tmp_path / "escaped").exists()


def test_chunked_and_large(listen):
    server = listen("--json")
    c = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    c.request("POST", "/", iter([b"a" * 65536] * 40), {"Transfer-Encoding": "chunked"}, encode_chunked=True)
    assert c.getresponse().status == 200
    c.close()
    assert server.post(b"x" * (16 * 1024 * 1024)) == 200
    assert server.post(b"x" * (16 * 1024 * 1024 + 1)) == 413
    assert [json.loads(line)["bytes"] for line in server.end()] == [65536 * 40, 16 * 1024 * 1024, 0]


def test_nonsense_is_survived(listen):
    server = listen()
    for junk in (b"\x00\x01\x02\r\n\r\n", b"POST / HTTP/1.1\r\ncontent-length: -5\r\n\r\n", b"GET " + b"a" * 200000,
                 b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nab"):
        s = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        try:
            s.sendall(junk)
            s.shutdown(socket.SHUT_WR)
            while s.recv(65536):
                pass
        except OSError:
            pass
        s.close()
    assert server.post(b"{}") == 200
    server.end()


def test_tls_self_made(listen, tmp_path):
    cert = tmp_path / "cert.pem"
    server = listen("--tls", "--write-cert", cert)
    assert server.match.group(1) == "https"
    for name in ("127.0.0.1", "localhost"):
        c = http.client.HTTPSConnection(name, server.port, timeout=20, context=ssl.create_default_context(cafile=cert))
        assert server.post(b'{"type":"t"}', connection=c) == 200
        assert server.post(b'{"type":"u"}' + b" " * 300000, connection=c) == 200
        c.close()
    with pytest.raises(ssl.SSLCertVerificationError):
        http.client.HTTPSConnection("127.0.0.1", server.port, timeout=20, context=ssl.create_default_context()).connect()
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, OSError)):
        http.client.HTTPSConnection("127.0.0.1", server.port, timeout=20, context=old).connect()
    assert len(server.end()) == 4


def test_tls_given(listen, tmp_path):
    cert, key = tmp_path / "c.pem", tmp_path / "k.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
    server = listen("--cert", cert, "--key", key)
    c = http.client.HTTPSConnection("localhost", server.port, timeout=20, context=ssl.create_default_context(cafile=cert))
    assert server.post(b"{}", connection=c) == 200
    server.end()
    r = belfry("listen", "--port", "0", "--cert", cert)
    assert r.returncode == 2 and b"--key" in r.stderr
    r = belfry("listen", "--port", "0", "--cert", key, "--key", key)
    assert r.returncode == 1 and b"certificate" in r.stderr


def test_port_taken(listen):
    server = listen()
    r = belfry("listen", "--port", server.port)
    assert r.returncode == 1 and b"in use" in r.stderr and str(server.port).encode() in r.stderr


def test_ipv6(listen):
    try:
        socket.socket(socket.AF_INET6).bind(("::1", 0))
    except OSError:
        pytest.skip("no ::1 here")
    server = listen("--bind", "::1")
    assert server.match.group(2) == "[::1]"
    c = http.client.HTTPConnection("::1", server.port, timeout=20)
    assert server.post(b"{}", connection=c) == 200


@pytest.mark.parametrize("arguments,words", [
    (("listen", "--port", "70000"), "--port"), (("listen", "--port", "-1"), "--port"), (("listen", "--delay", "soon"), "--delay"),
    (("listen", "--prot", "1"), "did you mean --port?"), (("listen", "--port"), "needs a value"),
    (("lisen",), 'did you mean "listen"?'), (("sink",), "One of: pause, resume, ping"), (("dead", "rety"), "rety"), ((), "--help"),
    (("why",), "usage: belfry why ID"), (("status", "extra"), 'no argument such as "extra"'), (("status", "--all"), "unknown option --all"), (("--all", "status"), "no option --all"),
    (("status", "--json=1"), "takes no value"), (("listen", "--status", "100"), "--status"),
])
def test_usage(arguments, words):
    r = belfry(*arguments)
    assert r.returncode == 2 and words in r.stderr.decode(), r.stderr


def test_no_daemon(tmp_path):
    r = belfry("--runtime-dir", tmp_path, "status")
    assert r.returncode == 3 and r.stderr.decode() == (
        f"belfry: belfryd is not running (no {tmp_path}/control): systemctl start belfry\n")
    s = socket.socket(socket.AF_UNIX)
    s.bind(str(tmp_path / "control"))
    assert belfry("status", "--runtime-dir", tmp_path).returncode == 3
