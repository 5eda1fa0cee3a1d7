# SPDX-License-Identifier: MIT
"""The service as a user installs it: `meson install`, sysusers, tmpfiles and `systemctl enable --now`
on a machine with a real systemd. One machine for the whole file; each test leaves the service running
with the configuration it found."""
import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from harness import BUILD, manual_block, wait_for
from machine import Machine

pytestmark = pytest.mark.service

MESSAGES = Path(__file__).resolve().parent.parent.parent / "src/event/messages.h"
DROP_INS = "/usr/share/doc/belfry/drop-ins"
UNIT = "/etc/systemd/system/belfry.service.d"
CONFIG = '''store = {{ size = "16M"; }};
sources = {{ uploads = {{ module = "inotify"; paths = [ {paths} ]; }}; }};
sinks = {{ ops = {{ module = "http"; url = "http://127.0.0.1:8099/ops"; secret = "credential:ops"; }}; }};
rules = ( {{ name = "all"; from = [ "uploads" ]; to = [ "ops" ]; }} );
'''


class Service(Machine):
    def status(self):
        r = self.run("belfry", "status", "--json", check=False)
        return json.loads(r.stdout) if r.stdout.startswith("{") else None

    def wait_state(self, state="running"):
        try:
            return wait_for(lambda: (s := self.status()) and s["state"] == state and s, f"state {state}", 20)
        except AssertionError as e:
            raise AssertionError(f"{e}\n{self.run('belfry', 'status', check=False)}\n{self.journal('-u', 'belfry')}") from None

    def depth(self):
        s = self.status()
        return s["sinks"][0]["depth"] if s and s["sinks"] else None

    def configure(self, *paths):
        self.write("/etc/belfry/belfry.conf", CONFIG.format(paths=", ".join(f'"{p}"' for p in paths)))

    def drop_in(self, name, text=None):
        """One of ours, or one with this text; None of either removes it."""
        if text is None:
            self.run("install", "-D", "-m", "644", f"{DROP_INS}/{name}", f"{UNIT}/{name}")
        else:
            self.write(f"{UNIT}/{name}", text)
        self.restart()

    def without(self, name):
        self.run("rm", f"{UNIT}/{name}")
        self.restart()

    def restart(self):
        self.run("systemctl", "daemon-reload")
        self.run("systemctl", "restart", "belfry")

    def receive(self, on=True):
        if not on:
            self.run("systemctl", "stop", "receiver")
            return
        self.run("systemd-run", "-q", "--unit=receiver", "-p", "StandardOutput=append:/var/lib/hooks", "-p", "KillSignal=SIGTERM",
                 "belfry", "listen", "--port", "8099", "--secret", "file:/etc/belfry/ops.secret")
        wait_for(lambda: "listening" in self.read("/var/lib/hooks"), "a receiver")

    def hooks(self):
        return [line for line in self.read("/var/lib/hooks").splitlines() if "file." in line or "dir." in line]

    def wait_hook(self, *words):
        return wait_for(lambda: next((h for h in self.hooks() if all(w in h for w in words)), None), f"a webhook with {words}")


@pytest.fixture(scope="module")
def machine():
    options = json.loads(subprocess.run(["meson", "introspect", "--buildoptions", BUILD], capture_output=True, text=True,
                                        check=True).stdout)
    built = {o["name"]: o["value"] for o in options}
    assert built["b_sanitize"] == "none", "the service's sandbox has no room for a sanitizer: use a plain build"
    assert built["prefix"] == "/usr", f"built for {built['prefix']}: meson configure {BUILD} -Dprefix=/usr"
    m = Service()
    try:
        m.prepare()
        subprocess.run(["meson", "install", "--quiet", "--no-rebuild", "-C", BUILD], check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, "DESTDIR": str(m.root)})
        m.boot()
        yield m
    finally:
        m.end()


def test_fresh_install_runs_and_says_what_to_do(machine):
    machine.run("systemd-sysusers")
    machine.run("systemd-tmpfiles", "--create")
    machine.run("belfry", "check")
    machine.run("systemctl", "enable", "--now", "belfry")  # Type=notify: it returns when READY=1 was said
    assert machine.show("belfry", "ActiveState") == "active"
    assert machine.run("systemctl", "is-enabled", "belfry").stdout.strip() == "enabled"
    status = machine.wait_state()
    assert "rules" in status["hint"]
    assert {p["Uid"].split()[0] for p in machine.family("belfry").values()} != {"0"}


def test_first_webhook_with_a_credential(machine):
    machine.sh('mkdir -p /srv/uploads; umask 077; printf "whsec_%s\\n" "$(head -c 32 /dev/urandom | base64)" '
               '>/etc/belfry/ops.secret')
    machine.configure("/srv/uploads")
    # Without its credential the sink is degraded, says which, and the rest runs.
    machine.restart()
    said = machine.wait_state("degraded")
    assert "ops" in json.dumps(said["sinks"]) and "credential" in json.dumps(said["sinks"])
    machine.drop_in("secret.conf", "[Service]\nLoadCredential=ops:/etc/belfry/ops.secret\n")
    machine.wait_state()
    assert "uploads" in machine.show("belfry", "StatusText") or machine.show("belfry", "StatusText")
    machine.receive()
    machine.write("/srv/uploads/first.pdf", "x" * 100)
    assert "verified" in machine.wait_hook("file.created", "first.pdf")


