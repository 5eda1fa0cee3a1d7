# SPDX-License-Identifier: MIT
"""belfry emit against the real daemon: arguments, pipes, exit codes, restarts meanwhile, the git hook of
the manual."""
import json
import os
import re
import signal
import socket
import subprocess
import threading

import pytest
from harness import BUILD, manual_block, wait_for


def config(receiver, options="", extra=""):
    return f"""
sources = {{ apps = {{ module = "app"; {options} }}; }};
sinks = {{ hook = {{ module = "http"; url = "{receiver.url}"; }}; }};
rules = ( {{ name = "all"; from = [ "apps" ]; to = [ "hook" ]; }} );
{extra}
"""


def events(receiver):
    return [r.event for r in receiver.all()]


def test_arguments(daemon, receiver):
    daemon.write(config(receiver))
    daemon.start()
    r = daemon.belfry("emit", "backup.done", '{"bytes": 1e400,\n "n": 0.10}', "--subject", 'a "b"\n', "--id", "k",
                      "--time", "2026-11-23T09:33:00Z", check=0)
    assert daemon.belfry("emit", "backup.done", "--id", "k", check=0).stdout == r.stdout
    bare = daemon.belfry("emit", "--json", "a.bare", check=0)
    (first, second) = receiver.wait(2)[:2]
    assert first.id == r.stdout.strip() and second.id == json.loads(bare.stdout)["id"]
    assert b'"data":{"bytes": 1e400,  "n": 0.10}' in first.body
    assert first.event["subject"] == 'a "b"\n' and first.event["time"].startswith("2026-11-23T09:33:00")
    assert second.event["data"] == {} and "subject" not in second.event
    assert "delivered" in daemon.belfry("why", first.id).stdout


def test_pipes(daemon, receiver):
    daemon.write(config(receiver))
    daemon.start()
    many = daemon.belfry("emit", "a.n", "-", stdin="".join(f'{{"n":{i}}}\n' for i in range(2000)), check=0).stdout.split()
    requests = receiver.wait(2000)
    assert {r.id: r.event["data"]["n"] for r in requests} == {id: i for i, id in enumerate(many)}
    mixed = '{"type":"b.one"}\n\n[1]\n{"id":"x","type":"b.two","data":{}}\n{"type":"file.x"}\n{}\n{"type":"b.three"}'
    r = daemon.belfry("emit", "-", stdin=mixed, check=1)
    assert len(r.stdout.split()) == 3
    lines = r.stderr.splitlines()
    assert re.match(r"belfry: line 3: expected one JSON object", lines[0]), lines
    assert re.match(r'belfry: line 5: type "file.x" is not one', lines[1]) and "line 6: type is missing" in lines[2]
    r = daemon.belfry("emit", "b.json", "-", "--json", stdin='{}\n{"a"}\n{},"id":"k"\n{}', check=1)
    answers = [json.loads(line) for line in r.stdout.splitlines()]
    assert sorted(a.get("line", 0) for a in answers) == [0, 0, 2, 3] and r.stderr == ""
    wait_for(lambda: len(receiver.all()) == 2005, "2005 events")
    assert sorted(e["type"] for e in events(receiver) if e["type"] != "a.n") == ["b.json", "b.json", "b.one", "b.three", "b.two"]


def test_wrong_command_lines(daemon):
    for arguments, words in [((), "usage"), (("a", "1"), "expected one JSON object"), (("a", "{}}"), "expected one JSON object"),
                             (("-", "{}"), "takes whole events"), (("-", "--subject", "x"), "takes whole events"),
                             (("a", "-", "--id", "x"), "--id is of one event"), (("a", "--timeout", "x"), "no duration"),
                             (("a", "{}", "{}"), "usage")]:
        r = daemon.belfry("emit", *arguments, check=2)
        assert words in r.stderr and not r.stdout, r.stderr


