#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What handing in an event costs, on the socket of an app source: acknowledged events a second with one
and with fifty applications, and how long an application waits for its answer (p50, p99). Each answer
stands for a commit that was synced to the disk of --dir. The sink is paused, so that nothing else is
measured. Beside it, in the same run: how many fdatasync of 4 KiB that disk does a second, since one
application that waits for each answer cannot be faster. Prints a table; judges nothing.

BELFRY_BUILD_DIR=$PWD/build-plain tests/bench/app_bench.py [--seconds N] [--dir DIR]"""
import argparse
import json
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from harness import BUILD, Daemon  # noqa: E402

CONFIG = '''store = {{ size = "2G"; }};
sources = {{ apps = {{ module = "app"; rate = 1000000; }}; }};
sinks = {{ ops = {{ module = "http"; url = "http://127.0.0.1:9/"; {share} }}; }};
rules = ( {{ name = "all"; from = [ "apps" ]; to = [ "ops" ]; }} );
'''
DATA = {"bytes": 1024, "path": "/srv/backup/2026-11-29.tar", "host": "shop1"}


def lines(name, first, n):
    return b"".join(json.dumps({"type": "backup.done", "id": f"{name}-{i}", "data": DATA}).encode() + b"\n"
                    for i in range(first, first + n))


def application(path, name, ahead, seconds, ready, queue):
    """Once all are there: hands in lines, `ahead` at a time, and waits for their answers."""
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    answers, waits, n = s.makefile("rb"), [], 0
    ready.wait()
    start = time.monotonic()
    while time.monotonic() < start + seconds:
        text = lines(name, n, ahead)
        began = time.monotonic()
        s.sendall(text)
        for _ in range(ahead):
            answer = answers.readline()
            assert b'"id"' in answer, answer
            waits.append(time.monotonic() - began)
        n += ahead
    queue.put((start, time.monotonic(), waits))


def measure(daemon, title, applications, ahead, seconds):
    queue = multiprocessing.Queue()
    path, ready = str(daemon.run / "events"), multiprocessing.Barrier(applications)
    workers = [multiprocessing.Process(target=application, args=(path, f"{title}-{i}", ahead, seconds, ready, queue))
               for i in range(applications)]
    for w in workers:
        w.start()
    told = [queue.get() for _ in workers]
    for w in workers:
        w.join()
    took = max(end for _, end, _ in told) - min(start for start, _, _ in told)
    waits = sorted(w for _, _, waits in told for w in waits)
    p99 = waits[int(len(waits) * 0.99)]
    print(f"{title:44} {len(waits) / took:9.0f} /s  p50 {statistics.median(waits) * 1e3:7.2f} ms  p99 {p99 * 1e3:7.2f} ms")


def emit_pipe(daemon, n):
    text = b"".join(json.dumps(DATA).encode() + b"\n" for _ in range(n))
    began = time.monotonic()
    subprocess.run([BUILD / "belfry", "--runtime-dir", daemon.run, "emit", "backup.done", "-"], input=text,
                   stdout=subprocess.DEVNULL, check=True)
    print(f"{'belfry emit TYPE -, ' + str(n) + ' lines':44} {n / (time.monotonic() - began):9.0f} /s")


def syncs(directory, seconds=1):
    with tempfile.NamedTemporaryFile(dir=directory) as f:
        n, began = 0, time.monotonic()
        while time.monotonic() - began < seconds:
            os.pwrite(f.fileno(), b"x" * 4096, 0)
            os.fdatasync(f.fileno())
            n += 1
        print(f"{'fdatasync of 4 KiB on the same disk':44} {n / (time.monotonic() - began):9.0f} /s")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement (5)")
    parser.add_argument("--dir", default="/var/tmp", help="where the store is (/var/tmp)")
    a = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=a.dir) as top:
        daemon = Daemon(Path(top) / "belfry")
        daemon.write(CONFIG.format(share='queue = { size = "1000M"; };'))
        daemon.start()
        try:
            daemon.belfry("pause", "ops", check=0)
            syncs(top)
            measure(daemon, "1 application, waits for each answer", 1, 1, a.seconds)
            measure(daemon, "1 application, 256 lines ahead", 1, 256, a.seconds)
            measure(daemon, "50 applications, each waits for each answer", 50, 1, a.seconds)
            measure(daemon, "50 applications, 64 lines ahead", 50, 64, a.seconds)
            emit_pipe(daemon, 20000)
            syncs(top)
        finally:
            daemon.stop()


if __name__ == "__main__":
    main()
