# SPDX-License-Identifier: MIT
"""What an operator asks of a source: of its process, of one born for it, after the source has left;
and that nothing about it can hang or leak. Then what the modules say of themselves."""
import json
import os
import signal
import subprocess
import time

import pytest
from harness import BUILD, wait_for
from schemas import check
from test_command import varlink

STORE = 'store = { size = "64M"; };\n'


def source(**options):
    values = "".join(f'{k} = "{v}"; ' for k, v in options.items())
    return STORE + f'sources = {{ it = {{ module = "asked"; {values}}}; }};\n'


@pytest.fixture
def asked(daemon):
    daemon.own_programs("tests/e2e/modules/belfry-source-asked")
    return daemon


def ask(daemon, *words, code=0):
    r = daemon.belfry("source", *words, "--json", check=code)
    return [json.loads(line) for line in r.stdout.splitlines()]


def alone(daemon):
    """Nothing born for a command is left."""
    wait_for(lambda: len([n for n in daemon.children() if n == "belfry-source-asked"]) <= 1, "the errand's end")


def test_a_ready_source_answers(asked):
    asked.write(source(note="hello"))
    asked.start()
    pid = asked.children()["belfry-source-asked"]
    answer = ask(asked, "doctor", "it")[-1]
    assert answer == {"ok": True, "text": "all is well", "note": "hello", "born": False, "position": False, "rows": 1, "name": "it"}
    assert asked.belfry("source", "doctor", "it", check=0).stdout == "all is well\n"
    assert asked.belfry("source", "echo", "it", "a b", check=0).stdout == "a b\n"
    assert asked.belfry("source", "many", "it", "3", check=0).stdout == "line\n\\x1b[2J\n" * 3 + "end\n"
    wrong = asked.belfry("source", "wrong", "it", check=1)
    assert wrong.stdout == "looking\n" and wrong.stderr == "belfry: no free slot\n"
    assert [p.get("ok") for p in ask(asked, "wrong", "it", code=1)] == [None, False]
    assert asked.children()["belfry-source-asked"] == pid


def test_refusals(asked):
    asked.write(source())
    asked.start()
    for words, told in ((("nothing", "it"), 'knows no "nothing"; it knows: doctor, echo, many'),
                        (("doctor", "ti"), 'no source "ti" (did you mean "it"?)'), (("doctor", "../x"), "no source"),
                        (("doctor", "it", "x"), "doctor takes no argument"), (("echo", "it"), "usage: belfry source echo it WORD"),
                        (("echo", "it", "x" * 5000), "over 4096 bytes"), (("DOCTOR", "it"), "is no verb")):
        assert told in asked.belfry("source", *words, check=1).stderr
    assert asked.belfry("source", "doctor", check=2) and asked.belfry("source", "doctor", "it", "x", "y", check=2)
    assert "ExpectedMore" in varlink(asked, "io.belfry.Control.SourceCommand", {"name": "it", "verb": "doctor"})[0]["error"]


@pytest.mark.parametrize("mode", ["failing", "starting"])
def test_one_is_born_when_it_is_down(asked, mode):
    asked.write(source(mode=mode, note=mode))
    asked.start(wait=False)
    wait_for(lambda: asked.status() and asked.status()["sources"], "a source")
    answer = ask(asked, "doctor", "it")[-1]
    assert answer["born"] and answer["note"] == mode and answer["ok"]
    alone(asked)
    # The process born for it may not make events: nothing of them is taken.
    r = asked.belfry("source", "garbage", "it", check=1)
    assert "before it had answered" in r.stderr
    alone(asked)


def test_after_it_left_the_configuration(asked):
    asked.write(source(note="before"))
    asked.start()
    asked.write(STORE)
    asked.belfry("reload", check=0)
    wait_for(lambda: "belfry-source-asked" not in asked.children(), "the end of the source")
    answer = ask(asked, "doctor", "it")[-1]
    assert answer["born"] and answer["note"] == "before" and answer["position"] and answer["rows"] == 1
    assert "left the configuration, and echo works only" in asked.belfry("source", "echo", "it", "x", check=1).stderr
    asked.stop()
    asked.start()
    assert ask(asked, "doctor", "it")[-1]["note"] == "before"
    wait_for(lambda: "belfry-source-asked" not in asked.children(), "the end of the errand")
    asked.belfry("source", "forget", "it", check=0)
    assert 'no source "it"' in asked.belfry("source", "doctor", "it", check=1).stderr


