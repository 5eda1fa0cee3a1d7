# SPDX-License-Identifier: MIT
"""An endpoint that is down, with the retry settings nobody changed: what it costs while it is away and
how soon everything has arrived once it is back."""
import os
import re
import time
from collections import Counter
from pathlib import Path

import pytest

from harness import wait_for
from test_bursts import Listener, configure, created, listener, settled, write  # noqa: F401

pytestmark = pytest.mark.bursts

LONG = os.environ.get("BELFRY_LONG")


def memory(daemon):
    """KiB of the family's own memory: Pss_Anon + Pss_Shmem of the hub, births, source and sink."""
    total = {}
    for pid in [daemon.process.pid, *daemon.children().values()]:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        name = Path(f"/proc/{pid}/comm").read_text().strip()
        total[name] = sum(int(kib) for kib in re.findall(r"^Pss_(?:Anon|Shmem):\s+(\d+)", text, re.M))
    return total


def test_memory_with_a_backlog(daemon, listener, watched):
    configure(daemon, watched, listener)
    idle = memory(daemon)
    assert len(idle) == 4, idle
    listener.stop()
    write(watched, 100000)
    wait_for(lambda: daemon.sink()["depth"] == 100000, "100,000 queued", 120)
    wait_for(lambda: daemon.sink()["state"] == "held", "the endpoint is held")
    full = memory(daemon)
    print("idle", idle, "with 100,000 queued", full)
    assert sum(full.values()) - sum(idle.values()) < 20 * 1024, (idle, full)
    listener.start()
    settled(daemon, 100000)
    drained = memory(daemon)
    print("drained", drained)
    assert sum(drained.values()) - sum(idle.values()) < 20 * 1024, (idle, drained)
    assert created(listener, watched) == Counter(f"f{i}" for i in range(100000))


def test_outage_with_default_settings(daemon, listener, watched):
    """Down for 12 s (60 in the long version), which is past the probes after 1, 2 and 5 s and in those of
    each 10 s. The last of what waited has come within 15 s of its return, beside the time it takes to
    send it all."""
    configure(daemon, watched, listener)
    listener.stop()
    write(watched, 2000)
    wait_for(lambda: daemon.sink()["state"] == "held", "the endpoint is held")
    away = time.monotonic() + (60 if LONG else 12)
    wait_for(lambda: time.monotonic() >= away, "the outage to pass", 70)  # its length is what is tested
    (watched / "late").write_text("x")
    listener.start()
    back = time.monotonic()
    settled(daemon, 2001, 15 + 5)
    took = time.monotonic() - back
    print(f"all delivered {took:.1f} s after the return")
    assert took < 15 + 5
    status = daemon.sink()
    assert status["state"] == "ready" and status["dead"] == 0
    assert created(listener, watched) == Counter([*(f"f{i}" for i in range(2000)), "late"])
