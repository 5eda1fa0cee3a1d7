# SPDX-License-Identifier: MIT
"""A PostgreSQL server of a test's own: a fresh cluster on a Unix socket, nothing on the network.

BELFRY_PG_BIN names the folder of initdb and pg_ctl; without it Debian's newest is taken. psql is
Debian's and talks to all versions."""
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

SETTINGS = {"wal_level": "logical", "fsync": "off", "listen_addresses": "", "max_prepared_transactions": "5",
            "shared_buffers": "32MB", "max_wal_senders": "10", "max_replication_slots": "10",
            "logging_collector": "off", "autovacuum": "off"}
# What the source asks for on its own connections, whatever the role's settings are.
OPTIONS = ("-c datestyle=ISO -c intervalstyle=iso_8601 -c extra_float_digits=3 -c bytea_output=hex "
           "-c timezone=UTC -c statement_timeout=0")


def binaries():
    named = os.environ.get("BELFRY_PG_BIN")
    if named:
        return Path(named)
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: int(p.parent.parent.name))
    return found[-1].parent if found else None


def major():
    out = subprocess.run([binaries() / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    return int(out.split()[2].split(".")[0])


class Server:
    """With standby_of: a standby of that server, on a copy of its data."""

    def __init__(self, standby_of=None, **settings):
        self.bin = binaries()
        assert self.bin, "no PostgreSQL server is installed (package postgresql)"
        self.dir = Path(tempfile.mkdtemp(prefix="belfry-pg-"))
        self.port = 5432
        self.settings = {**SETTINGS, **settings}
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.dir, user.pw_uid, user.pw_gid)
        if standby_of:
            self.copy(standby_of)
        else:
            self.run("initdb", "-D", self.dir / "data", "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8",
                     "--locale=C.UTF-8")
        self.start()
        self.major = major()

    def copy(self, primary):
        """pg_basebackup is not of every version: the primary stands still meanwhile."""
        mine = self.dir.name.replace("-", "_").lower()
        primary.sql(f"SELECT pg_create_physical_replication_slot('{mine}', true)")
        primary.stop()
        subprocess.run(["cp", "-a", primary.dir / "data", self.dir / "data"], check=True)
        primary.start()
        for slot in (self.dir / "data/pg_replslot").iterdir():  # a base backup has none
            shutil.rmtree(slot)
        signal = self.dir / "data/standby.signal"
        signal.touch()
        if os.geteuid() == 0:
            shutil.chown(signal, "postgres", "postgres")
        self.settings |= {"primary_conninfo": primary.conninfo(), "primary_slot_name": mine, "hot_standby_feedback": "on"}

    def run(self, program, *arguments, check=True):
        as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        # The server keeps descriptors 1 and 2: a pipe here would never end.
        with open(self.dir / "pg_ctl.log", "ab") as log:
            return subprocess.run([*as_user, self.bin / program, *map(str, arguments)], stdin=subprocess.DEVNULL,
                                  stdout=log, stderr=log, cwd="/", check=check)

    def start(self):
        options = " ".join(f'-c "{k}={v}"' for k, v in self.settings.items())
        self.run("pg_ctl", "-D", self.dir / "data", "-w", "-t", "120", "-l", self.dir / "log", "-o",
                 f"-p {self.port} -k {self.dir} {options}", "start")

    def stop(self, mode="fast"):
        """Returns how many seconds it took."""
        begun = time.monotonic()
        self.run("pg_ctl", "-D", self.dir / "data", "-w", "-t", "120", "-m", mode, "stop", check=False)
        return time.monotonic() - begun

    def become_standby(self):
        """The same data, from now on read as a standby that has no primary; pg_promote() ends that."""
        signal = self.dir / "data" / "standby.signal"
        signal.touch()
        if os.geteuid() == 0:
            shutil.chown(signal, "postgres", "postgres")
        self.stop()
        self.start()

    def remove(self):
        self.stop("immediate")
        shutil.rmtree(self.dir, ignore_errors=True)

    def conninfo(self, user="postgres", database="postgres"):
        return f"host={self.dir} port={self.port} user={user} dbname={database}"

    def sql(self, command, user="postgres", database="postgres", options=OPTIONS, check=True):
        """Runs a script, stopping at its first error; returns the rows as lists of texts."""
        r = subprocess.run(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-F", "\t", self.conninfo(user, database)],
                           input=command, capture_output=True, text=True, env={**os.environ, "PGOPTIONS": options})
        assert r.returncode == 0 or not check, r.stderr
        return [line.split("\t") for line in r.stdout.splitlines()]