def test_journal_fields(machine):
    known = set(re.findall(r'"([0-9a-f]{32})"', MESSAGES.read_text()))
    entries = [e for e in machine.entries("belfry") if e.get("SYSLOG_IDENTIFIER", "").startswith("belfry")]
    ids = {e["MESSAGE_ID"] for e in entries if "MESSAGE_ID" in e}
    started = re.search(r'MESSAGE_ID_STARTED "(\w+)"', MESSAGES.read_text()).group(1)
    assert started in ids and ids <= known
    assert all(e["_SYSTEMD_UNIT"] == "belfry.service" and e["PRIORITY"] in "0123456" for e in entries)
    # The sink that had no credential was told with its name.
    assert any(e.get("BELFRY_INSTANCE") == "ops" and "credential" in e["MESSAGE"] for e in entries)
    secret = machine.read("/etc/belfry/ops.secret").strip()[6:]
    assert len(secret) > 40 and secret not in machine.journal("-o", "export")


def test_reload(machine):
    machine.sh("mkdir -p /srv/more")
    pid = machine.show("belfry", "MainPID")
    machine.configure("/srv/uploads", "/srv/more")
    machine.run("systemctl", "reload", "belfry")
    wait_for(lambda: machine.show("belfry", "ActiveState") == "active", "the end of the reload")
    machine.wait_state()
    machine.write("/srv/more/second.pdf", "x")
    machine.wait_hook("file.created", "second.pdf", "verified")
    # A wrong one is refused, logged with its place, and the old one stays in force.
    machine.write("/etc/belfry/belfry.conf", CONFIG.format(paths='"/srv/uploads"').replace("paths", "path"))
    machine.run("systemctl", "reload", "belfry")
    wait_for(lambda: "/etc/belfry/belfry.conf:2:" in machine.journal("-u", "belfry"), "the refusal in the journal")
    machine.configure("/srv/uploads", "/srv/more")
    machine.run("belfry", "reload")
    assert machine.show("belfry", "MainPID") == pid


def test_killed_it_comes_back_and_nothing_is_lost(machine):
    machine.receive(False)
    machine.sh("for i in $(seq 40); do echo x >/srv/uploads/kill$i; done")
    wait_for(lambda: machine.depth() == 40, "40 queued")
    restarts = int(machine.show("belfry", "NRestarts"))
    pid = machine.show("belfry", "MainPID")
    machine.run("systemctl", "kill", "-s", "KILL", "belfry")
    machine.sh("for i in $(seq 41 50); do echo x >/srv/uploads/kill$i; done")  # while it is down
    wait_for(lambda: machine.show("belfry", "MainPID") not in (pid, "0"), "another main process")
    machine.receive()
    wait_for(lambda: len({h.split("kill")[1].split()[0] for h in machine.hooks() if "kill" in h}) == 50, "50 webhooks", 30)
    assert int(machine.show("belfry", "NRestarts")) == restarts + 1
    assert len([h for h in machine.hooks() if "kill" in h]) == 50  # nothing was in flight: none twice
    wait_for(lambda: machine.depth() == 0, "an empty queue")


def test_watchdog(machine):
    machine.drop_in("watchdog.conf", "[Service]\nWatchdogSec=1s\n")
    machine.wait_state()
    restarts = machine.show("belfry", "NRestarts")
    first = machine.show("belfry", "WatchdogTimestampMonotonic")
    second = wait_for(lambda: (t := machine.show("belfry", "WatchdogTimestampMonotonic")) != first and t, "a ping")
    wait_for(lambda: machine.show("belfry", "WatchdogTimestampMonotonic") != second, "another ping")
    assert machine.show("belfry", "NRestarts") == restarts
    machine.run("kill", "-STOP", machine.show("belfry", "MainPID"))  # hangs: systemd ends it and starts another
    wait_for(lambda: machine.show("belfry", "NRestarts") != restarts, "the watchdog to strike", 30)
    machine.without("watchdog.conf")
    machine.wait_state()
    machine.write("/srv/uploads/after-watchdog", "x")
    machine.wait_hook("after-watchdog", "verified")


def test_unreadable_directory_is_named_with_the_line_that_mends_it(machine):
    machine.sh("mkdir -m 700 /srv/uploads/private; echo x >/srv/uploads/private/a")
    machine.wait_state("degraded")
    text = machine.run("belfry", "status", check=False).stdout
    line = re.search(r"setfacl -R -m u:belfry:rX '/srv/uploads/private'", text)
    assert line, text
    machine.run("sh", "-c", line.group(0))  # as printed
    machine.wait_state()
    machine.write("/srv/uploads/private/b", "x", 0o644)
    machine.wait_hook("private/b", "verified")


