# SPDX-License-Identifier: MIT
"""The hub's side of the link, for tests of one source process alone.

Speaks src/link/message.h over a socketpair to a real source program. It keeps position, state and
events in memory, each batch at once or not at all. With `durable` off batches are held back as a
crash of the hub would lose them: crash() drops them, kills the source, and start() begins again
from what was durable.
"""

import fcntl
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import tempfile
import time
from pathlib import Path

from fake_hub import Reader, cage_list, pack_bytes
from schemas import check_data

HELLO, START, READY, STOP, LOG, STATS, FAILED = range(1, 8)
STATE, DURABLE, PAUSE, RESUME = range(32, 36)
EVENTS, STATE_GET, DEGRADED = range(48, 51)

CREDIT = 4 << 20
DEFAULTS = {"recursive": True, "max_depth": 0, "one_filesystem": False, "settle": "close",
            "initial": "ignore", "hash": "none", "follow_symlinks": False, "poll": 10_000_000}


class Event:
    def __init__(self, reader):
        self.time = reader.unpack("Q")
        self.type, self.subject, self.key, self.id, data = (reader.bytes() for _ in range(5))
        self.type = self.type.decode()
        self.data = json.loads(data)
        self.received = time.time()

    @property
    def path(self):
        return self.data.get("path", self.subject.decode(errors="replace"))

    def __repr__(self):
        return f"{self.type} {self.data.get('old_path', '')}>{self.path}"


class Batch:
    def __init__(self, payload):
        r = Reader(payload)
        self.number, has_position = r.unpack("QB")
        position = r.bytes()
        self.position = position if has_position else None
        self.events = [Event(r) for _ in range(r.unpack("I"))]
        self.changes = []
        for _ in range(r.unpack("I")):
            put = r.unpack("B")
            key, value = r.bytes(), r.bytes()
            self.changes.append((key, value if put else None))
        assert r.at == len(payload)
        self.bytes = len(payload)