def test_nobody_there(daemon, receiver, watched):
    daemon.run.mkdir(parents=True)
    assert "is not running" in daemon.belfry("emit", "a", check=3).stderr
    daemon.write(config(receiver).replace('module = "app";', f'module = "inotify"; paths = [ "{watched}" ];'))
    daemon.start()
    assert 'module = "app"' in daemon.belfry("emit", "a", check=1).stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_not_permitted(daemon, receiver):
    daemon.write(config(receiver, extra='control = { admin = [ "root" ]; };'))
    daemon.start()
    for path in (*daemon.run.parents, daemon.run):
        if path.owner() == "root" and not path.stat().st_mode & 1:
            path.chmod(path.stat().st_mode | 0o711)
    command = [BUILD / "belfry", "--runtime-dir", daemon.run, "emit", "a.b"]
    become = {"user": "nobody", "group": "nogroup", "extra_groups": []}
    r = subprocess.run(command, capture_output=True, text=True, **become)
    assert r.returncode == 4 and 'inject = [ "nobody" ]' in r.stderr, r
    daemon.write(config(receiver, extra='control = { admin = [ "root" ]; inject = [ "@nogroup" ]; };'))
    daemon.belfry("reload", check=0)
    r = subprocess.run(command, capture_output=True, text=True, **become)
    assert r.returncode == 0, r
    assert receiver.wait(1)[0].id == r.stdout.strip()


def test_timeout(daemon, receiver):
    """Somebody listens and never answers."""
    daemon.run.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(daemon.run / "events"))
        s.listen()
        r = daemon.belfry("emit", "a.b", "--id", "k", "--timeout", "300ms", check=1)
    assert "no answer in time" in r.stderr and "--id" in r.stderr


def test_restarts_meanwhile(daemon, receiver):
    """Kills of the source and of the daemon while lines run through a pipe: each arrives, one id each."""
    daemon.write(config(receiver))
    daemon.start()
    emit = subprocess.Popen([BUILD / "belfry", "--runtime-dir", daemon.run, "emit", "a.n", "-"], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, text=True)
    ids = []
    reader = threading.Thread(target=lambda: ids.extend(line.strip() for line in emit.stdout))
    reader.start()
    total = 3000
    for i in range(total):
        emit.stdin.write(f'{{"n":{i}}}\n')
        if i % 500 == 250:
            emit.stdin.flush()
            wait_for(lambda: ids, "the first answer: before it nobody is waited for")
            if i > 1500:
                daemon.kill()
                daemon.start(wait=False)
            elif "belfry-source-app" in (children := daemon.children()):
                os.kill(children["belfry-source-app"], signal.SIGKILL)
    emit.stdin.close()
    assert emit.wait(60) == 0
    reader.join()
    assert len(ids) == len(set(ids)) == total
    wait_for(lambda: {r.id for r in receiver.all()} >= set(ids), "all events", 60)
    of = {}
    for r in receiver.all():
        of.setdefault(r.event["data"]["n"], set()).add(r.id)
    assert set(of) == set(range(total)) and all(len(v) == 1 for v in of.values())


def test_git_hook_of_the_manual(daemon, receiver, tmp_path):
    daemon.write(config(receiver))
    daemon.start()
    env = {"PATH": f"{BUILD}:{os.environ['PATH']}", "RUNTIME_DIRECTORY": str(daemon.run), "HOME": str(tmp_path),
           "GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.com",
           "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.com"}

    def git(*arguments):
        return subprocess.run(["git", *map(str, arguments)], env=env, cwd=tmp_path, capture_output=True, text=True, check=True)
    git("init", "-q", "--bare", "shop.git")
    hook = tmp_path / "shop.git/hooks/post-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(manual_block("belfry-app.5", "#!/bin/sh"))
    hook.chmod(0o755)
    git("init", "-q", "-b", "main", "work")
    git("-C", "work", "commit", "-q", "--allow-empty", "-m", "one")
    new = git("-C", "work", "rev-parse", "HEAD").stdout.strip()
    r = git("-C", "work", "push", "-q", "../shop.git", "main", "main:refs/heads/it's")
    assert r.stderr == ""
    wait_for(lambda: len(events(receiver)) == 2, "two events")
    assert sorted(e["subject"] for e in events(receiver)) == ["shop.git refs/heads/it's", "shop.git refs/heads/main"]
    assert all(e["type"] == "git.push" and e["data"] == {"old": "0" * 40, "new": new} for e in events(receiver))
    daemon.stop()
    r = git("-C", "work", "push", "-q", "../shop.git", "main:later")  # the push itself goes well
    assert "belfryd is not running" in r.stderr
