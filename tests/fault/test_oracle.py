# SPDX-License-Identifier: MIT
"""The oracle itself: a record in which all is well, and the same with one thing wrong."""
from dataclasses import dataclass, replace

import pytest

from oracle import faults


@dataclass(frozen=True)
class Sent:
    what: str
    id: str
    body: bytes = b"x"
    status: int = 200
    epoch: int = 0


HAPPENED = ["a", "b", "c", "d"]
# c was in flight when the first process was killed; b had to be tried twice; d is refused for good.
GOOD = [Sent("a", "1"), Sent("b", "2", status=503), Sent("c", "3"), Sent("c", "3", epoch=1), Sent("b", "2", epoch=1),
        Sent("d", "4", status=422, epoch=1)]


def judge(requests, dead=("d",), repeats_at_most=1, happened=HAPPENED):
    return faults(requests, happened, dead, repeats_at_most)


def test_nothing_wrong():
    assert judge(GOOD) == []
    assert judge([], dead=(), happened=[]) == []


@pytest.mark.parametrize("what, requests, more", [
    ("lost: a", GOOD[1:], {}),
    ("lost: b", [r for r in GOOD if r.what != "b" or r.status != 200], {}),
    ("lost: d", GOOD, {"dead": ()}),
    ("both delivered and dead: d", [*GOOD, Sent("d", "4", epoch=2)], {}),
    ("invented: z", [*GOOD, Sent("z", "9")], {}),
    ("a under 2 ids", [*GOOD, Sent("a", "9")], {}),
    ("1 for 2 events", [replace(r, id="1") if r.what == "d" else r for r in GOOD], {}),
    ("3 with 2 bodies", [replace(r, body=b"y") if r.what == "c" and r.epoch else r for r in GOOD], {}),
    ("2 with 2 bodies", [replace(r, body=b"y") if r.status == 503 else r for r in GOOD], {}),
    ("1 sent again though nothing was killed", [*GOOD, Sent("a", "1")], {"repeats_at_most": 2}),
    ("2 sent again after kill 0, 1 could be in flight", [*GOOD, Sent("a", "1", epoch=1)], {}),
    ("1 sent again after kill 0, 0 could be in flight", GOOD, {"repeats_at_most": 0}),
    ("1 sent again after kill 0, 0 could be in flight", [*GOOD[:3], *GOOD[4:], Sent("a", "1", epoch=5)],
     {"repeats_at_most": 0}),
    ("4 sent again though nothing was killed", [*GOOD, GOOD[-1]], {}),
])
def test_it_notices(what, requests, more):
    assert what in judge(requests, **more)
