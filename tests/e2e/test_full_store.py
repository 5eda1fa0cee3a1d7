# SPDX-License-Identifier: MIT
"""A store without room, through the daemon: what does not fit is dropped as a whole and comes again from
its source, ends of deliveries always go through, and when there is room nothing is missing. A full
disk does not reach the store, a broken one ends the process and loses nothing."""
import errno
import fcntl
import os
import signal
import struct
import subprocess
import time

import pytest

from harness import wait_for


def config(watched, url, size, literal, sink=""):
    return f'''store = {{ size = "{size}"; }};
sources = {{ files = {{ module = "inotify"; paths = [ "{watched}" ]; }}; }};
sinks = {{ ops = {{ module = "http"; url = "{url}"; {sink} }}; }};
rules = ( {{ name = "all"; from = [ "files" ]; to = [ "ops" ]; when = "type == 'file.created'";
            body = {{ name = "${{data.name}}"; padding = "{'x' * literal}"; }}; }} );
'''


def repeats(receiver, names):
    """How many, after a look that every file arrived and repeats have the same id and bytes."""
    bodies, ids = {}, {}
    for r in receiver.all():
        bodies.setdefault(r.id, set()).add(r.body)
        ids.setdefault(r.event["name"], set()).add(r.id)
    assert set(ids) == set(names)
    assert all(len(b) == 1 for b in bodies.values()) and all(len(i) == 1 for i in ids.values())
    return len(receiver.all()) - len(names)


def burst(daemon, watched, names):
    """The source sees all of them at once, so that its batches are as large as they get."""
    source = daemon.children()["belfry-source-inotify"]
    os.kill(source, signal.SIGSTOP)
    for name in names:
        (watched / name).write_text("x")
    os.kill(source, signal.SIGCONT)


# The second: one batch of the usual size could never fit, whatever the room.
@pytest.mark.parametrize("size,literal,n", [("8M", 20000, 600), ("4M", 150000, 60)], ids=["many", "large"])
def test_what_does_not_fit_comes_again(daemon, receiver, watched, size, literal, n):
    daemon.write(config(watched, receiver.url, size, literal))
    daemon.start()
    receiver.stop()
    pid = daemon.process.pid
    names = [f"f{i:04d}" for i in range(n)]
    burst(daemon, watched, names)
    wait_for(lambda: daemon.status()["store"]["refused"] > 0, "a batch that does not fit", 30)
    wait_for(lambda: daemon.status()["state"] == "degraded", "word of it")
    refused = []
    receiver.answer = lambda request: refused.append(request) or 503
    receiver.start()
    wait_for(lambda: daemon.sink().get("last_status") == 503, "verdicts while it is full", 30)
    receiver.answer = lambda request: 200
    daemon.belfry("resume", "ops", check=0)
    wait_for(lambda: {r.event["name"] for r in receiver.all()} == set(names), "every file", 60)
    wait_for(lambda: daemon.sink()["depth"] == 0, "an empty queue")
    daemon.wait_state()
    assert daemon.process.pid == pid and "did not fit into the store" in daemon.text()
    assert repeats(receiver, names) == len(refused)
    (watched / "last").write_text("x")
    wait_for(lambda: any(r.event["name"] == "last" for r in receiver.all()), "life afterwards")


def test_what_does_not_fit_takes_verdicts_along_for_a_while_only(daemon, receiver, watched):
    """Enough room that batches and verdicts share a transaction, and one batch that is larger still."""
    daemon.write(config(watched, receiver.url, "40M", 100000))
    daemon.start()
    first = [f"a{i:04d}" for i in range(40)]
    names = [f"b{i:04d}" for i in range(400)]
    receiver.answer = lambda request: time.sleep(0.02) or 200
    for name in first:
        (watched / name).write_text("x")
    burst(daemon, watched, names)
    wait_for(lambda: {r.event["name"] for r in receiver.all()} == set(first + names), "every file", 60)
    wait_for(lambda: daemon.sink()["depth"] == 0 and daemon.sink()["in_flight"] == 0, "an empty queue")
    assert daemon.status()["store"]["refused"] > 0
    assert repeats(receiver, first + names) <= len(first)


