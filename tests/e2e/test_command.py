# SPDX-License-Identifier: MIT
"""The command against a running daemon."""
import itertools
import json
import re
import signal
import socket
import subprocess
import threading

import pytest
from harness import BUILD, simple_config, wait_for


def dead(daemon, *filters):
    return json.loads(daemon.belfry("dead", "ls", "--json", *filters, check=0).stdout)


def varlink(daemon, method, parameters=None, **more):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(20)
    s.connect(str(daemon.run / "control"))
    s.sendall(json.dumps({"method": method, "parameters": parameters or {}, **more}).encode() + b"\0")
    answers, data = [], b""
    while True:
        while b"\0" not in data:
            piece = s.recv(65536)
            if not piece:
                return answers
            data += piece
        one, data = data.split(b"\0", 1)
        answers.append(json.loads(one))
        if not answers[-1].get("continues"):
            s.close()
            return answers


WITHOUT_A_DAEMON = (
    # arguments, exit status, what standard error says
    ("", 2, "belfry: what shall it do? See: belfry --help"),
    ("stauts", 2, 'there is no command "stauts" (did you mean "status"?); see: belfry --help'),
    ("status extra", 2, 'belfry: status takes no argument such as "extra"; see: belfry status --help'),
    ("why", 2, "belfry: an argument is missing; usage: belfry why ID"),
    ("why a b", 2, "belfry: too many arguments; usage: belfry why ID"),
    ("sink", 2, "belfry: sink: what shall it do? One of: pause, resume, ping"),
    ("sink frob ops", 2, 'belfry: sink: there is no "frob"; there is: pause, resume, ping'),
    ("sinks frob", 2, 'belfry: sinks: "frob" is nothing it can do; see: belfry --help'),
    ("--jsno status", 2, "unknown option --jsno (did you mean --json?); see: belfry --help"),
    ("why --filter x y", 2, "unknown option --filter"),
    ("tail --filter", 2, "belfry: --filter needs a value (EXPR)"),
    ("status --json=yes", 2, "belfry: --json takes no value"),
    ("dead retry", 2, "belfry: dead retry: name dead letters, or give --all; see: belfry dead"),
    ("dead retry --all 5", 2, "belfry: dead retry: name dead letters, or give --all; see: belfry dead"),
    ("check /nonexistent.conf", 1, "/nonexistent.conf: cannot be read: No such file or directory"),
    ("check /etc", 1, "/etc: cannot be read: Is a directory"),
    ("check a b", 2, "belfry: too many arguments; usage: belfry check [FILE]"),
    ("check --live a.conf", 2, "belfry: check --live looks at the daemon's own file; leave a.conf out"),
    ("check --live --print", 2, "belfry: check --live looks, it does not print"),
    ("modules nope", 1, 'belfry: there is no module "nope"; see: belfry modules'),
    ("listen --port x", 2, 'belfry: --port: "x" is not a number from 0 to 65535'),
    ("listen --port 99999", 2, 'belfry: --port: "99999" is not a number from 0 to 65535'),
    ("listen --status 99", 2, "belfry: --status: an answer has a status from 200 to 599"),
    ("listen --delay 5min", 2, 'belfry: --delay: "5min" is no duration (500ms, 15s, 5m)'),
    ("listen --port 0 --save /nonexistent/d", 1, "belfry: --save /nonexistent/d: No such file or directory"),
    ("listen --port 0 --secret file:/nonexistent", 1, "belfry: --secret: file:/nonexistent: No such file or directory"),
    ("sign", 2, "belfry: no secret: give --secret file:PATH, or BELFRY_SECRET"),
    ("sign --secret foo", 1, "belfry: --secret: a signing secret begins with whsec_"),
    ("verify --secret whsec_AAAA", 2, "belfry: no webhook-id: give --headers FILE, or --id, --timestamp and --signature"),
    ("verify --secret whsec_AAAA --headers /nonexistent", 1, "belfry: --headers /nonexistent: No such file or directory"),
    *((words, 3, "belfry: belfryd is not running (no {run}/control): systemctl start belfry")
      for words in ("status", "sources", "sinks", "rules", "timers", "tail", "why abc", "dead", "dead show 1", "dead retry 1",
                    "dead drop --all", "gaps", "gaps ack", "pause a", "resume a", "ping a", "source forget a", "reload",
                    "check --live")))


