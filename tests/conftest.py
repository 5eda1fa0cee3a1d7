# SPDX-License-Identifier: MIT
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness import Daemon, Receiver  # noqa: E402
from schemas import check_requests  # noqa: E402


def pytest_configure(config):
    # Both want a build without sanitizers; each is a phase of scripts/check.
    config.addinivalue_line("markers", "bursts: large numbers")
    config.addinivalue_line("markers", "service: the installed service under a real systemd")


@pytest.fixture
def receiver():
    r = Receiver()
    yield r
    r.stop()
    check_requests(r.all()[:2000])


@pytest.fixture
def daemon(tmp_path):
    d = Daemon(tmp_path / "belfry")
    yield d
    code = d.stop()
    d.check_clean()
    assert code in (0, None, -9), d.text()


@pytest.fixture
def watched(tmp_path):
    w = tmp_path / "watched"
    w.mkdir()
    return w
