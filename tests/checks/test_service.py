# SPDX-License-Identifier: MIT
"""The unit as shipped: nothing systemd complains about, and a small exposure. The manual pages as
built: complete, and well formed."""
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = sorted(p.name for p in (ROOT / "man").glob("*.[1-8]"))


def test_unit_is_understood(tmp_path):
    unit = tmp_path / "belfry.service"
    unit.write_text((ROOT / "units/belfry.service").read_text().replace("/usr/sbin/belfryd", "/bin/true"))
    r = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True)
    assert r.returncode == 0 and not r.stderr, r.stderr


def test_exposure():
    r = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=14", ROOT / "units/belfry.service"],
                       capture_output=True, text=True)
    assert r.returncode == 0, r.stdout.splitlines()[-1]


@pytest.mark.parametrize("page", PAGES)
def test_built_page(page):
    built = Path(os.environ["BELFRY_BUILD_DIR"]) / "man" / page
    assert "@OPTIONS" not in built.read_text()
    r = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", built], capture_output=True, text=True)
    assert r.returncode == 0, r.stdout