@pytest.mark.parametrize("words, status, says", WITHOUT_A_DAEMON, ids=lambda v: v if isinstance(v, str) and len(v) < 60 else "")
def test_mistakes_without_a_daemon(daemon, words, status, says):
    """Each gives its documented exit status, one line that says what to do, and nothing else on standard output."""
    r = daemon.belfry(*words.split())
    assert r.returncode == status, (r.stdout, r.stderr)
    assert says.format(run=daemon.run) in r.stderr
    assert r.stdout == ""


def test_check_print(daemon, receiver, watched, tmp_path):
    """What was understood, of all files; references stay what they are; warnings go to standard error."""
    daemon.write(simple_config(watched, receiver.url, sink='secret = "credential:ops"; timeout = 20;'))
    (daemon.directory / "conf.d").mkdir()
    (daemon.directory / "conf.d" / "more.conf").write_text('log = { level = "notice"; };\n')
    r = daemon.belfry("check", "--print", daemon.config, check=0)
    assert "warning: sinks.ops.secret" in r.stderr
    for line in ('    secret = [ "credential:ops" ];', '    timeout = "20s";', '    # settle = "close";', '  level = "notice";'):
        assert line in r.stdout.splitlines(), r.stdout
    answer = json.loads(daemon.belfry("check", "--print", "--json", daemon.config, check=0).stdout)
    assert answer["configuration"] == r.stdout
    daemon.write("sources = 5;")
    r = daemon.belfry("check", "--print", daemon.config, check=1)
    assert r.stdout == "" and "belfry.conf:1:11: sources: expected a group" in r.stderr


WITH_A_DAEMON = (
    ("why abc", 1, 'belfry: "abc" is no id: 32 hex digits, as in webhook-id'),
    ("why 0123456789abcdef0123456789abcdef", 1, "belfry: nothing is known of 0123456789abcdef0123456789abcdef"),
    ("dead show abc", 1, 'belfry: there is no dead letter "abc"; see: belfry dead'),
    ("dead retry abc 5", 1, 'belfry: there is no dead letter "5"; see: belfry dead'),
    ("dead drop 0123456789abcdef0123456789abcdef", 1, "see: belfry dead"),
    ("pause opps", 1, 'belfry: there is no sink "opps" (did you mean "ops"?)'),
    ("resume files", 1, 'belfry: there is no sink "files"'),
    ("ping nope-at-all", 1, 'belfry: there is no sink "nope-at-all"; see: belfry sinks'),
    ("gaps ack 77", 1, 'belfry: there is no open gap "77"; see: belfry gaps'),
    ("source forget nope", 1, 'belfry: no source "nope" was ever known here'),
    ("source forget files", 1, "belfry: source files is in the configuration: take it out and reload first"),
    ("source frob files", 1, 'belfry: source files (inotify) knows no "frob", nor any other verb but forget'),
    ("tail --filter data.nmae==1", 1, "the events here have no field data.nmae (did you mean data.name?)"),
)


def test_mistakes_with_a_daemon(daemon, receiver, watched):
    daemon.write(simple_config(watched, receiver.url))
    daemon.start()
    for words, status, says in WITH_A_DAEMON:
        r = daemon.belfry(*words.split())
        assert (r.returncode, r.stdout) == (status, "") and says in r.stderr, (words, r)


