#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What a delivery costs, measured in one run: CPU of the whole family for each unbatched delivery, by
process, against a bare libcurl multi client that posts the same body to the same receiver; events a
second; memory; idle CPU; the time from a file's close to its request. Prints ratios and writes JSON.
It is no pass/fail test. HACKING.md says how to read it.

For CPU the receiver has the last processor to itself and what is measured has the others, as if the
receiver were another host: without that the two share the work of the loopback as it happens. Each
round measures the family and then the bare client, the figure is the median of the rounds. Events a
second are measured without that division. Files are made in memory (/dev/shm), so that making them
does not wait for the disk to which the store is synced."""
import argparse
import json
import os
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from harness import BUILD, Daemon, Receiver, simple_config, wait_for  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")
CPUS = sorted(os.sched_getaffinity(0))
IN_FLIGHT = 64
AHEAD = 4000  # files made and not yet received: two kernel events each, the queue takes 16,384
BENCH = BUILD / "tests/bench"


class FastReceiver:
    """bench-receiver, on processors of its own when told so."""

    def __init__(self, cpus):
        self.process = subprocess.Popen([BENCH / "bench-receiver"], stdout=subprocess.PIPE, text=True,
                                        preexec_fn=lambda: os.sched_setaffinity(0, cpus))
        self.url = f"http://127.0.0.1:{self.process.stdout.readline().rsplit(':', 1)[1].strip()}/"

    def count(self):
        self.process.send_signal(signal.SIGUSR1)
        return int(self.process.stdout.readline().split()[0])

    def stop(self):
        self.process.terminate()
        self.process.communicate()


def family(daemon):
    """name -> pid; the small process that clones the others is called births."""
    found = {"hub": daemon.process.pid}
    for name, pid in daemon.children().items():
        short = Path(name).name
        found["births" if short.startswith("belfryd") else short.removeprefix("belfry-")] = pid
    return found


def cpu_of(pids):
    """name -> seconds of CPU so far."""
    used = {}
    for name, pid in pids.items():
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        used[name] = (int(fields[11]) + int(fields[12])) / TICK
    return used


def since(before, after, n):
    return {name: (after[name] - before[name]) / n * 1e6 for name in after}


def memory_of(pids):
    texts = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids.values()]
    return sum(int(m) for t in texts for m in re.findall(r"^Pss_(?:Anon|Shmem):\s+(\d+)", t, re.M))


def pin(pids, cpus):
    for pid in pids.values():
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), cpus)


def make(path):
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY))


class Family:
    """The daemon, watching one directory in memory, with one sink."""

    def __init__(self, directory, receiver, cpus):
        self.receiver, self.made, self.cpus = receiver, 0, cpus
        self.watched = Path(tempfile.mkdtemp(prefix="belfry-bench.", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
        self.daemon = Daemon(directory)
        self.daemon.write(simple_config(self.watched, receiver.url, sink=f"in_flight = {IN_FLIGHT};").replace('"64M"', '"256M"'))
        self.daemon.start()
        self.pids = family(self.daemon)
        pin(self.pids, cpus)
        self.base = receiver.count()

    def received(self):
        return self.receiver.count() - self.base

    def settle(self):
        wait_for(lambda: (self.daemon.sink() or {}).get("delivered") == self.made, "all verdicts committed", 120)

    def burst(self, n):
        """Seconds until all of n new files were received, and CPU by process in microseconds a delivery."""
        self.base = self.receiver.count()
        before, start = cpu_of(self.pids), time.monotonic()
        for i in range(n):
            if i % 500 == 0:
                while i - self.received() > AHEAD:
                    time.sleep(0.001)
            make(self.watched / f"f{self.made + i}")
        while self.received() < n:
            time.sleep(0.005)
        took = time.monotonic() - start
        time.sleep(0.02)  # verdicts are committed within 5 ms; asking would cost the hub CPU
        used = since(before, cpu_of(self.pids), n)
        self.made += n
        self.settle()
        return took, used

    def paced(self, rate, seconds):
        before, start, n = cpu_of(self.pids), time.monotonic(), int(rate * seconds)
        for i in range(n):
            time.sleep(max(0, start + i / rate - time.monotonic()))
            make(self.watched / f"f{self.made + i}")
        time.sleep(0.1)
        used = since(before, cpu_of(self.pids), n)
        self.made += n
        self.settle()
        return used

    def idle(self, seconds):
        before = cpu_of(self.pids)
        time.sleep(seconds)  # the measured span of idleness itself
        after = cpu_of(self.pids)
        return sum(after[n] - before[n] for n in after) / seconds * 100

    def stop(self):
        self.daemon.stop()
        shutil.rmtree(self.watched)


def bare(url, n, body, cpus, headers=()):
    """CPU microseconds a request of the bare client."""
    r0 = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([BENCH / "bench-bare-client", url, str(n), str(IN_FLIGHT), body, *headers], check=True,
                   stdout=subprocess.DEVNULL, preexec_fn=lambda: os.sched_setaffinity(0, cpus))
    r1 = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (r1.ru_utime + r1.ru_stime - r0.ru_utime - r0.ru_stime) / n * 1e6


def cpu(directory, n, rounds, body, headers):
    apart = len(CPUS) > 1
    measured, other = (CPUS[:-1], CPUS[-1:]) if apart else (CPUS, CPUS)
    receiver = FastReceiver(other)
    f = Family(directory, receiver, measured)
    idle, parts, plain, same = f.idle(3), [], [], []
    for _ in range(rounds):
        parts.append(f.burst(n)[1])
        plain.append(bare(receiver.url, n, body, measured))
        same.append(bare(receiver.url, n, body, measured, headers))
    paced, memory = f.paced(1000, 3), memory_of(f.pids)
    f.stop()
    receiver.stop()
    totals = [sum(p.values()) for p in parts]
    return {"cpu_us_per_delivery": statistics.median(totals),
            "cpu_us_per_delivery_by_process": {k: statistics.median(p[k] for p in parts) for k in parts[0]},
            "bare_us_per_request": statistics.median(plain),
            "bare_with_same_headers_us_per_request": statistics.median(same),
            "ratio": statistics.median(t / b for t, b in zip(totals, plain)),
            "ratio_with_same_headers": statistics.median(t / b for t, b in zip(totals, same)),
            "cpu_us_per_delivery_at_1000_a_second": sum(paced.values()),
            "idle_cpu_percent": idle, "memory_kib": memory}


def speed(directory, n, rounds):
    receiver = FastReceiver(CPUS)
    f = Family(directory, receiver, CPUS)
    rates = [n / f.burst(n)[0] for _ in range(rounds)]
    f.stop()
    receiver.stop()
    return {"events_per_second": statistics.median(rates), "events_per_second_best": max(rates)}


def latency(directory, n):
    """Also returns a request as it came: its body and headers are what the bare client posts."""
    receiver, arrived, closed = Receiver(), {}, {}

    def answer(request):
        arrived[request.event["data"]["name"]] = time.monotonic()
        return 200
    receiver.answer = answer
    daemon, watched = Daemon(directory), directory / "watched"
    watched.mkdir()
    daemon.write(simple_config(watched, receiver.url))
    daemon.start()
    for i in range(n):
        fd = os.open(watched / f"f{i}", os.O_CREAT | os.O_WRONLY)
        os.write(fd, b"x")
        os.close(fd)
        closed[f"f{i}"] = time.monotonic()
        while f"f{i}" not in arrived:
            time.sleep(0.0005)
        time.sleep(0.005)  # paced, as in life
    daemon.stop()
    receiver.stop()
    times = sorted((arrived[k] - closed[k]) * 1e3 for k in closed)
    return {"latency_p50_ms": times[n // 2], "latency_p99_ms": times[int(n * 0.99)]}, receiver.all()[-1]


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    p.add_argument("--events", type=int, default=20000, help="deliveries of a round")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--json", default="bench.json", help="where the figures go")
    o = p.parse_args()
    subprocess.run(["ninja", "-C", BUILD, "tests/bench/bench-receiver", "tests/bench/bench-bare-client"], check=True,
                   stdout=subprocess.DEVNULL)
    result = {"events": o.events, "rounds": o.rounds, "date": time.strftime("%F"), "processors": len(CPUS)}
    with tempfile.TemporaryDirectory(prefix="belfry-bench.") as d:
        d = Path(d)
        times, request = latency(d / "latency", 300)
        (d / "body").write_bytes(request.body)
        headers = [f"{name}: {request.headers[name]}" for name in request.headers
                   if name.startswith("webhook-") or name in ("content-type", "user-agent")]
        result |= times | cpu(d / "cpu", o.events, o.rounds, d / "body", headers) | speed(d / "speed", o.events, 3)
    for name, value in result.items():
        if isinstance(value, dict):
            for part, us in value.items():
                print(f"    {part:38} {us:.2f}")
        else:
            print(f"{name:42} {value:.2f}" if isinstance(value, float) else f"{name:42} {value}")
    Path(o.json).write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
