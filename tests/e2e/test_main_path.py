# SPDX-License-Identifier: MIT
"""The way of an event, from a file to a verified webhook, and what happens when the endpoint, the
daemon or one of its processes does not play along."""
import base64
import hashlib
import hmac
import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from harness import simple_config, wait_for

README = Path(__file__).resolve().parents[2] / "README.md"


def test_created_modified_moved_deleted(daemon, receiver, watched):
    daemon.write(simple_config(watched, receiver.url))
    daemon.start()
    a, b = watched / "a.txt", watched / "b.txt"
    a.write_text("one")
    assert receiver.wait(1)[0].event["type"] == "file.created"
    with a.open("a") as f:
        f.write("two")
    assert receiver.wait(2)[1].event["type"] == "file.modified"
    a.rename(b)
    moved = receiver.wait(3)[2].event
    assert (moved["type"], moved["data"]["path"], moved["data"]["old_path"]) == ("file.moved", str(b), str(a))
    b.unlink()
    assert receiver.wait(4)[3].event["type"] == "file.deleted"
    wait_for(lambda: daemon.sink()["depth"] == 0, "an empty queue")
    assert [r.event["data"]["path"] for r in receiver.all()] == [str(a), str(a), str(b), str(b)]
    assert len({r.id for r in receiver.all()}) == 4


def test_envelope_and_signature(daemon, receiver, watched, tmp_path):
    key = os.urandom(32)
    secret = tmp_path / "secret"
    secret.write_text("whsec_" + base64.b64encode(key).decode() + "\n")
    secret.chmod(0o600)
    daemon.write(simple_config(watched, receiver.url, sink=f'secret = "file:{secret}";'))
    daemon.start()
    (watched / "INV-7.pdf").write_bytes(b"x" * 2000)
    request = receiver.wait(1)[0]
    event = request.event
    assert event["specversion"] == "1.0" and event["id"] == request.id and len(event["id"]) == 32
    assert event["source"].endswith("/files") and event["subject"] == str(watched / "INV-7.pdf")
    assert event["data"]["size"] == 2000 and event["data"]["name"] == "INV-7.pdf"
    assert request.headers["content-type"].startswith("application/cloudevents+json")
    signed = f"{request.id}.{request.headers['webhook-timestamp']}.".encode() + request.body
    expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert request.headers["webhook-signature"] == expected
    # The request that the README and belfry-http(5) show has this form: the same head, the same fields.
    shown = json.loads(re.search(r'^\{"specversion".*$', README.read_text(), re.M).group())
    assert list(shown) == list(event) and shown["dataschema"] == event["dataschema"]
    assert list(shown["data"]) == list(event["data"]), event


def test_retry_keeps_id_and_bytes(daemon, receiver, watched):
    answers = iter([500, 503, 200])
    receiver.answer = lambda request: next(answers, 200)
    daemon.write(simple_config(watched, receiver.url, sink='retry = { schedule = [ "0s", "100ms", "100ms" ]; };'))
    daemon.start()
    (watched / "a").write_text("x")
    requests = receiver.wait(3)
    assert len({(r.id, r.body) for r in requests}) == 1
    wait_for(lambda: daemon.sink()["depth"] == 0, "an empty queue")


def test_rejected_is_a_dead_letter_and_comes_back(daemon, receiver, watched):
    receiver.answer = lambda request: 422
    daemon.write(simple_config(watched, receiver.url))
    daemon.start()
    (watched / "a").write_text("x")
    first = receiver.wait(1)[0]
    dead = wait_for(lambda: json.loads(daemon.belfry("dead", "ls", "--json").stdout or "[]"), "a dead letter")
    dead = dead["dead"] if isinstance(dead, dict) else dead
    assert dead[0]["reason"] == "rejected" and dead[0]["sink"] == "ops" and dead[0]["rule"] == "all"
    receiver.answer = lambda request: 200
    daemon.belfry("dead", "retry", "--all", check=0)
    again = receiver.wait(2)[1]
    assert (again.id, again.body) == (first.id, first.body)


def test_410_disables_until_resumed(daemon, receiver, watched):
    receiver.answer = lambda request: 410
    daemon.write(simple_config(watched, receiver.url))
    daemon.start()
    (watched / "a").write_text("x")
    receiver.wait(1)
    wait_for(lambda: daemon.sink()["state"] == "disabled", "a disabled sink")
    (watched / "b").write_text("x")
    wait_for(lambda: daemon.sink()["depth"] == 1, "one held delivery")
    receiver.answer = lambda request: 200
    daemon.stop()
    daemon.start(state="degraded")
    assert daemon.sink()["state"] == "disabled" and len(receiver.all()) == 1
    daemon.belfry("resume", "ops", check=0)
    assert receiver.wait(2)[1].event["data"]["name"] == "b"