def test_status_and_lists(daemon, receiver, watched):
    daemon.write(simple_config(watched, receiver.url))
    daemon.start()
    (watched / "a").write_text("x")
    receiver.wait(1)
    wait_for(lambda: daemon.sink()["delivered"] == 1 and daemon.sink()["depth"] == 0, "the delivery to be counted")
    human = daemon.belfry("status", check=0).stdout
    assert re.match(r"belfry: running — 1 source ready, 1 sink, 1 rule; queue 0 deliveries\n", human), human
    assert "source files (inotify): ready, 1 event" in human and "sink ops (http): ready" in human
    assert "rule all: 1 matched, 0 unmatched" in human and "\x1b" not in human
    raw = daemon.belfry("status", "--json", check=0).stdout
    status = json.loads(raw)
    assert status["state"] == "running" and raw.count("running") == 1
    assert status["sources"][0]["state"] == "ready"
    for words, name in ((("sources",), "files"), (("sources", "ls"), "files"), (("sinks", "ls"), "ops"), (("rules",), "all"),
                        (("modules", "ls"), "inotify")):
        rows = json.loads(daemon.belfry(*words, "--json", check=0).stdout)
        assert name in [r["name"] for r in rows]
        text = daemon.belfry(*words, check=0).stdout
        assert text.startswith("NAME") and name in text
    assert daemon.belfry("dead", check=0).stdout == "no dead letters\n" and dead(daemon) == []
    assert daemon.belfry("gaps", check=0).stdout == "no gaps\n"
    assert json.loads(daemon.belfry("gaps", "ls", "--json", check=0).stdout) == []
    assert daemon.belfry("gaps", "ack", check=0).stdout == "0 gaps acknowledged\n"


def test_no_rules(daemon):
    daemon.write('store = { size = "64M"; };')
    daemon.start()
    human = daemon.belfry("status", check=0).stdout
    assert human.startswith("belfry: running — 0 sources ready, 0 sinks, 0 rules; queue 0 deliveries\n")
    assert "Next: " in human and "belfry.conf" in human


def test_faults_that_only_a_module_sees(daemon, receiver, watched):
    good = simple_config(watched, receiver.url)
    daemon.write(good)
    daemon.start()
    bad = good.replace('module = "inotify";', 'module = "inotify"; settle = "soon";').replace(
        'module = "http";', 'module = "http"; allow = [ "10.0.0.0/8", "10.0.0.1/8" ];')
    assert bad.count("soon") == 1 and bad.count("10.0.0.1") == 1
    daemon.write(bad)

    def place(text):
        before = bad[:bad.index(text)]
        return f"{daemon.config}:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"
    faults = [f'{place(chr(34) + "soon")}: sources.files.settle: expected "close" or a duration from 1ms to 1h such as '
              '"2s", not "soon"',
              f"{place(chr(34) + '10.0.0.1')}: sinks.ops.allow[1]: '10.0.0.1/8' has bits set behind its prefix (did you "
              "mean a shorter address or more bits?)"]
    assert daemon.belfry("check", daemon.config, check=1).stderr.splitlines() == faults
    assert all(fault in daemon.belfry("reload", check=1).stderr for fault in faults)
    assert daemon.status()["state"] == "running"
    daemon.stop()
    daemon.start(wait=False)
    assert daemon.process.wait(20) == 1
    daemon.process = None
    assert all(fault in daemon.text() for fault in faults)


