# SPDX-License-Identifier: MIT
"""The store when the power goes: an ext4 on a loop device is shut down under the writer, so that
everything that was not synced is gone. The writer and the oracle are tests/unit/store_crash_test.c."""
import os
import subprocess

import pytest


def test_power_loss_keeps_what_was_durable():
    program = os.path.join(os.environ["BELFRY_BUILD_DIR"], "tests/unit/test-store_crash")
    r = subprocess.run([program, "--power-loss"], capture_output=True, text=True, timeout=300)
    said = r.stdout + r.stderr
    for line in said.splitlines():
        if "skipped:" in line:
            pytest.skip(line)
    assert r.returncode == 0, said
    assert "10 power losses" in said
