# SPDX-License-Identifier: MIT
"""The hub's side of the link, for tests of one sink process alone.

Speaks src/link/link.h and src/link/message.h over a socketpair to a real sink program. It keeps no
queue and judges nothing: a test sends attempts and reads the verdicts.
"""

import ctypes
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

HELLO, START, READY, STOP, LOG, STATS, FAILED = range(1, 8)
ENDPOINT, FORGET, ATTEMPT, CANCEL = range(64, 68)
VERDICT, UNSENT, ENDPOINT_STATE = range(80, 83)

CLASSES = ["delivered", "network", "timeout", "tls", "server", "throttled", "protocol", "client",
           "rejected", "redirect", "gone", "forbidden", "endpoint"]
FORMATS = ["cloudevents", "cloudevents-binary", "data", "rendered"]

DEFAULT_READ = ["/etc/ssl", "/usr/lib/ssl", "/usr/share/ca-certificates", "/etc/resolv.conf",
                "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf", "/etc/services",
                "/lib", "/usr/lib", "/lib64", "/usr/lib64", "/etc/ld.so.cache", "/proc/self"]


def pack_bytes(b):
    if isinstance(b, str):
        b = b.encode()
    return struct.pack("<I", len(b)) + b


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def unpack(self, form):
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return values if len(values) > 1 else values[0]

    def bytes(self):
        n = self.unpack("I")
        assert self.at + n <= len(self.data)
        self.at += n
        return self.data[self.at - n:self.at]


class Verdict:
    def __init__(self, payload):
        r = Reader(payload)
        self.ticket, cls, self.status, self.retry_after_usec = r.unpack("QBHQ")
        self.total_usec, self.connect_usec, self.first_byte_usec = r.unpack("QQQ")
        self.cls = CLASSES[cls]
        self.detail = r.bytes().decode()
        self.trace = r.bytes().decode(errors="replace")
        assert r.at == len(payload)
        self.at = time.monotonic()

    def __repr__(self):
        return f"<{self.ticket} {self.cls} {self.status} {self.detail!r}>"


def cage_list(paths):
    fd = os.memfd_create("cage", os.MFD_ALLOW_SEALING)
    for p in paths:
        os.write(fd, f"r {p}".encode() + b"\0")
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW |
                fcntl.F_SEAL_WRITE)
    return fd


def bind_over(path, target):
    """In a mount namespace of this process's own, `target` shows `path`."""
    libc = ctypes.CDLL(None, use_errno=True)
    private, bind = 0x44000, 0x1000  # MS_REC | MS_PRIVATE, MS_BIND
    if libc.unshare(0x20000) or libc.mount(b"none", b"/", None, private, None) or \
            libc.mount(os.fsencode(path), os.fsencode(os.path.realpath(target)), None, bind, None):
        os._exit(99)