def test_queue_survives_kill_while_the_endpoint_is_down(daemon, receiver, watched):
    daemon.write(simple_config(watched, receiver.url))
    daemon.start()
    receiver.stop()
    names = {f"f{i}" for i in range(50)}
    for n in names:
        (watched / n).write_text(n)
    wait_for(lambda: daemon.sink()["depth"] == 50, "50 queued")
    daemon.kill()
    receiver.start()
    daemon.start(wait=False)
    receiver.wait(50, 30)
    wait_for(lambda: daemon.sink() and daemon.sink()["depth"] == 0, "an empty queue")
    assert {r.event["data"]["name"] for r in receiver.all()} == names
    assert len({r.id for r in receiver.all()}) == 50


def test_changes_while_down(daemon, receiver, watched):
    (watched / "stays").write_text("1")
    (watched / "goes").write_text("1")
    (watched / "moves").write_text("1")
    (watched / "grows").write_text("1")
    daemon.write(simple_config(watched, receiver.url))
    daemon.start()
    daemon.stop()
    (watched / "goes").unlink()
    (watched / "moves").rename(watched / "moved")
    (watched / "grows").write_text("12345")
    (watched / "new").write_text("1")
    daemon.start()
    receiver.wait(4)
    (watched / "last").write_text("1")
    wait_for(lambda: any(r.event["data"]["name"] == "last" for r in receiver.all()), "the marker")
    got = sorted((r.event["type"], r.event["data"]["name"]) for r in receiver.all())
    assert got == [("file.created", "last"), ("file.created", "new"), ("file.deleted", "goes"),
                   ("file.modified", "grows"), ("file.moved", "moved")]


def test_new_directory_race(daemon, receiver, watched):
    n = 500
    daemon.write(simple_config(watched, receiver.url, rule="when = \"type == 'file.created'\";"))
    daemon.start()
    subprocess.run(["sh", "-c", f"i=0; while [ $i -lt {n} ]; do mkdir -p {watched}/$i/b/c; echo x >{watched}/$i/b/c/f; i=$((i+1)); done"],
                   check=True)
    receiver.wait(n, 60)
    wait_for(lambda: daemon.sink()["depth"] == 0, "an empty queue")
    paths = [r.event["data"]["path"] for r in receiver.all()]
    assert sorted(paths) == sorted(f"{watched}/{i}/b/c/f" for i in range(n))


def test_template_and_fan_out(daemon, receiver, watched):
    daemon.write(f'''store = {{ size = "64M"; }};
sources = {{ files = {{ module = "inotify"; paths = [ "{watched}" ]; }}; }};
sinks = {{ ops = {{ module = "http"; url = "{receiver.url}/ops"; }}; chat = {{ module = "http"; url = "{receiver.url}/chat"; }}; }};
rules = ( {{ name = "all"; from = [ "files" ]; to = [ "ops", "chat" ]; }},
          {{ name = "big"; from = [ "files" ]; to = [ "chat" ];
            when = "type == 'file.created' and data.size > 10 and data.name =~ /^INV-(\\d+)/i";
            body = {{ text = "invoice ${{$1}}: ${{data.name}}"; bytes = "${{data.size}}"; }}; }} );
''')
    daemon.start()
    (watched / "inv-42.pdf").write_text("x" * 20)
    requests = receiver.wait(3)
    own = [r for r in requests if "text" in r.event]
    assert [r.event for r in own] == [{"text": "invoice 42: inv-42.pdf", "bytes": 20}]
    plain = [r for r in requests if "text" not in r.event]
    assert sorted(r.path for r in plain) == ["/hook/chat", "/hook/ops"] and len({r.id for r in plain}) == 1
    assert own[0].id.startswith(plain[0].id + "_") and len(own[0].id) == 41


def test_a_dead_endpoint_stays_alone(daemon, receiver, watched):
    daemon.write(f'''store = {{ size = "64M"; }};
sources = {{ files = {{ module = "inotify"; paths = [ "{watched}" ]; }}; }};
sinks = {{ ops = {{ module = "http"; url = "{receiver.url}"; }}; gone = {{ module = "http"; url = "http://127.0.0.1:9/"; }}; }};
rules = ( {{ name = "all"; from = [ "files" ]; to = [ "ops", "gone" ]; }} );
''')
    daemon.start()
    for i in range(20):
        (watched / f"f{i}").write_text("x")
    receiver.wait(20)
    wait_for(lambda: daemon.sink("gone")["state"] == "held", "the dead endpoint is held")
    wait_for(lambda: daemon.sink("ops")["depth"] == 0, "the ends of the living one's")
    assert daemon.sink("gone")["depth"] == 20