def test_dead_letters(daemon, receiver, watched):
    receiver.answer = lambda request: 400
    daemon.write(simple_config(watched, receiver.url))
    daemon.start()
    for name in ("a", "b", "c"):
        (watched / name).write_text(name)
    wait_for(lambda: len(dead(daemon)) == 3, "three dead letters")
    letters = {d["subject"].rsplit("/", 1)[-1]: d for d in dead(daemon)}
    a = letters["a"]
    sent = next(r for r in receiver.all() if r.event["subject"].endswith("/a"))
    assert (a["id"], a["rule"], a["sink"], a["reason"], a["status"]) == (sent.id, "all", "ops", "rejected", 400)
    assert dead(daemon, "--sink", "nobody") == [] and len(dead(daemon, "--reason", "rejected")) == 3
    shown = json.loads(daemon.belfry("dead", "show", a["id"], "--json", check=0).stdout)
    assert shown["body"].encode() == sent.body
    assert sent.body.decode() in daemon.belfry("dead", "show", a["number"], check=0).stdout
    assert "3 dead letters: belfry dead" in daemon.belfry("status").stdout
    text = daemon.belfry("why", a["id"], check=0).stdout
    assert "happened: file.created" in text and "dead letter" in text and "400" in text

    receiver.answer = lambda request: 200
    n = len(receiver.all())
    assert "1 dead letter back in the queue" in daemon.belfry("dead", "retry", a["id"], check=0).stdout
    again = receiver.wait(n + 1)[-1]
    assert (again.id, again.body) == (sent.id, sent.body)
    wait_for(lambda: "delivered" in daemon.belfry("why", a["id"]).stdout, "why to know the delivery")
    assert "1 dead letter dropped" in daemon.belfry("dead", "drop", letters["b"]["number"], check=0).stdout
    assert daemon.belfry("dead", "retry", "--all", check=0).stdout == "1 dead letter back in the queue\n"
    wait_for(lambda: {r.event["subject"][-1] for r in receiver.all()[n:]} == {"a", "c"}, "c to arrive")
    assert dead(daemon) == []
    assert daemon.belfry("dead", "retry", a["id"], check=1).stderr.startswith("belfry: there is no dead letter")
    assert daemon.belfry("dead", "retry", check=2) and daemon.belfry("dead", "drop", "--all", "x", check=2)
    assert daemon.belfry("why", "0" * 32, check=1) and daemon.belfry("why", "zz", check=1)


def test_retry_all_ends_when_the_endpoint_goes_on_refusing(daemon, receiver, watched):
    receiver.answer = lambda request: 400
    daemon.write(simple_config(watched, receiver.url))
    daemon.start()
    for n in range(20):
        (watched / str(n)).write_text("x")
    wait_for(lambda: len(dead(daemon)) == 20, "20 dead letters")
    assert daemon.belfry("dead", "retry", "--all", check=0).stdout == "20 dead letters back in the queue\n"
    wait_for(lambda: len(dead(daemon)) == 20 and len(receiver.all()) == 40, "all dead once more")


def test_pause_resume_ping(daemon, receiver, watched):
    daemon.write(simple_config(watched, receiver.url))
    daemon.start()
    daemon.belfry("pause", "ops", check=0)
    (watched / "a").write_text("x")
    wait_for(lambda: daemon.sink()["depth"] == 1, "the event in the queue")
    assert daemon.sink()["state"] == "paused" and receiver.all() == []
    daemon.kill()
    daemon.start(wait=False)
    wait_for(lambda: daemon.sink() and daemon.sink()["state"] == "paused", "the pause to survive a kill")
    daemon.belfry("sink", "resume", "ops", check=0)
    assert receiver.wait(1)[0].event["type"] == "file.created"
    ping = daemon.belfry("ping", "ops", check=0).stdout
    assert "delivered 200" in ping and "belfry.ping" in ping, ping
    test = receiver.wait(2)[1].event
    assert test["type"] == "belfry.ping" and test["data"]["test"] is True
    receiver.answer = lambda request: 418
    bad = json.loads(daemon.belfry("sink", "ping", "ops", "--json", check=1).stdout)
    assert (bad["class"], bad["status"], bad["delivered"]) == ("rejected", 418, False)
    r = daemon.belfry("pause", "opps", check=1)
    assert 'did you mean "ops"?' in r.stderr