class LoopDisk:
    """An ext4 of its own, so small that it can be filled, and that can be broken."""

    def __init__(self, directory, megabytes):
        self.image, self.path = directory / "disk.img", directory / "disk"
        self.path.mkdir()
        with self.image.open("wb") as f:
            f.truncate(megabytes << 20)
        subprocess.run(["mkfs.ext4", "-qF", "-m", "0", self.image], check=True)
        self.mount()

    def mount(self):
        r = subprocess.run(["mount", "-o", "loop", self.image, self.path], capture_output=True, text=True)
        if r.returncode:
            pytest.skip(f"no loop device: {r.stderr}")

    def replace(self):
        """A copy in its place: another mount namespace may keep the broken one alive."""
        subprocess.run(["umount", self.path], check=True)
        copy = self.image.with_name(self.image.name + "+")
        subprocess.run(["cp", "--sparse=always", self.image, copy], check=True)
        self.image.unlink()
        self.image = copy
        self.mount()

    def fill(self):
        with (self.path / "ballast").open("wb", buffering=0) as f:
            for size in (1 << 20, 4096, 1):
                try:
                    while f.write(b"x" * size):
                        pass
                except OSError as e:
                    assert e.errno == errno.ENOSPC

    def end(self):
        subprocess.run(["umount", self.path], capture_output=True)

    def shut_down(self):
        fd = os.open(self.path, os.O_RDONLY)
        fcntl.ioctl(fd, 0x8004587D, struct.pack("I", 2))  # what was not synced is gone
        os.close(fd)


class RamDisk(LoopDisk):
    """A tmpfs: directories take nothing of its room."""

    def __init__(self, directory, megabytes):
        self.path = directory / "disk"
        self.path.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}M", "tmpfs", self.path], check=True)


@pytest.fixture
def disk(request, tmp_path):
    d = getattr(request, "param", LoopDisk)(tmp_path, 40)
    yield d
    d.end()


def test_a_full_disk_does_not_reach_the_store(daemon, receiver, watched, disk):
    daemon.state = disk.path / "state"
    daemon.write(config(watched, receiver.url, "16M", 10))
    daemon.start()
    disk.fill()
    pid, names = daemon.process.pid, [f"f{i:04d}" for i in range(1000)]
    for name in names:
        (watched / name).write_text("x")
    receiver.wait(len(names), 60)
    wait_for(lambda: daemon.sink()["depth"] == 0, "an empty queue")
    assert daemon.process.pid == pid and daemon.status()["state"] == "running"
    assert daemon.status()["store"]["refused"] == 0 and repeats(receiver, names) == 0
    daemon.kill()
    daemon.start()
    (watched / "last").write_text("x")
    wait_for(lambda: any(r.event["name"] == "last" for r in receiver.all()), "life afterwards")
    daemon.stop()


@pytest.mark.parametrize("disk", [LoopDisk, RamDisk], indirect=True)
def test_a_disk_without_room_for_a_new_store(daemon, receiver, watched, disk):
    """A clear refusal, nothing half made in the way, and all is well once there is room."""
    daemon.state = disk.path / "state"
    daemon.write(config(watched, receiver.url, "16M", 10))
    disk.fill()
    for _ in range(2):
        daemon.start(wait=False)
        assert daemon.process.wait(20) == 1
    assert daemon.text().count("No space left on device") == 2, daemon.text()
    (disk.path / "ballast").unlink()
    daemon.start()
    (watched / "a").write_text("x")
    receiver.wait(1)
    daemon.stop()


def test_a_broken_disk_ends_the_hub_and_loses_nothing(daemon, receiver, watched, disk):
    daemon.state = disk.path / "state"
    daemon.write(config(watched, receiver.url, "16M", 10))
    daemon.start()
    names = [f"f{i:04d}" for i in range(200)]
    for name in names[:100]:
        (watched / name).write_text("x")
    receiver.wait(50, 60)
    disk.shut_down()
    for name in names[100:]:
        (watched / name).write_text("x")
    assert daemon.process.wait(20) == 1 and "the store did not take a commit" in daemon.text()
    disk.replace()
    daemon.start(wait=False)
    wait_for(lambda: {r.event["name"] for r in receiver.all()} == set(names), "every file", 60)
    wait_for(lambda: (daemon.sink() or {}).get("depth") == 0, "an empty queue")
    assert repeats(receiver, names) <= 100  # those whose end was in the last commits
    daemon.stop()
