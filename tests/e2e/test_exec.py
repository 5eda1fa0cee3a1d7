# SPDX-License-Identifier: MIT
"""Programs as sources through the real daemon: what they print arrives once, whatever they, the source
or the hub die of; what they do wrong stays with them and status says it."""
import json
import os
import re
import signal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from harness import wait_for

ROOT = Path(__file__).resolve().parent.parent.parent


def script(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return path


def shell(tmp_path, text, name="program"):
    return script(tmp_path / name, "#!/bin/sh\n" + text)


def config(program, receiver, options="", extra=""):
    return f"""
sources = {{ mine = {{ module = "exec"; program = "{program}"; {options} }}; {extra} }};
sinks = {{ hook = {{ module = "http"; url = "{receiver.url}"; }}; }};
rules = ( {{ name = "all"; to = [ "hook" ]; }} );
"""


def source(daemon, name="mine"):
    status = daemon.status()
    return next((s for s in status["sources"] if s["name"] == name), {}) if status else {}


def stats(daemon):
    return source(daemon).get("watches") or {}


def numbers(receiver):
    return [r.event["data"]["n"] for r in receiver.of_type("my.number")]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_lines_become_events(daemon, receiver, tmp_path):
    program = shell(tmp_path, r"""
echo '{"type":"my.number","subject":"first","id":"a","time":"2026-11-29T08:00:00Z","data":{"n":1}}'
echo '{"type":"my.number","data":{"n":2},"position":"p"}'
printf '{"type":"my.number","data":{"n":3}}\n\n{"type":"my.number","data":{"n":4}}'
echo "$1, $2 $BELFRY_SOURCE $GREETING $#" >&2
exec sleep 1000 >&-
""")
    daemon.write(config(program, receiver, """arguments = [ "one", "two words" ]; restart = "never";
        environment = { GREETING = "hello"; };"""))
    daemon.start()
    requests = receiver.wait(4)
    assert sorted(numbers(receiver)) == [1, 2, 3, 4] and len({r.id for r in requests}) == 4
    first = next(r.event for r in requests if r.event["data"]["n"] == 1)
    assert first["subject"] == "first" and first["time"].startswith("2026-11-29T08:00:00")
    wait_for(lambda: "one, two words mine hello 2" in daemon.text(), "standard error in the log")


# Counts until it is enough, from behind its position. Every line has a number, only some a position.
COUNTER = """#!/usr/bin/python3
import json, os, sys, time
n = int(os.environ.get("BELFRY_POSITION", 0))
print('{"position":"%d"}' % n, flush=True)
while not os.path.exists(sys.argv[1]) or n % 7:
    n += 1
    line = {"type": "my.number", "data": {"n": n}}
    if n % 7 == 0:
        line["position"] = str(n)
    print(json.dumps(line), flush=True)
    if n % 10 == 0:
        time.sleep(0.1)
print(json.dumps({"type": "my.end", "id": "end", "data": {"n": n}}), flush=True)
time.sleep(1000)
"""


def test_each_event_once_whatever_is_killed(daemon, receiver, tmp_path):
    program, enough = script(tmp_path / "counter", COUNTER), tmp_path / "enough"
    daemon.write(config(program, receiver, f'arguments = [ "{enough}" ]; restart_wait = "10ms";'))
    daemon.start()
    receiver.wait(30)
    for victim in ["program", "source", "keeper", "hub"]:
        before = len(receiver.all())
        pid = wait_for(lambda: alive(stats(daemon).get("pid")) and stats(daemon)["pid"], "a program")
        keeper = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
        if victim == "hub":
            daemon.kill()
            wait_for(lambda: not alive(pid) and not alive(keeper), "the program's end with its hub")
            daemon.start(wait=False)
        else:
            os.kill({"program": pid, "keeper": keeper, "source": daemon.children()["belfry-source-exec"]}[victim], signal.SIGKILL)
        wait_for(lambda: len(receiver.all()) > before + 40, f"events after the {victim} was killed", 40)
    wait_for(lambda: stats(daemon).get("accepted", 0) > 20, "new lines")  # no run may say less than one before it
    enough.touch()
    last = wait_for(lambda: receiver.of_type("my.end"), "the end", 40)[0].event["data"]["n"]
    wait_for(lambda: set(numbers(receiver)) == set(range(1, last + 1)), "all events", 40)
    ids = {}
    for r in receiver.of_type("my.number"):
        assert ids.setdefault(r.event["data"]["n"], r.id) == r.id
    assert len(set(ids.values())) == last
    assert daemon.status()["gaps"] == 0


def test_bad_lines_are_refused_and_the_rest_goes_on(daemon, receiver, tmp_path):
    program = shell(tmp_path, r"""
echo 'garbage'
echo '{"type":"my.number","data":{"n":1},"id":"1"}'
echo '{"type":"row.inserted","id":"x"}'
echo '{"type":"my.number","data":{"n":0}}'
head -c 100000 /dev/zero | tr '\0' x
echo
echo '{"type":"my.number","data":{"n":2},"id":"2"}'
printf '{"type":"my.num'
exec sleep 1000 >&-
""")
    daemon.write(config(program, receiver, 'max_line = "4K"; memory = "64M";'))
    daemon.start(state="degraded")
    wait_for(lambda: sorted(numbers(receiver)) == [1, 2], "the good lines")
    gap = wait_for(lambda: receiver.of_type("source.gap"), "the gap")
    assert gap[0].event["data"]["reason"] == "refused" and "JSON" in gap[0].event["data"]["detail"]
    wait_for(lambda: stats(daemon).get("refused") == 4, "four refused")
    assert stats(daemon)["accepted"] == 2 and len(receiver.all()) == 3


def test_ids_are_remembered(daemon, receiver, tmp_path):
    """A program that prints all that it finds, each time: each is taken once, over restarts of all of it."""
    listing = tmp_path / "listing"
    listing.write_text("1\n2\n3\n")
    program = shell(tmp_path, f"""while read -r n; do echo '{{"type":"my.number","id":"'$n'","data":{{"n":'$n'}}}}'; done < {listing}""")
    text = config(program, receiver, f'restart_wait = "200ms"; restarts = 600; reads = [ "{listing}" ]; ids = 100;')
    daemon.write(text)
    daemon.start()
    receiver.wait(3)
    wait_for(lambda: stats(daemon).get("repeated", 0) >= 6, "two runs more")
    daemon.kill()
    with listing.open("a") as f:
        f.write("4\n")
    daemon.start()
    wait_for(lambda: stats(daemon).get("repeated", 0) >= 6, "two runs more")
    assert len({r.id for r in receiver.all()}) == 4 and set(numbers(receiver)) == {1, 2, 3, 4}
    assert source(daemon)["events"] == 1
    daemon.stop()
    before = len(receiver.all())
    daemon.write(text.replace("ids = 100", "ids = 0"))
    daemon.start()
    receiver.wait(before + 8)
    assert len({r.id for r in receiver.all()}) == 4


def test_without_replay(daemon, receiver, tmp_path):
    program = shell(tmp_path, """for i in 1 2 3; do echo '{"type":"my.number","data":{"n":'$i'}}'; done""")
    daemon.write(config(program, receiver, 'replay = "none"; restart_wait = "50ms"; restarts = 600;'))
    daemon.start()
    requests = receiver.wait(9)
    assert len({r.id for r in requests}) == len(requests) and stats(daemon)["replay"] == "none"
    assert source(daemon)["state"] == "ready"


def test_a_program_that_fails_at_once(daemon, receiver, tmp_path):
    broken = shell(tmp_path, "exit 3", "broken")
    daemon.write(config(tmp_path / "absent", receiver, 'restarts = 3; restart_wait = "10ms";',
                        f'failing = {{ module = "exec"; program = "{broken}"; restart = "failure"; restart_wait = "100ms"; }};'))
    daemon.start(state="degraded")
    wait_for(lambda: "within a minute" in source(daemon).get("reason", ""), "the limit of starts")
    assert "No such file" in source(daemon)["reason"]
    wait_for(lambda: stats(daemon).get("starts") == 3, "three starts")
    assert "ended with status 3" in source(daemon, "failing")["reason"]


def test_never_ready(daemon, receiver, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    program = shell(tmp_path, f"""
[ -e {out}/good ] && echo '{{"ready":true}}'
sleep 1000 & echo $! > {out}/child
wait""")
    daemon.write(config(program, receiver, f'ready_timeout = "300ms"; writes = [ "{out}" ]; restart_wait = "10ms";'))
    daemon.start(state="degraded")
    wait_for(lambda: "not ready within 300ms" in source(daemon).get("reason", ""), "the reason")
    child = int((out / "child").read_text())
    wait_for(lambda: not alive(child), "the end of what the program started")
    (out / "good").touch()
    wait_for(lambda: source(daemon)["state"] == "ready", "ready", 30)


def test_positions_are_acknowledged(daemon, receiver, tmp_path):
    program = shell(tmp_path, """
for i in 1 2 3; do
    echo '{"type":"my.number","data":{"n":'$i'},"position":"at '$i'"}'
    read -r position
    echo "heard $position" >&2
done
sleep 1000""")
    daemon.write(config(program, receiver, 'acknowledge = true;'))
    daemon.start()
    wait_for(lambda: "heard at 3" in daemon.text(), "the last position")
    assert "heard at 1" in daemon.text()


def test_a_flood_waits(daemon, receiver, tmp_path):
    program = script(tmp_path / "flood", """#!/usr/bin/python3
import sys
for n in range(10**9):
    print('{"type":"my.number","data":{"n":%d},"position":"%d"}' % (n, n))
    print("noise", n, file=sys.stderr)
""")
    daemon.write(config(program, receiver, 'rate = 40; log_rate = 5;'))
    daemon.start()
    receiver.wait(60)
    seen = wait_for(lambda: stats(daemon).get("unlogged", 0) > 10 and stats(daemon), "lines that are not logged")
    assert seen["accepted"] < 2000
    assert len(re.findall("noise", daemon.log.read_text())) <= 5


def test_the_program_ends_with_its_source(daemon, receiver, tmp_path):
    (tmp_path / "out").mkdir()
    program = shell(tmp_path, f"""
trap '' TERM
setsid sleep 1000 & echo $! > {tmp_path}/out/away
sleep 1000 & echo $! > {tmp_path}/out/near
echo '{{"type":"my.number","data":{{"n":1}},"id":"1"}}'
while :; do sleep 1; done""")
    daemon.write(config(program, receiver, f'stop_timeout = "200ms"; writes = [ "{tmp_path}/out" ];'))
    daemon.start()
    receiver.wait(1)
    pids = [int((tmp_path / "out" / n).read_text()) for n in ("away", "near")]
    pids.append(wait_for(lambda: stats(daemon).get("pid"), "the program"))
    assert all(alive(p) for p in pids)
    assert daemon.stop() == 0
    assert not any(alive(p) for p in pids)


def test_the_cage(daemon, receiver, tmp_path):
    daemon.state.parent.mkdir(exist_ok=True)
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "open").mkdir()
    program = script(tmp_path / "probe", f"""#!/usr/bin/python3
import json, os, signal, socket, time
def may(what):
    try:
        what()
        return True
    except OSError:
        return False
keeper = os.getppid()
found = dict(
    secret=may(lambda: open("{tmp_path}/secret")), state=may(lambda: os.listdir("{daemon.state}")),
    write=may(lambda: open("{tmp_path}/new", "w")), writes=may(lambda: open("{tmp_path}/open/new", "w")),
    null=may(lambda: open("/dev/null", "w")), inet=may(lambda: socket.socket()),
    keeper=may(lambda: os.kill(keeper, 0)), environment=sorted(os.environ),
    files=sorted(os.listdir("/proc/self/fd"))[:3], position=os.environ.get("BELFRY_POSITION"))
print(json.dumps({{"type": "my.findings", "id": "1", "data": found}}), flush=True)
time.sleep(1000)
""")
    daemon.write(config(program, receiver, f'writes = [ "{tmp_path}/open" ]; network = false;'))
    daemon.start()
    found = receiver.wait(1)[0].event["data"]
    assert found.pop("environment") == ["BELFRY_SOURCE", "HOME", "LANG", "PATH"]
    assert found == dict(secret=False, state=False, write=False, writes=True, null=True, inet=False, keeper=False,
                         files=["0", "1", "2"], position=None)


# ---- the manual's examples

def example(name):
    page = (ROOT / "man/belfry-exec.5").read_text()
    text = page.split(f'.\\" @FILE {name}@\n.EX\n')[1].split(".EE\n")[0]
    return text.replace("\\-", "-").replace("\\e", "\\")


def test_example_of_a_monitor_command(daemon, receiver, tmp_path):
    shell(tmp_path, r"""printf '%s\n' '{"topic":"'$4'","payload":"opened"}' '{"topic":"door/2","payload":"a \\ \" b"}'; sleep 1000""", "mosquitto_sub")
    program = script(tmp_path / "mqtt", example("mqtt"))
    text = example("mqtt.conf").replace("/usr/local/lib/belfry/mqtt", str(program)).replace(
        "network = true;", f'network = true; environment = {{ PATH = "{tmp_path}:/bin:/usr/bin"; }}; reads = [ "{tmp_path}/mosquitto_sub" ];')
    daemon.write(text + f'sinks = {{ hook = {{ module = "http"; url = "{receiver.url}"; }}; }}; rules = ( {{ name = "all"; to = [ "hook" ]; }} );')
    daemon.start()
    data = [r.event["data"] for r in receiver.wait(2)]
    assert {"topic": "door/+", "payload": "opened"} in data and {"topic": "door/2", "payload": 'a \\ " b'} in data


@pytest.fixture
def shop():
    class Shop(BaseHTTPRequestHandler):
        orders, asked = [1, 2], []

        def do_GET(self):
            after = int(self.path.split("after=")[1])
            self.asked.append((after, self.headers["authorization"]))
            body = json.dumps([{"number": n, "total": 10 * n} for n in self.orders if n > after]).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    Shop.url = f"http://127.0.0.1:{server.server_address[1]}/orders"
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield Shop
    server.shutdown()
    server.server_close()


def test_example_of_a_poller(daemon, receiver, shop, tmp_path):
    token = tmp_path / "token"
    token.write_text("swordfish\n")
    token.chmod(0o600)
    program = script(tmp_path / "orders", example("orders"))
    text = example("orders.conf").replace("/usr/local/lib/belfry/orders", str(program)).replace(
        "https://shop.example.com/orders", shop.url).replace("credential:shop", f"file:{token}")
    daemon.write(text + f'sinks = {{ hook = {{ module = "http"; url = "{receiver.url}"; }}; }}; rules = ( {{ name = "all"; to = [ "hook" ]; }} );')
    daemon.start()
    receiver.wait(2)
    shop.orders.append(3)
    os.kill(wait_for(lambda: (daemon.status()["sources"][0].get("watches") or {}).get("pid"), "the program"), signal.SIGKILL)
    requests = receiver.wait(3)
    assert sorted(r.event["data"]["number"] for r in requests) == [1, 2, 3]  # side by side, in no order
    assert all(r.event["data"]["total"] == 10 * r.event["data"]["number"] for r in requests)
    assert len({r.id for r in requests}) == 3
    assert shop.asked[0] == (0, "Bearer swordfish") and (2, "Bearer swordfish") in shop.asked