def test_why_while_it_waits(daemon, receiver, watched):
    receiver.answer = lambda request: 503
    daemon.write(simple_config(watched, receiver.url, sink='retry = { schedule = [ "0s", "1h" ]; };'))
    daemon.start()
    (watched / "a").write_text("x")
    id_ = receiver.wait(1)[0].id
    wait_for(lambda: "attempt 1 failed: server 503" in daemon.belfry("why", id_).stdout, "the failed attempt in the story")
    text = daemon.belfry("why", id_, check=0).stdout
    assert "happened: file.created" in text and "stored in the queue" in text and "sink ops, rule all: " in text
    items = json.loads(daemon.belfry("why", id_, "--json", check=0).stdout)
    assert {i["item"] for i in items} == {"queued", "attempt"}


def test_tail(daemon, receiver, watched):
    daemon.write(simple_config(watched, receiver.url))
    daemon.start()
    tail = subprocess.Popen([BUILD / "belfry", "--runtime-dir", daemon.run, "tail", "--json"], stdout=subprocess.PIPE, text=True)
    s = socket.socket(socket.AF_UNIX)
    s.connect(str(daemon.run / "control"))
    s.sendall(b'{"method":"io.belfry.Control.Tail","more":true}\0')
    assert s.recv(4096) == b'{"parameters":{},"continues":true}\0'  # from here on nothing is overlooked
    names = [f"f{n}" for n in range(5)]
    for name in names:
        (watched / name).write_text("x")
    data = b""
    while data.count(b"\0") < 5:
        data += s.recv(65536)
    events = [json.loads(x)["parameters"]["event"] for x in data.split(b"\0")[:5]]
    assert [e["data"]["name"] for e in events] == names
    assert {e["id"] for e in events} == {r.id for r in receiver.wait(5)}
    s.close()
    seen = []
    reader = threading.Thread(target=lambda: [seen.append(json.loads(line)["data"]["name"]) for line in tail.stdout], daemon=True)
    reader.start()
    made = itertools.count()

    def shown():  # the command says nothing before its first event: knock until it is there
        (watched / f"more{next(made)}").write_text("x")
        return tail.poll() is not None or any(name.startswith("more") for name in list(seen))

    wait_for(shown, "an event in the output of tail")
    tail.terminate()
    tail.wait(20)
    reader.join(20)
    assert any(name.startswith("more") for name in seen)


def test_tail_filter(daemon, receiver, watched):
    daemon.write(simple_config(watched, receiver.url, rule="""when = "data.name == 'a'";"""))
    daemon.start()
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(20)
    s.connect(str(daemon.run / "control"))
    filter = "type == 'file.created' and data.size > 2 and data.name =~ /^(a|b)/"
    s.sendall(json.dumps({"method": "io.belfry.Control.Tail", "more": True, "parameters": {"filter": filter}}).encode() + b"\0")
    assert s.recv(4096) == b'{"parameters":{},"continues":true}\0'
    for name, text in (("c", "long enough"), ("a", "x"), ("b", "long"), ("a2", "long"), ("a3", "x")):
        (watched / name).write_text(text)
    data = b""
    while data.count(b"\0") < 2:
        data += s.recv(65536)
    answers = [json.loads(x)["parameters"] for x in data.split(b"\0")[:-1]]
    assert [(a["event"]["data"]["name"], a["routes"]) for a in answers] == [("b", 0), ("a2", 0)]  # no rule wants them
    s.close()
    bad = daemon.belfry("tail", "--filter", "data.szie > 10 and type == 'x'", check=1)
    assert bad.stdout == "" and bad.stderr == (
        "filter: the events here have no field data.szie (did you mean data.size?)\n"
        "  data.szie > 10 and type == 'x'\n"
        "       ^~~~\n"
        "belfry: the filter has a fault\n")
    assert "has a fault" in daemon.belfry("tail", "--filter", "", check=1).stderr
    assert "is over 4096 bytes" in daemon.belfry("tail", "--filter", "type == 'x' or " * 400 + "true", check=1).stderr
    costly = " or ".join(f"data.name =~ /a{n}/" for n in range(21))
    assert "would cost too much" in daemon.belfry("tail", "--filter", costly, check=1).stderr
    assert daemon.status()["state"] == "running"


