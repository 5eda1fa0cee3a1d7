#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Measures in one run: CPU of the whole family for each delivery against a bare libcurl multi client
posting bodies of the same size to the same receiver, events a second, memory, idle CPU, and the time
from a file's close to its request. Prints ratios and writes bench.json. Not a pass/fail test.

Usage: BELFRY_BUILD_DIR=build-plain tests/bench/bench.py [EVENTS]"""
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from harness import BUILD, Daemon, Receiver, simple_config, wait_for  # noqa: E402

EVENTS = int(sys.argv[1]) if len(sys.argv) > 1 else 20000
TICK = os.sysconf("SC_CLK_TCK")


def cpu_of(pids):
    total = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        except OSError:
            pass
    return total / TICK


def memory_of(pids):
    total = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += sum(int(m) for m in re.findall(r"^Pss_(?:Anon|Shmem):\s+(\d+)", text, re.M))
        except OSError:
            pass
    return total


def family(daemon):
    return [daemon.process.pid, *daemon.children().values()]


def throughput(directory):
    receiver = subprocess.Popen([BUILD / "tests/bench/bench-receiver"], stdout=subprocess.PIPE, text=True)
    port = int(re.search(r"(\d+)\D*$", receiver.stdout.readline()).group(1))
    url = f"http://127.0.0.1:{port}/"
    daemon, watched = Daemon(directory / "t"), directory / "watched"
    watched.mkdir()
    daemon.write(simple_config(watched, url, sink="in_flight = 64;").replace('"64M"', '"256M"'))
    daemon.start()
    idle_before, at = cpu_of(family(daemon)), time.monotonic()
    time.sleep(3)  # the measured span of idleness itself
    idle = (cpu_of(family(daemon)) - idle_before) / (time.monotonic() - at)
    before, start = cpu_of(family(daemon)), time.monotonic()
    for i in range(EVENTS):
        os.close(os.open(watched / f"f{i}", os.O_CREAT | os.O_WRONLY))
    wait_for(lambda: (daemon.sink() or {}).get("delivered", 0) >= EVENTS, "all delivered", 300)
    took, used = time.monotonic() - start, cpu_of(family(daemon)) - before
    memory = memory_of(family(daemon))
    daemon.stop()
    r0 = resource.getrusage(resource.RUSAGE_CHILDREN)
    bare = subprocess.run([BUILD / "tests/bench/bench-bare-client", url, str(EVENTS)], capture_output=True, text=True)
    r1 = resource.getrusage(resource.RUSAGE_CHILDREN)
    bare_cpu = r1.ru_utime + r1.ru_stime - r0.ru_utime - r0.ru_stime
    receiver.kill()
    receiver.wait()
    return {"events": EVENTS, "events_per_second": EVENTS / took, "cpu_us_per_event": used / EVENTS * 1e6,
            "bare_cpu_us_per_event": bare_cpu / EVENTS * 1e6 if bare.returncode == 0 else None,
            "ratio": used / bare_cpu if bare.returncode == 0 and bare_cpu else None,
            "memory_kib": memory, "idle_cpu_percent": idle * 100}


def latency(directory, n=300):
    receiver = Receiver()
    arrived = {}
    def answer(request):
        arrived[request.event["data"]["name"]] = time.monotonic()
        return 200
    receiver.answer = answer
    daemon, watched = Daemon(directory / "l"), directory / "watched-l"
    watched.mkdir()
    daemon.write(simple_config(watched, receiver.url))
    daemon.start()
    closed = {}
    for i in range(n):
        fd = os.open(watched / f"f{i}", os.O_CREAT | os.O_WRONLY)
        os.write(fd, b"x")
        os.close(fd)
        closed[f"f{i}"] = time.monotonic()
        wait_for(lambda: f"f{i}" in arrived, "its request")
        time.sleep(0.005)  # paced, as in life
    daemon.stop()
    receiver.stop()
    times = sorted((arrived[k] - closed[k]) * 1e3 for k in closed)
    return {"latency_p50_ms": times[n // 2], "latency_p99_ms": times[int(n * 0.99)]}


def main():
    with tempfile.TemporaryDirectory(prefix="belfry-bench.") as d:
        result = {**throughput(Path(d)), **latency(Path(d))}
    for name, value in result.items():
        print(f"{name:24} {value:.2f}" if isinstance(value, float) else f"{name:24} {value}")
    Path("bench.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
