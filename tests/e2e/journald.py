# SPDX-License-Identifier: MIT
"""A real systemd-journald of a namespace of its own, started by hand; and journals with forged entries,
written by systemd-journal-remote, which takes trusted fields and times as they are told."""
import os
import shutil
import socket
import struct
import subprocess
import time
from pathlib import Path

from harness import wait_for

JOURNALD = "/lib/systemd/systemd-journald"
REMOTE = "/lib/systemd/systemd-journal-remote"
CONF = "[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\nRuntimeMaxFileSize={size}\nRuntimeMaxUse={use}\n{extra}"


def field_bytes(name, value):
    """One field as journald's native protocol and the export format have it."""
    value = value if isinstance(value, bytes) else str(value).encode()
    if b"\n" in value or b"\0" in value or not value.isascii():
        return name.encode() + b"\n" + struct.pack("<Q", len(value)) + value + b"\n"
    return name.encode() + b"=" + value + b"\n"


def entry_bytes(fields):
    pairs = fields.items() if isinstance(fields, dict) else fields
    return b"".join(field_bytes(n, v) for n, v in pairs)


class Journald:
    def __init__(self, name, size="1M", use="64M", extra=""):
        self.name, self.process, self.sock = name, None, None
        machine = Path("/etc/machine-id").read_text().strip()
        self.directory = Path(f"/run/log/journal/{machine}.{name}")
        self.run = Path(f"/run/systemd/journal.{name}")
        self.conf = Path(f"/run/systemd/journald@{name}.conf.d")
        self.run.mkdir(parents=True)
        Path("/run/log/journal").mkdir(parents=True, exist_ok=True)
        self.conf.mkdir(parents=True)
        (self.conf / "test.conf").write_text(CONF.format(size=size, use=use, extra=extra))
        self.start()

    def start(self):
        self.process = subprocess.Popen([JOURNALD, self.name], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        wait_for(lambda: (self.run / "socket").exists() and self.connect(), "a journald")

    def connect(self):
        try:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self.sock.connect(str(self.run / "socket"))
            return True
        except OSError:
            return False

    def send(self, **fields):
        self.send_raw(entry_bytes(fields))

    def send_raw(self, data):
        """Retries while journald is down: a sender that must not lose anything."""
        end = time.monotonic() + 20
        while True:
            try:
                self.sock.send(data)
                return
            except OSError:
                assert time.monotonic() < end, "journald takes nothing"
                time.sleep(0.01)
                self.connect()

    def send_large(self, data):
        """A datagram too large for a socket goes as a sealed memfd."""
        fd = os.memfd_create("entry", os.MFD_ALLOW_SEALING)
        os.write(fd, data)
        import fcntl
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL)
        socket.send_fds(self.sock, [b""], [fd])
        os.close(fd)

    def ctl(self, *arguments):
        r = subprocess.run(["journalctl", f"--namespace={self.name}", *arguments], capture_output=True, text=True)
        assert r.returncode == 0, r.stderr
        return r.stdout

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        self.kill()
        self.sock.close()
        for d in (self.directory, self.run, self.conf):
            shutil.rmtree(d, ignore_errors=True)


def forge(path, entries):
    """A journal file with these entries: dicts, or lists of pairs for repeated fields."""
    stamp = 1700000000000000
    out = []
    for i, fields in enumerate(entries):
        when = dict(fields).get("__REALTIME_TIMESTAMP", stamp + i * 1000)
        head = {"__REALTIME_TIMESTAMP": when, "__MONOTONIC_TIMESTAMP": when - stamp + 1000000, "_BOOT_ID": "1" * 32}
        names = {n for n, _ in (fields.items() if isinstance(fields, dict) else fields)}
        out.append(entry_bytes({n: v for n, v in head.items() if n not in names}) + entry_bytes(fields) + b"\n")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    r = subprocess.run([REMOTE, "-o", path, "-"], input=b"".join(out), capture_output=True)
    assert r.returncode == 0, r.stderr


def journalctl_json(directory, *arguments):
    r = subprocess.run(["journalctl", "-D", directory, "-o", "json", "--all", "-q", *arguments], capture_output=True, text=True)
    import json
    return [json.loads(line) for line in r.stdout.splitlines()]


def objects(path, kind):
    """Offsets of the objects of this type (1 data, 3 entry) in a journal file."""
    raw = Path(path).read_bytes()
    at, end = (struct.unpack_from("<Q", raw, o)[0] for o in (88, 136))  # header_size, tail_object_offset
    while at <= end:
        if raw[at] == kind:
            yield at
        at += (struct.unpack_from("<Q", raw, at + 8)[0] + 7) // 8 * 8


def overwrite(path, offset, data):
    with open(path, "r+b") as f:
        f.seek(offset)
        f.write(data)
