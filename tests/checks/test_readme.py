# SPDX-License-Identifier: MIT
"""The README shows the same request as the manual, whose bytes a golden test holds against the sink."""
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def test_request_is_the_one_of_the_manual():
    manual = (ROOT / "man/belfry-http.5").read_text()
    shown = manual[manual.index(".EX\nPOST") + 4:]
    shown = shown[:shown.index(".EE")].replace("\\-", "-").rstrip("\n")
    assert f"```http\n{shown}\n```" in (ROOT / "README.md").read_text()
