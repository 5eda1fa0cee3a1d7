#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""How fast a backlog of the journal gets into the durable queue, beside `journalctl -o json` reading the
same files in the same run, to nowhere. A real journald writes the entries, so all of it is in the page
cache; each round runs journalctl and then the daemon, whose endpoint is down. Its time is from the start
of belfryd to the last entry on disk, that of journalctl from its start to its end. It is no pass/fail
test.

BELFRY_BUILD_DIR=$PWD/build-plain tests/bench/journal_bench.py [--entries N] [--rounds N]"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "e2e"))
from harness import Daemon, wait_for  # noqa: E402
from journald import Journald  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")
CONFIG = """store = {{ size = "4G"; }};
sources = {{ all = {{ module = "journal"; namespace = "{name}"; since = "beginning"; }}; }};
sinks = {{ down = {{ module = "http"; url = "http://127.0.0.1:9/"; }}; }};
rules = ( {{ name = "all"; from = [ "all" ]; to = [ "down" ]; }} );
"""


def fill(journald, n):
    """Entries as services make them: a message and a few fields; journald adds its own."""
    for i in range(n):
        journald.send(MESSAGE=f"GET /api/v1/orders/{i} 200 in {i % 977} ms from 192.0.2.{i % 251}", PRIORITY=3 + i % 4,
                      SYSLOG_IDENTIFIER="shop", SYSLOG_FACILITY=3, CODE_FILE="src/http.c", CODE_LINE=i % 400, REQUEST=f"{i:016x}")
    journald.ctl("--sync")


def cpu(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def journalctl(name):
    start = time.monotonic()
    r = subprocess.Popen(["journalctl", f"--namespace={name}", "-o", "json", "--all", "-q"], stdout=subprocess.DEVNULL)
    _, _, use = os.wait4(r.pid, 0)
    return time.monotonic() - start, use.ru_utime + use.ru_stime


def daemon(name, n):
    with tempfile.TemporaryDirectory(prefix="belfry-bench-") as where:
        d = Daemon(Path(where))
        d.write(CONFIG.format(name=name))
        start = time.monotonic()
        d.start(wait=False)
        wait_for(lambda: (s := d.sink("down")) and s["depth"] >= n, "the backlog in the queue", 300)
        wall = time.monotonic() - start
        used = {"hub": cpu(d.process.pid)}
        for program, pid in d.children().items():
            if "source" in program:
                used["source"] = cpu(pid)
        d.stop()
        return wall, used


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=100000)
    parser.add_argument("--rounds", type=int, default=3)
    a = parser.parse_args()
    j = Journald(f"bench{os.getpid()}", size="64M", use="2G")
    try:
        fill(j, a.entries)
        n = int(len(j.ctl("-q", "-o", "cat", "--output-fields=_PID").splitlines()))
        theirs, ours = [], []
        for _ in range(a.rounds):
            theirs.append(journalctl(j.name))
            ours.append(daemon(j.name, n))
    finally:
        j.end()
    rate = statistics.median(n / wall for wall, _ in ours)
    their_rate = statistics.median(n / wall for wall, _ in theirs)
    print(json.dumps({"entries": n, "journalctl": round(their_rate), "belfry": round(rate), "ratio": round(rate / their_rate, 2),
                      "cpu_us": {"journalctl": round(statistics.median(c for _, c in theirs) / n * 1e6, 1),
                                 **{k: round(statistics.median(u[k] for _, u in ours) / n * 1e6, 1) for k in ("source", "hub")}}}))


if __name__ == "__main__":
    main()