class FakeHub:
    """One sink process and the link to it."""

    def __init__(self, program, slots=64, credentials_dir="", read=(), resolv_conf=None, variables=None):
        version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
        self.build = re.search(r"build (\S+?)\)", version.stdout).group(1)
        self.sock, child = socket.socketpair()
        self.stderr = tempfile.TemporaryFile()
        self.verdicts, self.unsent, self.states, self.logs, self.stats = {}, set(), [], [], {}
        self.ready, self.failed, self.closed = False, None, False
        self.buffer, self.next_ticket = b"", 1
        cage = cage_list([*DEFAULT_READ, *read, *([credentials_dir] if credentials_dir else [])])
        family = os.open(os.path.join(tempfile.mkdtemp(), "family.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        fds = (child.fileno(), cage, family)

        def arrange():
            high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 100) for fd in fds]
            for i, fd in enumerate(high):
                os.dup2(fd, 3 + i, inheritable=True)
            if resolv_conf:
                bind_over(resolv_conf, "/etc/resolv.conf")

        environment = {k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")} | (variables or {})
        self.process = subprocess.Popen(["belfry-sink-http", "1"], executable=program, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=self.stderr, env=environment,
                                        preexec_fn=arrange, pass_fds=(3, 4, 5))
        child.close()
        os.close(cage)
        os.close(family)
        self.send(HELLO, struct.pack("<I", 2) + pack_bytes(self.build) + pack_bytes(""))
        self.send(START, struct.pack("<QQ", slots, 1 << 20) + pack_bytes("{}") + b"\0" + pack_bytes("") +
                  pack_bytes(credentials_dir) + pack_bytes("host") + b"\0")
        self.wait(lambda: self.ready, 20)

    def __enter__(self):
        return self

    def __exit__(self, kind, *rest):
        try:
            self.stop()
        finally:
            if self.process.poll() is None:
                os.kill(self.process.pid, signal.SIGKILL)
                self.process.wait()
            self.sock.close()
        if kind is None:
            assert self.process.returncode == 0, self.errors()
            assert "Sanitizer" not in self.errors(), self.errors()

    def errors(self):
        self.stderr.seek(0)
        return self.stderr.read().decode(errors="replace")

    def stop(self):
        if not self.closed:
            self.send(STOP, b"")
            self.wait(lambda: self.closed, 20)
        self.process.wait(20)

    def frame(self, kind, payload):
        return struct.pack("<IHH", len(payload), kind, 0) + payload

    def send(self, kind, payload):
        self.sock.sendall(self.frame(kind, payload))

    def endpoint(self, number, options, generation=1, name=None):
        self.send(ENDPOINT, struct.pack("<II", number, generation) + pack_bytes(name or f"sink-{number}") +
                  pack_bytes(json.dumps(options)))
        self.wait(lambda: any(s[:2] == (number, generation) for s in self.states), 10)
        return [s for s in self.states if s[:2] == (number, generation)][-1][2]

    def forget(self, number):
        self.send(FORGET, struct.pack("<I", number))

    def attempt(self, endpoint, body=b"{}", id="0123456789abcdef0123456789abcdef", method="POST", format="cloudevents",
                headers=(), trace=False, generation=1):
        ticket = self.next_ticket
        self.next_ticket += 1
        lines = b"".join(pack_bytes(n) + pack_bytes(v) for n, v in headers)
        self.send(ATTEMPT, struct.pack("<QIIBB", ticket, endpoint, generation, FORMATS.index(format), trace) +
                  pack_bytes(method) + pack_bytes(id) + pack_bytes(lines) + pack_bytes(body))
        return ticket

    def cancel(self, ticket):
        self.send(CANCEL, struct.pack("<Q", ticket))

    def take(self, kind, payload):
        r = Reader(payload)
        if kind == VERDICT:
            v = Verdict(payload)
            assert v.ticket not in self.verdicts and v.ticket not in self.unsent
            self.verdicts[v.ticket] = v
        elif kind == UNSENT:
            ticket = r.unpack("Q")
            assert ticket not in self.verdicts and ticket not in self.unsent
            self.unsent.add(ticket)
        elif kind == ENDPOINT_STATE:
            self.states.append((*r.unpack("II"), r.bytes().decode()))
        elif kind == READY:
            self.ready = True
        elif kind == STATS:
            self.stats = json.loads(r.bytes())
        elif kind == LOG:
            r.unpack("B")
            r.bytes(), r.bytes()
            self.logs.append(r.bytes().decode())
        elif kind == FAILED:
            self.failed = payload[5:].decode()

    def pump(self, timeout):
        if not select.select([self.sock], [], [], timeout)[0]:
            return
        data = self.sock.recv(1 << 20)
        self.closed |= not data
        self.buffer += data
        at = 0
        while len(self.buffer) - at >= 8:
            n, kind, zero = struct.unpack_from("<IHH", self.buffer, at)
            if len(self.buffer) - at < 8 + n:
                break
            assert zero == 0
            self.take(kind, self.buffer[at + 8:at + 8 + n])
            at += 8 + n
        self.buffer = self.buffer[at:]

    def wait(self, condition, timeout):
        end = time.monotonic() + timeout
        while not condition():
            left = end - time.monotonic()
            assert left > 0, f"nothing came within {timeout} s; stderr: {self.errors()}"
            assert not self.closed, f"the sink went away: {self.failed} {self.errors()}"
            self.pump(left)

    def verdict(self, ticket, timeout=20):
        self.wait(lambda: ticket in self.verdicts, timeout)
        return self.verdicts[ticket]

    def post(self, endpoint, *args, timeout=20, **kw):
        return self.verdict(self.attempt(endpoint, *args, **kw), timeout)
