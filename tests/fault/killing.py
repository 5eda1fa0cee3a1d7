# SPDX-License-Identifier: MIT
"""What the kill tests share: the book of what came, and kill -9 of the hub, a source or the sinks such
that the book can tell before from after."""
import json
import os
import signal
import threading
import zlib
from pathlib import Path

from harness import wait_for
from oracle import ENDED, faults

SINK = "belfry-sink-http"
# What an event is about, by its type; the tests make each of these once.
ABOUT = {
    "file.created": lambda d: d["name"],
    "line.appended": lambda d: d["line"],
    "journal.entry": lambda d: d["message"],
    "row.inserted": lambda d: d["new"]["v"],
    "timer.elapsed": lambda d: d["scheduled"],
    "job.done": lambda d: d["job"],
}
IN_FLIGHT = 8
SINK_OPTIONS = (f'in_flight = {IN_FLIGHT}; '
                'retry = { schedule = [ "0s", "20ms", "50ms", "100ms", "1s", "1s", "1s", "1s" ]; };')


def what(event):
    about = ABOUT.get(event["type"])
    return f"{event['type']} {about(event['data']) if about else json.dumps(event['data'])}"


def refused_for_good(thing):
    return zlib.crc32(thing.encode()) % 40 == 0


class Writer(threading.Thread):
    """Makes things happen until told to stop: make(n) does it, once or until it is surely done, and
    answers what happened (in the words of what())."""

    def __init__(self, make, pause=0.002):
        super().__init__(daemon=True)
        self.make, self.pause = make, pause
        self.happened, self.over, self.error = [], threading.Event(), None

    def run(self):
        try:
            while not self.over.wait(self.pause):
                self.happened += self.make(len(self.happened))
        except Exception as e:
            self.error = e

    def end(self):
        self.over.set()
        self.join()
        if self.error:
            raise self.error
        return self.happened


def files(directory):
    def make(n):
        name = f"f{n:06d}"
        (directory / name).write_text(name)
        return [f"file.created {name}"]
    return make


class Book:
    """What came, in its order, with its answer and the epoch it came in. One thing in 40 is refused for
    good, one in 20 is refused the first time."""

    def __init__(self, receiver):
        self.receiver, self.epoch, self.sent = receiver, 0, []
        self.lock, self.refused = threading.Lock(), set()
        receiver.answer = self.answer

    def answer(self, request):
        request.what = what(request.event)
        with self.lock:
            request.status = 200
            if refused_for_good(request.what):
                request.status = ENDED
            elif zlib.crc32(request.what.encode()) % 20 == 1 and request.id not in self.refused:
                self.refused.add(request.id)
                request.status = 503
            request.epoch = self.epoch
            self.sent.append(request)
        return request.status

    def next_epoch(self):
        """Once all is read that a killed process had sent."""
        wait_for(self.receiver.quiet, "the receiver to have read everything")
        with self.lock:
            self.epoch += 1

    def came(self):
        with self.lock:
            return {r.what for r in self.sent}

    def ended(self):
        with self.lock:
            return {r.what for r in self.sent if r.status != 503}


def settle(daemon, book, happened, repeats_at_most=None, seconds=90):
    """Everything arrives and the queue drains; then the oracle. Without repeats_at_most it was not told
    which process sent what, so that repeats are not counted."""
    if daemon.process.poll() is not None:
        daemon.start(wait=False)
    happened = set(happened)
    try:
        wait_for(lambda: book.ended() >= happened, "all to arrive", seconds)
    except AssertionError as e:
        raise AssertionError(f"{e}; lost: {sorted(happened - book.ended())[:20]}\n{daemon.status()}") from None
    wait_for(lambda: (s := daemon.sink()) and s["depth"] == 0 and s["in_flight"] == 0, "an empty queue", 30)
    if repeats_at_most is None:
        for n, r in enumerate(book.sent):
            r.epoch = n
        repeats_at_most = len(book.sent)
    meaning = {r.id: r.what for r in book.sent}
    dead = [meaning[d["id"]] for d in json.loads(daemon.belfry("dead", "ls", "--json", check=0).stdout)]
    assert len(set(dead)) == len(dead) and set(dead) == {w for w in happened if refused_for_good(w)}
    wrong = faults(book.sent, happened, dead, repeats_at_most)
    assert not wrong, wrong[:20]


# ---- kill -9

def modules(daemon, program=""):
    """The pids of the hub's modules, all or those of a program; a sink may have several. One that is asked
    to describe itself is none."""
    found = []
    for p in Path("/proc").iterdir():
        try:
            stat = (p / "stat").read_text() if p.name.isdigit() else ""
            if not stat or int(stat[stat.rindex(")") + 2:].split()[1]) != daemon.process.pid:
                continue
            words = (p / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if len(words) > 1 and words[0].startswith(program or "belfry-s") and not words[1].startswith("--"):
            found.append(int(p.name))
    return found


def family(daemon):
    """The pids of all that hold family.lock open: what a hub leaves behind, were it to leave anything."""
    lock, found = str(daemon.run / "family.lock"), []
    for p in Path("/proc").iterdir():
        try:
            if p.name.isdigit() and any(os.readlink(fd) == lock for fd in (p / "fd").iterdir()):
                found.append(int(p.name))
        except OSError:
            continue
    return found


def wait_gone(daemon):
    wait_for(lambda: not family(daemon), "the family to die with its hub")


def kill_hub(daemon, book):
    daemon.kill()
    wait_gone(daemon)
    book.next_epoch()


def kill_sink(daemon, book):
    """The hub stands still meanwhile, so that no new process mixes with the old ones."""
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        for pid in modules(daemon, SINK):
            os.kill(pid, signal.SIGKILL)
        book.next_epoch()
    finally:
        daemon.process.send_signal(signal.SIGCONT)


def kill_source(daemon, program):
    for pid in modules(daemon, program):
        os.kill(pid, signal.SIGKILL)