def test_files_all_drop_in(machine):
    machine.sh("mkdir -m 700 -p /srv/uploads/rootonly; echo x >/srv/uploads/rootonly/before")
    machine.wait_state("degraded")
    machine.drop_in("files-all.conf")
    machine.wait_state()
    machine.write("/srv/uploads/rootonly/after", "x", 0o600)
    machine.wait_hook("rootonly/after", "verified")
    caps = {title: p["CapEff"] for title, p in machine.family("belfry").items()}
    reads_all = f"{1 << 2:016x}"  # CAP_DAC_READ_SEARCH
    assert {t.split()[0] for t, c in caps.items() if c == reads_all} == {"belfry-source-inotify"}, caps
    assert {c for t, c in caps.items() if not t.startswith("belfry-source-inotify")} == {"0" * 16}, caps
    machine.run("rm", "-r", "/srv/uploads/rootonly")
    machine.without("files-all.conf")
    machine.wait_state()


def test_paths_the_sandbox_hides(machine):
    machine.sh("mkdir -p /tmp/in /home/anna/in; chmod 755 /tmp/in /home/anna /home/anna/in")
    machine.configure("/srv/uploads", "/tmp/in")
    machine.restart()
    machine.wait_state("degraded")
    text = machine.run("belfry", "status", check=False).stdout
    assert "/tmp/in" in text and "PrivateTmp=" in text and "tmp.conf" in text, text
    machine.drop_in("tmp.conf")
    machine.wait_state()
    machine.write("/tmp/in/shown", "x")
    machine.wait_hook("/tmp/in/shown", "verified")
    machine.run("rm", f"{UNIT}/tmp.conf")
    machine.configure("/srv/uploads", "/home/anna/in")
    machine.restart()
    machine.wait_state()  # the unit as shipped reads homes
    machine.write("/home/anna/in/note", "x")
    machine.wait_hook("/home/anna/in/note", "verified")
    machine.drop_in("home.conf", "[Service]\nProtectHome=yes\n")
    machine.wait_state("degraded")
    text = machine.run("belfry", "status", check=False).stdout
    assert "/home/anna/in" in text and "ProtectHome=" in text, text
    machine.configure("/srv/uploads")
    machine.without("home.conf")
    machine.wait_state("degraded")  # what happened in that home meanwhile was not seen: the gap stays until it is read
    machine.run("belfry", "gaps", "ack")
    machine.wait_state()


def test_units_that_fail(machine):
    """The recipe of belfry-app(5), under the service's sandbox; and the access list of the socket."""
    machine.write("/etc/belfry/conf.d/apps.conf", 'control = { inject = [ "daemon" ]; };\n'
                  'sources = { apps = { module = "app"; }; };\n'
                  'rules = ( { name = "apps"; from = [ "apps" ]; to = [ "ops" ]; } );\n')
    machine.run("belfry", "reload")
    machine.wait_state()
    machine.write("/etc/systemd/system/belfry-failed@.service", manual_block("belfry-app.5", "[Unit]"))
    machine.write("/etc/systemd/system/backup.service", "[Unit]\nOnFailure=belfry-failed@%n.service\n"
                                                        "[Service]\nType=oneshot\nExecStart=sh -c 'exit 7'\n")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "backup", check=False)
    told = wait_for(lambda: [line for line in machine.read("/var/lib/hooks").splitlines() if "unit.failed" in line], "a webhook")
    assert "backup.service" in told[0] and len(told) == 1
    machine.run("setpriv", "--reuid", "daemon", "--clear-groups", "belfry", "emit", "a.daemon")
    r = machine.run("setpriv", "--reuid", "nobody", "--clear-groups", "belfry", "emit", "a.nobody", check=False)
    assert r.returncode == 4 and 'inject = [ "nobody" ]' in r.stderr
    machine.run("rm", "/etc/belfry/conf.d/apps.conf")
    machine.run("belfry", "reload")
    machine.wait_state()


def test_journal_drop_in(machine):
    machine.drop_in("journal.conf")
    group = machine.run("getent", "group", "systemd-journal").stdout.split(":")[2]
    family = machine.family("belfry")
    assert all(group in p["Groups"].split() for p in family.values()), family
    machine.without("journal.conf")
    machine.wait_state()


def test_stop_in_time(machine):
    machine.receive(False)
    machine.sh("for i in $(seq 20); do echo x >/srv/uploads/stop$i; done")
    wait_for(lambda: machine.depth() == 20, "20 queued")
    began = time.monotonic()
    machine.run("systemctl", "stop", "belfry")
    took = time.monotonic() - began
    assert took < 10 and machine.show("belfry", "Result") == "success", took
    assert not machine.read("/sys/fs/cgroup/system.slice/belfry.service/cgroup.procs")
    assert any("belfryd ended" in e["MESSAGE"] for e in machine.entries("belfry"))
    machine.receive()
    machine.run("systemctl", "start", "belfry")
    wait_for(lambda: len([h for h in machine.hooks() if "stop" in h]) == 20, "what was queued")
