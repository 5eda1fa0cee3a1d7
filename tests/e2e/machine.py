# SPDX-License-Identifier: MIT
"""A whole machine for tests of the service: a real systemd as PID 1, booted by systemd-nspawn over an
overlay of this host's root, with a network and a journal of its own. What is written in it is gone
when it ends. It needs root, overlayfs and cgroups; without them boot() says what is missing."""
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from harness import wait_for

# Services of the host that have nothing to do here.
MASKED = ("postgresql", "docker", "containerd", "nats-server", "redis-server", "nginx", "ssh", "cron", "rabbitmq-server",
          "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "man-db.timer")


def cgroup_roots():
    """Where a child group can be made: the unified hierarchy, and systemd's own where there is one."""
    if Path("/sys/fs/cgroup/cgroup.procs").exists():
        return [Path("/sys/fs/cgroup")]
    return [p for p in (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup/systemd")) if p.is_dir()]


class Machine:
    def __init__(self):
        self.name = f"belfry{os.getpid()}"
        self.top = Path(tempfile.mkdtemp(prefix="belfry-machine."))
        self.root = self.top / "m"
        self.groups = [g / self.name for g in cgroup_roots()]
        self.leader = self.nspawn = None

    def prepare(self):
        """Mounts the overlay; root can be written from then on."""
        assert os.geteuid() == 0, "a machine needs root"
        assert shutil.which("systemd-nspawn"), "systemd-nspawn is missing: apt-get install systemd-container"
        assert self.groups, "no cgroup hierarchy that systemd could use below /sys/fs/cgroup"
        self.call("mount", "-t", "tmpfs", "tmpfs", self.top)
        for d in "uwm":
            (self.top / d).mkdir()
        self.call("mount", "-t", "overlay", "overlay", "-o", f"lowerdir=/,upperdir={self.top}/u,workdir={self.top}/w", self.root)
        (self.root / "etc/machine-id").write_text("")
        (self.root / "usr/sbin/policy-rc.d").unlink(missing_ok=True)
        for unit in MASKED:
            link = self.root / "etc/systemd/system" / (unit if "." in unit else f"{unit}.service")
            link.unlink(missing_ok=True)
            link.symlink_to("/dev/null")

    def boot(self):
        for g in self.groups:
            g.mkdir()
        script = "".join(f"echo $$ >{g}/cgroup.procs\n" for g in self.groups) + \
            f"exec systemd-nspawn -q -D {self.root} -M {self.name} --register=no --keep-unit --private-network " \
            "--console=pipe --capability=all --boot " \
            "'--system-call-filter=bpf landlock_create_ruleset landlock_add_rule landlock_restrict_self'"
        self.log = open(self.top / "console", "w")
        self.nspawn = subprocess.Popen(["bash", "-ec", script], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                       start_new_session=True, env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"})
        wait_for(self.find_leader, "a PID 1 in the machine", 30)
        wait_for(lambda: self.run("systemctl", "is-system-running", check=False).stdout.strip() in ("running", "degraded"),
                 "a machine that has started", 60)
        self.run("ip", "link", "set", "lo", "up", check=False)

    def find_leader(self):
        assert self.nspawn.poll() is None, f"systemd-nspawn cannot work here: {self.console()}"
        procs = self.groups[0] / "payload/init.scope/cgroup.procs"
        text = procs.read_text().split() if procs.exists() else []
        self.leader = text[0] if text else None
        return self.leader

    def console(self):
        return (self.top / "console").read_text(errors="replace")[-3000:]

    @staticmethod
    def call(*command):
        r = subprocess.run([str(c) for c in command], capture_output=True, text=True)
        assert r.returncode == 0, f"{' '.join(map(str, command))}: {r.stderr}"

    def run(self, *command, check=True, timeout=60):
        r = subprocess.run(["nsenter", "-a", "-t", self.leader, *map(str, command)], capture_output=True, text=True,
                           timeout=timeout, env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"})
        assert not check or r.returncode == 0, f"{' '.join(map(str, command))}: {r.returncode}\n{r.stdout}{r.stderr}\n" \
                                               f"{self.journal('-n', '40')}"
        return r

    def sh(self, script, check=True):
        return self.run("sh", "-ec", script, check=check)

    def write(self, path, text, mode=0o644):
        """A file in the machine, made within it: /tmp and /run of the machine are its own."""
        subprocess.run(["nsenter", "-a", "-t", self.leader, "sh", "-ec",
                        f'mkdir -p "$(dirname "{path}")"; cat >"{path}"; chmod {mode:o} "{path}"'],
                       input=text, text=True, check=True)

    def read(self, path):
        return self.run("cat", path, check=False).stdout

    def show(self, unit, name):
        return self.run("systemctl", "show", "-P", name, unit).stdout.strip()

    def journal(self, *arguments):
        return self.run("journalctl", "--no-pager", "-q", *arguments, check=False).stdout

    def entries(self, unit):
        return [json.loads(line) for line in self.journal("-u", unit, "-o", "json").splitlines()]

    def family(self, unit):
        """command line -> /proc/PID/status as a dict, of each process of the unit."""
        found = {}
        group = self.run("systemctl", "show", "-P", "ControlGroup", unit).stdout.strip()
        for pid in self.read(f"/sys/fs/cgroup{group}/cgroup.procs").split():
            title = self.read(f"/proc/{pid}/cmdline").replace("\0", " ").strip()
            if self.read(f"/proc/{pid}/comm").strip() == "belfry-births":
                title = "belfry-births"  # a fork of the daemon, with its command line
            status = dict(re.findall(r"^(\w+):\t(.*)$", self.read(f"/proc/{pid}/status"), re.M))
            if title:
                found[title] = {**status, "pid": pid}
        return found

    def end(self):
        if self.leader and self.nspawn.poll() is None:
            os.kill(int(self.leader), signal.SIGRTMIN + 4)
            try:
                self.nspawn.wait(20)
            except subprocess.TimeoutExpired:
                os.kill(int(self.leader), signal.SIGKILL)
        if self.nspawn:
            if self.nspawn.poll() is None:
                self.nspawn.kill()
            self.nspawn.wait()
            self.log.close()
        for where in (self.root, self.top):
            subprocess.run(["umount", where], stderr=subprocess.DEVNULL)
        self.top.rmdir()
        for g in self.groups:
            for d in sorted(g.rglob("*"), key=lambda p: -len(p.parts)) if g.exists() else ():
                if d.is_dir():
                    d.rmdir()
            if g.exists():
                g.rmdir()
