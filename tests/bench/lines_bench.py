#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What a line of a log costs as a webhook of its own, beside syslog-ng's file() to http() with a reliable
disk-buffer doing the same (when it is installed), in one run on the same receiver: a burst that stands
in the file within a moment, and lines at a steady pace. CPU of all processes a line, lines a second,
memory afterwards, and at the pace the time from the line's end to its request. Prints; judges nothing."""
import argparse
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from bench import BUILD, Daemon, FastReceiver, Receiver, cpu_of, family, memory_of, wait_for  # noqa: E402

IN_FLIGHT = 64
LINE = "2026-11-29T07:00:00Z web1 level=error request={} took=0.123 msg=\"upstream timed out\""


class Belfry:
    name = "belfry"

    def __init__(self, directory, log, url):
        self.daemon = Daemon(directory)
        self.daemon.write(f"""store = {{ size = "4G"; }};
sources = {{ log = {{ module = "lines"; paths = [ "{log}" ]; }}; }};
sinks = {{ ops = {{ module = "http"; url = "{url}"; in_flight = {IN_FLIGHT}; }}; }};
rules = ( {{ name = "all"; from = [ "log" ]; to = [ "ops" ]; }} );
""")
        self.daemon.start()
        self.pids = family(self.daemon)

    def stop(self):
        self.daemon.stop()


class SyslogNg:
    name = "syslog-ng"

    def __init__(self, directory, log, url):
        directory.mkdir()
        (directory / "conf").write_text(f"""@version: 3.38
options {{ stats-freq(0); }};
source s {{ file("{log}" follow-freq(0.1) flags(no-parse)); }};
destination d {{ http(url("{url}") method("POST") body("$MSG") workers({IN_FLIGHT}) batch-lines(1)
  disk-buffer(reliable(yes) disk-buf-size(2147483648) mem-buf-size(104857600) dir("{directory}"))); }};
log {{ source(s); destination(d); flags(flow-control); }};
""")
        self.process = subprocess.Popen(["syslog-ng", "-F", "--no-caps", "-f", directory / "conf", "-R", directory / "persist",
                                         "-p", directory / "pid", "-c", directory / "ctl"], stderr=subprocess.DEVNULL)
        self.pids = {"syslog-ng": self.process.pid}
        wait_for(lambda: (directory / "ctl").exists(), "syslog-ng to be there")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def append(log, texts):
    with open(log, "ab", buffering=1 << 20) as f:
        f.writelines(t.encode() + b"\n" for t in texts)


def burst(make, directory, n):
    receiver, log = FastReceiver(sorted(os.sched_getaffinity(0))), directory.parent / f"{make.name}.log"
    append(log, ["first"])
    tool = make(directory, log, receiver.url)
    try:
        append(log, ["warm"])
        wait_for(lambda: receiver.count() >= 1, f"{make.name} to follow")
        time.sleep(1.0)  # what it still sends of what was there
        base, before, start = receiver.count(), cpu_of(tool.pids), time.monotonic()
        append(log, (LINE.format(i) for i in range(n)))
        wait_for(lambda: receiver.count() - base >= n, f"{n} lines by {make.name}", 1800)
        took, after = time.monotonic() - start, cpu_of(tool.pids)
        return {"lines a second": n / took, "CPU us a line": sum(after[k] - before[k] for k in after) / n * 1e6,
                "MiB afterwards": memory_of(tool.pids) / 1024}
    finally:
        tool.stop()
        receiver.stop()


def paced(make, directory, rate, seconds):
    receiver, log, arrived, sent = Receiver(), directory.parent / f"{make.name}.paced.log", {}, {}

    def answer(request):
        at = time.monotonic()
        for number in re.findall(rb"request=(\d+)", request.body):
            arrived[int(number)] = at
        return 200
    receiver.answer = answer
    append(log, ["first"])
    tool = make(directory, log, receiver.url)
    try:
        append(log, ["warm"])
        wait_for(receiver.all, f"{make.name} to follow")
        before, start, n = cpu_of(tool.pids), time.monotonic(), rate * seconds
        with open(log, "ab", buffering=0) as f:
            for i in range(n):
                time.sleep(max(0, start + i / rate - time.monotonic()))
                f.write(LINE.format(i).encode() + b"\n")
                sent[i] = time.monotonic()
        wait_for(lambda: len(arrived) >= n, f"{n} lines by {make.name}", 120)
        after = cpu_of(tool.pids)
        times = sorted((arrived[i] - sent[i]) * 1e3 for i in sent)
        return {"CPU us a line": sum(after[k] - before[k] for k in after) / n * 1e6,
                "p50 ms": statistics.median(times), "p99 ms": times[int(n * 0.99)]}
    finally:
        tool.stop()
        receiver.stop()


def main():
    p = argparse.ArgumentParser(description=__doc__.split(":", maxsplit=1)[0])
    p.add_argument("--lines", type=int, default=100000, help="of the burst")
    p.add_argument("--rate", type=int, default=1000, help="lines a second at the pace")
    p.add_argument("--seconds", type=int, default=10)
    o = p.parse_args()
    subprocess.run(["ninja", "-C", BUILD, "tests/bench/bench-receiver"], check=True, stdout=subprocess.DEVNULL)
    tools = [Belfry] + [SyslogNg] * bool(shutil.which("syslog-ng"))
    with tempfile.TemporaryDirectory(prefix="belfry-bench.") as d:
        for make in tools:
            for what, result in [(f"burst of {o.lines}", burst(make, Path(d) / f"{make.name}.burst", o.lines)),
                                 (f"{o.rate} a second", paced(make, Path(d) / f"{make.name}.pace", o.rate, o.seconds))]:
                print(f"{make.name:10} {what:18} " + "  ".join(f"{k} {v:.2f}" for k, v in result.items()), flush=True)


if __name__ == "__main__":
    main()
