# SPDX-License-Identifier: MIT
"""A state directory copied back from an earlier time: what came after the copy is told once more, what
was before it is not, and all goes on. (PostgreSQL's part, where the server has let go of it, is in
tests/e2e/test_postgresql_gaps.py.)"""
import os
import shutil
import subprocess
from collections import Counter

import pytest
from harness import wait_for
from killing import Book, files
from test_all_sources import config, entries, journald, lines  # noqa: F401


@pytest.fixture
def things(watched, journald, tmp_path):  # noqa: F811
    """Makes 30 of each kind and answers what they are."""
    log, done = tmp_path / "log/app.log", []
    makers = [files(watched), lines(log), entries(journald)]

    def make():
        new = [w for n in range(len(done) // 3, len(done) // 3 + 30) for m in makers for w in m(n)]
        done.extend(new)
        return new
    make.options = {"inotify": f'paths = [ "{watched}" ];', "lines": f'paths = [ "{log}" ];',
                    "journal": f'namespace = "{journald.name}";'}
    return make


def test_state_of_an_earlier_time(daemon, receiver, things, tmp_path):
    book, old = Book(receiver), tmp_path / "old"
    daemon.write(config(receiver, things.options))

    def live():
        daemon.start()
        new = things()
        wait_for(lambda: book.ended() >= set(new), "what happened")
        wait_for(lambda: (s := daemon.sink())["depth"] == 0 and s["in_flight"] == 0, "an empty queue")
        daemon.stop()
        return new

    before = live()
    subprocess.run(["cp", "-a", "--sparse=always", daemon.state, old], check=True)
    between = live()
    shutil.rmtree(daemon.state)
    os.rename(old, daemon.state)
    daemon.start()
    wait_for(lambda: ends(book, between) == Counter(between * 2), "what came after the copy, once more")
    daemon.stop()
    after = live()
    assert ends(book, before) == Counter(before) and ends(book, after) == Counter(after)
    assert ends(book, between) == Counter(between * 2) and book.came() == {*before, *between, *after}
    ids = {}
    for r in book.sent:
        if not r.what.startswith("file."):  # a scan numbers them anew
            ids.setdefault(r.what, set()).add(r.id)
    assert all(len(i) == 1 for i in ids.values())


def ends(book, things):
    """How often each of these came and was not refused for the time being."""
    wanted = set(things)
    with book.lock:
        return Counter(r.what for r in book.sent if r.status != 503 and r.what in wanted)