def test_no_rules_runs_and_says_what_to_do(daemon):
    daemon.write('store = { size = "64M"; };\n')
    daemon.start()
    assert "rules" in daemon.status()["hint"]
    assert daemon.belfry("status").returncode == 0


def test_bad_configuration_is_refused_with_its_place(daemon, receiver, watched):
    daemon.write(simple_config(watched, receiver.url).replace("paths =", "path ="))
    daemon.start(wait=False)
    assert daemon.process.wait(10) == 1
    assert f"{daemon.config}:2:" in daemon.text() and 'did you mean "paths"' in daemon.text()
    daemon.process = None


def test_reload_adds_a_rule_and_refuses_faults(daemon, receiver, watched):
    daemon.write(simple_config(watched, receiver.url, rule="when = \"type == 'file.deleted'\";"))
    daemon.start()
    (watched / "a").write_text("x")
    daemon.write(simple_config(watched, receiver.url, rule="when = \"typ == 'x'\";"))
    assert daemon.belfry("reload").returncode != 0
    daemon.write(simple_config(watched, receiver.url))
    daemon.belfry("reload", check=0)
    (watched / "b").write_text("x")
    assert receiver.wait(1)[0].event["data"]["name"] == "b"


def test_children_come_back(daemon, receiver, watched):
    daemon.write(simple_config(watched, receiver.url))
    daemon.start()
    for name in ("belfry-source-inotify", "belfry-sink-http"):
        old = daemon.children()[name]
        os.kill(old, signal.SIGKILL)
        wait_for(lambda: daemon.children().get(name, old) != old, f"a new {name}", 2)
        daemon.wait_state()
        (watched / name).write_text("x")
        wait_for(lambda: any(r.event["data"]["name"] == name for r in receiver.all()), "its webhook")


def test_the_daemon_s_environment_stays_its_own(daemon, receiver, watched):
    """No proxy, no library to load, no locale reaches a module; sanitizers' variables alone may."""
    proxy = {name: "http://127.0.0.1:1" for name in ("http_proxy", "all_proxy", "ALL_PROXY")}
    daemon.write(simple_config(watched, receiver.url))
    daemon.start(env={**proxy, "BELFRY_ODD": "x"})
    (watched / "a").write_text("x")
    receiver.wait(1)
    modules = {name: pid for name, pid in daemon.children().items() if name.startswith("belfry-s")}
    assert len(modules) == 2
    for name, pid in modules.items():
        variables = (Path("/proc") / str(pid) / "environ").read_text().split("\0")
        assert all(v.partition("=")[0].endswith("SAN_OPTIONS") for v in variables if v), (name, variables)


def test_orphans_die_with_the_hub(daemon, receiver, watched):
    daemon.write(simple_config(watched, receiver.url))
    daemon.start()
    pids = list(daemon.children().values())
    assert len(pids) == 3  # source, sink, births
    daemon.kill()
    wait_for(lambda: not any(os.path.exists(f"/proc/{p}/fd/3") for p in pids), "no orphan", 3)


def test_second_daemon_is_refused(daemon, receiver, watched, tmp_path):
    from harness import Daemon
    daemon.write(simple_config(watched, receiver.url))
    daemon.start()
    second = Daemon(tmp_path / "second")
    second.state, second.config = daemon.state, daemon.config
    second.start(wait=False)
    assert second.process.wait(10) == 1
    assert str(daemon.process.pid) in second.text()
    third = Daemon(tmp_path / "third")
    third.run, third.config = daemon.run, daemon.config
    third.start(wait=False)
    assert third.process.wait(10) == 1
    assert f"another belfryd answers on {daemon.run}/control; stop that one or give" in third.text()


@pytest.mark.parametrize("option", ("state-dir", "runtime-dir"))
def test_a_directory_it_cannot_use_is_named_with_its_option(daemon, option):
    daemon.write("")
    afile = daemon.directory / "afile"
    afile.write_text("")
    if option == "state-dir":
        daemon.state = afile
    else:
        daemon.run = afile
    daemon.start(wait=False)
    assert daemon.process.wait(10) == 1
    assert f"cannot use the {option.replace('-dir', '')} directory {afile} (--{option}): Not a directory" in daemon.text()
    daemon.process = None  # it ended as it should, with 1
