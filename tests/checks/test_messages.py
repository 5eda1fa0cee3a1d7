# SPDX-License-Identifier: MIT
"""The catalogue of message ids, its manual page and the code that writes them say the same."""
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "man/belfry.journal-fields.7").read_text()
CATALOGUE = dict(re.findall(r'#define (MESSAGE_ID_\w+) "([0-9a-f]{32})"', (ROOT / "src/event/messages.h").read_text()))
CODE = {p: p.read_text() for d in ("src", "sources", "sinks") for p in (ROOT / d).rglob("*.c")}


def test_every_message_is_documented_in_order():
    assert len(CATALOGUE) >= 13 and len(set(CATALOGUE.values())) == len(CATALOGUE)
    assert re.findall(r"^\.It Li ([0-9a-f]{32})$", PAGE, re.M) == list(CATALOGUE.values())
    assert set(re.findall(r"\b[0-9a-f]{32}\b", PAGE)) == set(CATALOGUE.values())


def test_every_message_is_written():
    for name in CATALOGUE:
        assert any(re.search(rf"\b{name}\b", text) for text in CODE.values()), f"nothing writes {name}"


def test_no_id_outside_the_catalogue():
    for path, text in CODE.items():
        assert not re.search(r'message_id = "', text), path


def test_every_field_is_documented():
    log = CODE[ROOT / "src/base/log.c"]
    fields = set(re.findall(r'add_field\(fields, &n, bufs\[\d\], "(\w+)"', log)) | {"MESSAGE"}
    assert len(fields) >= 6
    assert set(re.findall(r"^\.It Va (\w+)$", PAGE, re.M)) == fields
