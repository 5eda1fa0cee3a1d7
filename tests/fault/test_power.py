# SPDX-License-Identifier: MIT
"""The power goes, for the whole daemon: the file system of its state is shut down under it at any moment,
so that what was not synced is gone. The watched files are elsewhere and stay. The oracle is that of the
kills; the store's own power losses are in test_store.py."""
import os
import random
import sys
import time
from pathlib import Path

import pytest
from killing import IN_FLIGHT, settle, wait_gone
from test_kills import begin

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "e2e"))
from test_full_store import LoopDisk  # noqa: E402

CUTS = 40 if os.environ.get("BELFRY_LONG") else 3


@pytest.fixture
def disk(tmp_path):
    d = LoopDisk(tmp_path, 100)
    yield d
    d.end()


def test_power_cuts(daemon, receiver, watched, disk):
    seed = int(os.environ.get("BELFRY_SEED", random.randrange(1 << 30)))
    print(f"BELFRY_SEED={seed}")
    rng = random.Random(seed)
    daemon.state = disk.path / "state"
    book, writer = begin(daemon, receiver, watched)
    daemon.start()
    writer.start()
    for _ in range(CUTS):
        time.sleep(rng.uniform(0.05, 0.5))  # when the power goes, not a wait for anything
        disk.shut_down()
        assert daemon.process.wait(20) == 1 and "the store did not take a commit" in daemon.text(), daemon.text()
        wait_gone(daemon)
        book.next_epoch()
        disk.replace()
        daemon.start()
    happened = writer.end()
    assert len(happened) > 10 * CUTS
    settle(daemon, book, happened, IN_FLIGHT)
    daemon.stop()