class SourceHub:
    def __init__(self, program, options, name="files", read=("/",), user=None, wrapper=(), defaults=DEFAULTS, host="host"):
        self.program, self.name, self.read, self.user, self.wrapper = program, name, read, user, list(wrapper)
        version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
        self.host = host
        self.build = re.search(r"build (\S+?)\)", version.stdout).group(1)
        self.options = {**defaults, **options}
        self.position, self.state, self.events = None, {}, []
        self.changes = 0        # state rows changed, durable
        self.durable = True
        self.held = []          # batches not durable yet
        self.logs, self.stats, self.degraded = [], {}, ""
        self.process = self.sock = None
        self.stderr = tempfile.TemporaryFile()

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *rest):
        if self.process and self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGCONT)
            if kind is None:
                self.stop()
            else:
                self.kill()
        if kind is None:
            assert "Sanitizer" not in self.errors(), self.errors()
            for e in self.events[:2000]:
                check_data(e.type, e.data)

    def errors(self):
        self.stderr.seek(0)
        return self.stderr.read().decode(errors="replace")

    def start(self, wait=True, **options):
        self.options.update(options)
        self.sock, child = socket.socketpair()
        self.sock.setblocking(False)
        self.ready = self.closed = self.paused = False
        self.failed, self.degraded, self.buffer, self.out, self.held = None, "", b"", b"", []
        cage = cage_list([*self.read, "/proc/self"])
        family = os.open(os.path.join(tempfile.mkdtemp(), "family.lock"), os.O_RDWR | os.O_CREAT, 0o666)
        fds = (child.fileno(), cage, family)

        def arrange():
            high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 100) for fd in fds]
            for i, fd in enumerate(high):
                os.dup2(fd, 3 + i, inheritable=True)
            for fd in high:
                os.close(fd)

        environment = {k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")}
        command = [*self.wrapper, self.program, self.name] if self.wrapper else [Path(self.program).name, self.name]
        self.process = subprocess.Popen(command, executable=None if self.wrapper else self.program,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.stderr,
                                        env=environment, preexec_fn=arrange, pass_fds=(3, 4, 5), user=self.user)
        child.close()
        os.close(cage)
        os.close(family)
        self.send(HELLO, struct.pack("<I", 2) + pack_bytes(self.build) + pack_bytes(""))
        values = {k: v for k, v in self.options.items() if v is not None}
        self.send(START, struct.pack("<QQ", CREDIT, 1 << 20) + pack_bytes(json.dumps(values)) +
                  struct.pack("<B", self.position is not None) + pack_bytes(self.position or b"") +
                  pack_bytes("") + pack_bytes(self.host) + b"\0")
        if wait:
            self.wait(lambda: self.ready, 60)
        return self

    def send(self, kind, payload=b""):
        self.out += struct.pack("<IHH", len(payload), kind, 0) + payload
        self.flush()

    def flush(self):
        while self.out:
            try:
                self.out = self.out[self.sock.send(self.out):]
            except BlockingIOError:
                return
            except OSError:
                self.out = b""
                self.closed = True

    def commit(self, batch):
        for key, value in batch.changes:
            if value is None:
                self.state.pop(key, None)
            else:
                self.state[key] = value
        self.changes += len(batch.changes)
        if batch.position is not None:
            self.position = batch.position
        self.events += batch.events

    def make_durable(self, upto=None):
        done, self.held = self.held[:upto], self.held[upto:] if upto is not None else []
        for batch in done:
            self.commit(batch)
        if done:
            self.send(DURABLE, struct.pack("<Q", done[-1].number))

    def frame(self, kind, payload):
        if kind == EVENTS:
            self.held.append(Batch(payload))
            outstanding = sum(b.bytes for b in self.held)
            assert outstanding <= CREDIT + (1 << 20) or len(self.held) == 1, "over its credit"
        elif kind == STATE_GET:
            r = Reader(payload)
            start, size = r.bytes(), r.unpack("I")
            rows, total, more = b"", 0, 0
            for key in sorted(k for k in self.state if k > start):
                row = pack_bytes(key) + pack_bytes(self.state[key])
                if rows and len(rows) + len(row) > size:
                    more = 1
                    break
                rows += row
            self.send(STATE, struct.pack("<B", more) + rows)
        elif kind == READY:
            self.ready = True
        elif kind == LOG:
            r = Reader(payload)
            level, _, _, text = r.unpack("B"), r.bytes(), r.bytes(), r.bytes().decode(errors="replace")
            self.logs.append((level, text))
        elif kind == STATS:
            self.stats = json.loads(Reader(payload).bytes())
        elif kind == DEGRADED:
            self.degraded = Reader(payload).bytes().decode(errors="replace")
        elif kind == FAILED:
            r = Reader(payload)
            r.unpack("B")
            self.failed = r.bytes().decode(errors="replace")
        else:
            assert kind == HELLO, kind

    def pump(self, timeout=0.05):
        """Reads what is there; waits at most timeout for something."""
        self.flush()
        if not select.select([self.sock], [], [], timeout)[0]:
            return False
        try:
            data = self.sock.recv(1 << 20)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            data = b""
        if not data:
            self.closed = True
            return False
        self.buffer += data
        at = 0
        while len(self.buffer) - at >= 8:
            n, kind, _ = struct.unpack_from("<IHH", self.buffer, at)
            if len(self.buffer) - at - 8 < n:
                break
            payload = self.buffer[at + 8:at + 8 + n]
            at += 8 + n
            self.frame(kind, payload)
        self.buffer = self.buffer[at:]
        if self.durable:
            self.make_durable()
        return True

    def wait(self, condition, timeout=20):
        end = time.monotonic() + timeout
        while not condition():
            assert self.failed is None, self.failed
            assert not self.closed, f"the source went away: {self.errors()}"
            assert time.monotonic() < end, f"timed out; {len(self.events)} events, last {self.events[-5:]}, " \
                                           f"stats {self.stats}, degraded {self.degraded!r}"
            self.pump()

    def wait_events(self, n, timeout=20):
        self.wait(lambda: len(self.events) >= n, timeout)

    def quiet(self, path):
        """Until all that happened before is told: a marker file in a watched directory came through
        (it and its deletion are taken out of the events again)."""
        marker = os.path.join(path, f".marker-{time.monotonic_ns()}")
        with open(marker, "w"):
            pass
        mine = lambda e: e.path == marker
        self.wait(lambda: any(mine(e) for e in self.events), 60)
        os.unlink(marker)
        self.wait(lambda: any(mine(e) and e.type == "file.deleted" for e in self.events), 60)
        self.events = [e for e in self.events if not mine(e)]

    def watches(self):
        """Inode numbers of the watches that the kernel holds for the process."""
        found, fds = set(), f"/proc/{self.process.pid}/fd"
        for fd in os.listdir(fds):
            try:
                if os.readlink(f"{fds}/{fd}") != "anon_inode:inotify":
                    continue
            except FileNotFoundError:  # closed since the listing
                continue
            else:
                info = Path(f"/proc/{self.process.pid}/fdinfo/{fd}").read_text()
                found |= {int(ino, 16) for ino in re.findall(r"^inotify wd:\S+ ino:(\S+)", info, re.M)}
        return found

    def blind(self, top):
        """Directories from top downwards that have no watch."""
        watched = self.watches()
        return [d for d, _, _ in os.walk(top) if os.stat(d).st_ino not in watched]

    def wait_blind(self, top):
        """Until each directory has its watch."""
        end = time.monotonic() + 20
        while blind := self.blind(top):
            assert time.monotonic() < end, f"no watch: {blind}, stats {self.stats}, degraded {self.degraded!r}"
            self.pump()

    def told(self):
        return sorted((e.type, os.path.basename(e.path)) for e in self.events)

    def kill(self):
        """SIGKILL; what was not durable is lost, as when the hub dies with it."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.sock.close()
        self.held = []

    def stop(self):
        self.durable = True
        self.make_durable()
        self.send(STOP)
        end = time.monotonic() + 20
        while not self.closed and time.monotonic() < end:
            self.pump()
        self.process.wait(20)
        self.sock.close()
        assert self.process.returncode == 0, self.errors()