def test_reload_and_check(daemon, receiver, watched):
    good = simple_config(watched, receiver.url)
    daemon.write(good)
    daemon.start()
    assert daemon.belfry("check", daemon.config, check=0).stdout.endswith("good: 1 source, 1 sink, 1 rule\n")
    assert daemon.belfry("reload", check=0).stdout == "reloaded: 1 sources, 1 sinks, 1 rules\n"
    assert "finds all it names" in daemon.belfry("check", "--live", check=0).stdout
    daemon.write(good.replace('to = [ "ops" ]', 'to = [ "opps" ]'))
    for words in (("check", daemon.config), ("reload",), ("check", "--live")):
        r = daemon.belfry(*words, check=1)
        assert f"{daemon.config}:4:" in r.stderr and "opps" in r.stderr, r.stderr
    data = json.loads(daemon.belfry("check", "--json", daemon.config, check=1).stdout)
    assert data["errors"] >= 1 and data["diagnostics"][0]["line"] == 4
    assert daemon.status()["state"] == "running"  # the old one stays in force
    assert daemon.belfry("check", "/nonexistent.conf", check=1)


def test_source_forget(daemon, receiver, watched):
    daemon.write(simple_config(watched, receiver.url))
    daemon.start()
    assert "take it out and reload" in daemon.belfry("source", "forget", "files", check=1).stderr
    daemon.write('store = { size = "64M"; };')
    daemon.belfry("reload", check=0)
    wait_for(lambda: daemon.belfry("source", "forget", "files").returncode == 0, "the source to have stopped")
    assert daemon.belfry("source", "forget", "never", check=1)


def test_roles(daemon):
    daemon.write('store = { size = "64M"; };\ncontrol = { read = [ "root" ]; admin = [ "nobody" ]; };')
    daemon.start()
    r = daemon.belfry("reload", check=4)
    assert '"admin"' in r.stderr and 'control = { admin = [ "nobody", "root" ]; };' in r.stderr, r.stderr
    answer = varlink(daemon, "io.belfry.Control.Reload")[0]
    assert answer["error"] == "io.belfry.Control.NotPermitted" and answer["parameters"]["role"] == "admin"


def test_unknown_role_degrades(daemon):
    daemon.write('store = { size = "64M"; };\ncontrol = { read = [ "root", "@no-such-group" ]; admin = [ "root" ]; };')
    daemon.start(state="degraded")
    assert daemon.belfry("status", check=1).stdout.startswith("belfry: degraded")


def test_introspection(daemon):
    daemon.write('store = { size = "64M"; };')
    daemon.start()
    info = varlink(daemon, "org.varlink.service.GetInfo")[0]["parameters"]
    assert "io.belfry.Control" in info["interfaces"]
    text = varlink(daemon, "org.varlink.service.GetInterfaceDescription", {"interface": "io.belfry.Control"})[0]
    methods = re.findall(r"^method (\w+)", text["parameters"]["description"], re.M)
    assert "Status" in methods
    for method in methods:  # each exists: whatever it answers, it is not "no such method"
        if method in ("Tail", "Reload"):
            continue
        answer = varlink(daemon, f"io.belfry.Control.{method}", more=True)[0]
        assert "MethodNotFound" not in answer.get("error", ""), method


def test_daemon_goes_away_under_tail(daemon):
    daemon.write('store = { size = "64M"; };')
    daemon.start()
    tail = subprocess.Popen([BUILD / "belfry", "--runtime-dir", daemon.run, "tail"], stderr=subprocess.PIPE, text=True)
    s = varlink(daemon, "io.belfry.Control.Status")
    assert s[0]["parameters"]["state"] == "running"
    daemon.process.send_signal(signal.SIGTERM)
    _, err = tail.communicate(timeout=20)
    assert (tail.returncode == 1 and "ended the connection" in err) or tail.returncode == 3