def test_death_while_it_answers(asked):
    asked.write(source())
    asked.start()
    r = asked.belfry("source", "die", "it", check=1)
    assert r.stdout == "about to\n" and "before it had answered: it was asked to" in r.stderr
    asked.wait_state()
    hanging = subprocess.Popen([BUILD / "belfry", "--runtime-dir", asked.run, "source", "hang", "it"], stderr=subprocess.PIPE, text=True)
    wait_for(lambda: "asked to hang" in asked.text(), "the question")
    os.kill(asked.children()["belfry-source-asked"], signal.SIGKILL)
    assert "before it had answered: was killed by signal 9" in hanging.communicate(timeout=20)[1] and hanging.returncode == 1
    asked.wait_state()
    assert ask(asked, "doctor", "it")[-1]["ok"]


def test_as_many_as_eight_and_clients_that_go(asked):
    asked.write(source())
    asked.start()
    command = [BUILD / "belfry", "--runtime-dir", asked.run, "source", "hang", "it"]
    hanging = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(8)]
    wait_for(lambda: asked.text().count("asked to hang") == 8, "eight questions")
    assert "8 commands are under way" in asked.belfry("source", "doctor", "it", check=1).stderr
    for p in hanging:
        p.kill()
        p.wait()
    wait_for(lambda: asked.belfry("source", "doctor", "it").returncode == 0, "room after the clients went")


def test_a_client_that_does_not_read(asked):
    import socket
    asked.write(source())
    asked.start()
    s = socket.socket(socket.AF_UNIX)
    s.connect(str(asked.run / "control"))
    s.sendall(json.dumps({"method": "io.belfry.Control.SourceCommand", "more": True,
                          "parameters": {"name": "it", "verb": "many"}}).encode() + b"\0")
    assert ask(asked, "doctor", "it")[-1]["ok"]  # behind the other's pieces on the same link
    data = b""
    s.settimeout(30)
    while b'{"error"' not in data:
        data += s.recv(1 << 20)
    assert b"not read fast enough" in data[-300:] and len(data) < 4 << 20
    s.close()


def test_stopping_ends_it(asked):
    asked.write(source(mode="starting"))
    asked.start(wait=False)
    wait_for(lambda: asked.status() and asked.status()["sources"], "a source")
    hanging = subprocess.Popen([BUILD / "belfry", "--runtime-dir", asked.run, "source", "hang", "it"], stderr=subprocess.PIPE, text=True)
    wait_for(lambda: list(asked.text().splitlines()) and "asked to hang" in asked.text(), "the question")
    began = time.monotonic()
    assert asked.stop() == 0 and time.monotonic() - began < 8
    assert hanging.wait(10) == 1


def test_help_lists_the_verbs(asked):
    asked.write(source())
    asked.start()
    text = asked.belfry("source", "--help", check=0).stdout
    assert "doctor NAME" in text and "echo NAME WORD" in text and "(asked)" in text and "forget NAME" in text
    asked.stop()
    assert "does not answer" in asked.belfry("source", "--help", check=0).stdout


def test_modules_without_a_daemon(tmp_path):
    def modules(*words, code=0):
        r = subprocess.run([BUILD / "belfry", "--runtime-dir", tmp_path, "modules", *words], capture_output=True, text=True)
        assert r.returncode == code, r.stderr
        return r.stdout if code == 0 else r.stderr

    rows = {(m["kind"], m["name"]): m for m in json.loads(modules("--json"))}
    assert ("sink", "http") in rows and "file.created" in rows["source", "inotify"]["types"] and rows["source", "inotify"]["in_use"] is None
    assert 'no module "nothing"' in modules("nothing", code=1)
    for (kind, name), _ in rows.items():
        text, whole = modules(name), json.loads(modules(name, "--json"))
        assert whole["kind"] == kind and whole["options"]
        for t in whole["types"]:
            assert t["name"] in text
            schema, data = t["dataschema"], t["sample"]["data"]
            assert t["sample"]["type"] == t["name"] and schema["type"] == "object"
            check(schema, data, f"{name} {t['name']}")
            assert schema["$id"] == t["sample"]["dataschema"] == f"urn:belfry:event:{t['name']}:{t['version']}"
            assert "version 1" in text and json.dumps(t["sample"], separators=(",", ":"), ensure_ascii=False) in text
        assert (kind == "source") == any(t["name"] == "source.gap" for t in whole["types"])
