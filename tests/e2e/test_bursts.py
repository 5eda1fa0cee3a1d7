# SPDX-License-Identifier: MIT
"""Large numbers through the whole daemon, from the file to the webhook, on a build without sanitizers:
each file once, whatever the kernel's queue loses. The receiver is `belfry listen`, whose lines are the
record of what arrived."""
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from harness import BUILD, Daemon, wait_for

pytestmark = pytest.mark.bursts

CONFIG = '''store = {{ size = "512M"; }};
sources = {{ files = {{ module = "inotify"; paths = [ "{watched}" ]; }}; }};
sinks = {{ ops = {{ module = "http"; url = "{url}"; in_flight = 64; }}; }};
rules = ( {{ name = "all"; from = [ "files" ]; to = [ "ops" ]; {rule} }} );
'''


class Listener:
    """`belfry listen` as a receiver that keeps up. Its port can be closed and opened again."""

    def __init__(self, directory):
        self.out = directory / "hooks"
        self.port, self.process = 0, None
        self.start()

    def start(self):
        before = self.out.stat().st_size if self.out.exists() else 0
        self.process = subprocess.Popen([BUILD / "belfry", "listen", "--port", str(self.port)], stdout=self.out.open("a"),
                                        stderr=subprocess.DEVNULL)

        def port():
            with self.out.open() as f:
                f.seek(before)
                said = f.read(4096)
            return said.split("http://127.0.0.1:")[1].split("/")[0] if "\n" in said else None
        self.port = int(wait_for(port, "a receiver"))

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(10)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/hook"

    def told(self):
        """(type, path) of all that came, and how many ids came more than once."""
        told, ids = [], Counter()
        for line in self.out.read_text().splitlines():
            words = line.split("  ")
            if len(words) > 3 and words[1].startswith(("file.", "dir.", "source.")):
                told.append((words[1], words[2].split(" <- ")[0]))
                ids[words[3]] += 1
        return told, [i for i, n in ids.items() if n > 1]


@pytest.fixture
def listener(tmp_path):
    one = Listener(tmp_path)
    yield one
    one.stop()


def settled(daemon, n, seconds=120):
    """Until n are delivered and nothing is left."""
    def there():
        s = daemon.sink()
        return s and s["delivered"] >= n and s["depth"] == 0 and s["in_flight"] == 0
    wait_for(there, f"{n} delivered ({(daemon.sink() or {}).get('delivered')})", seconds)


def created(listener, watched):
    told, twice = listener.told()
    assert not twice, twice[:5]
    assert {t for t, _ in told} == {"file.created"}
    return Counter(os.path.relpath(p, watched) for _, p in told)


def configure(daemon, watched, listener, rule=""):
    daemon.write(CONFIG.format(watched=watched, url=listener.url, rule=rule))
    daemon.start()


WRITER = """
import os, sys
where, n = sys.argv[1], int(sys.argv[2])
for i in range(n):
    f = os.open(f'{where}/f{i}', os.O_CREAT | os.O_WRONLY)
    os.write(f, b'x')
    os.close(f)
"""


def write(where, n):
    subprocess.run([sys.executable, "-c", WRITER, str(where), str(n)], check=True)


def test_new_directories(daemon, listener, watched):
    configure(daemon, watched, listener, rule="when = \"type startswith 'file.'\";")
    script = f"cd {watched}; i=0; while [ $i -lt 2000 ]; do mkdir -p t$i/b/c; : >t$i/b/c/file; i=$((i+1)); done"
    subprocess.run(["sh", "-c", script], check=True)
    settled(daemon, 2000)
    assert created(listener, watched) == Counter(f"t{i}/b/c/file" for i in range(2000))


def test_burst(daemon, listener, watched):
    """200,000 files as fast as they can be made; the kernel's queue holds 16,384 events."""
    configure(daemon, watched, listener)
    began = time.monotonic()
    write(watched, 200000)
    wrote = time.monotonic() - began
    settled(daemon, 200000)
    print(f"200000 files written in {wrote:.1f} s, delivered after {time.monotonic() - began:.1f} s",
          daemon.status()["sources"][0]["watches"])
    assert created(listener, watched) == Counter(f"f{i}" for i in range(200000))


def test_written_while_the_source_is_stopped(daemon, listener, watched):
    configure(daemon, watched, listener)
    source = daemon.children()["belfry-source-inotify"]
    os.kill(source, signal.SIGSTOP)
    write(watched, 50000)
    os.kill(source, signal.SIGCONT)
    settled(daemon, 50000)
    assert created(listener, watched) == Counter(f"f{i}" for i in range(50000))
    assert daemon.status()["sources"][0]["watches"]["overflows"] > 0


def test_renamed_tree(daemon, listener, watched):
    for i in range(100):
        for j in range(99):
            (watched / f"top/{i}/{j}").mkdir(parents=True)
    configure(daemon, watched, listener)
    (watched / "top").rename(watched / "other")
    for i in range(0, 100, 5):
        (watched / f"other/{i}/{i % 99}/late").write_text("x")
    settled(daemon, 21)
    told, twice = listener.told()
    assert not twice
    assert Counter(told) == Counter([("dir.moved", f"{watched}/other")] +
                                    [("file.created", f"{watched}/other/{i}/{i % 99}/late") for i in range(0, 100, 5)])
