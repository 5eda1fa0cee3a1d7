# SPDX-License-Identifier: MIT
"""What happens to a journal while it is read: vacuuming, damage, missing rights, absence. Each entry that
may have been lost is in the bounds of one source.gap, and nothing else makes one."""
import os
import shutil
import struct
import tempfile
from pathlib import Path

import pytest
from journald import Journald, forge, objects, overwrite
from test_journal import hub, messages


@pytest.fixture
def journald():
    one = Journald(f"f{os.getpid()}", size="512K", use="1M")
    yield one
    one.end()


@pytest.fixture
def roomy():
    """A journal that holds more than is written between two wake-ups of its readers (250 ms)."""
    one = Journald(f"r{os.getpid()}", size="1M", use="6M")
    yield one
    one.end()


def gaps(h):
    return [e.data for e in h.events if e.type == "source.gap"]


def at_end(h):
    h.wait(lambda: h.stats.get("at_end"))


def restart(h):
    h.stats = {}
    h.start()
    at_end(h)


def cursor_of(position):
    """The cursor in a stored position (sources/journal/position.c)."""
    n, = struct.unpack_from("<I", position, 10)
    return position[14:14 + n].decode()


def turn_over(journald, n=2500):
    """So many entries that nothing older is left."""
    for i in range(n):
        journald.send(MESSAGE=f"filler {i} " + os.urandom(220).hex())
    journald.ctl("--sync")


def test_vacuumed_past_the_position(journald):
    with hub(namespace=journald.name) as h:
        journald.send(MESSAGE="first")
        h.wait_events(1)
        h.stop()
        turn_over(journald)
        restart(h)
        gap, = gaps(h)
        assert gap["reason"] == "vacuumed" and gap["from"] < gap["to"]
        left = [e for e in h.events[1:] if e.type == "journal.entry"]
        assert h.events[1].type == "source.gap" and len(left) < 2500
        assert messages(h)[-1].startswith("filler 2499 ")
        h.stop()
        h.start()
        journald.send(MESSAGE="later")
        h.wait(lambda: messages(h)[-1] == "later")
        assert len(gaps(h)) == 1
        del h.events[20:]  # the schema of some is enough


def test_a_kill_right_after_the_gap(journald):
    """The gap is told once, and the first entry left is not lost with it."""
    with hub(namespace=journald.name) as h:
        journald.send(MESSAGE="first")
        h.wait_events(1)
        h.stop()
        turn_over(journald)
        h.durable = False
        h.start()
        h.wait(lambda: any(e.type == "source.gap" for b in h.held for e in b.events))
        first, = [i for i, b in enumerate(h.held) if any(e.type == "source.gap" for e in b.events)]
        h.make_durable(first + 1)
        h.kill()
        h.durable = True
        restart(h)
        assert len(gaps(h)) == 1
        shown = journald.ctl("-o", "cat", "-q").splitlines()
        assert messages(h)[1:] == shown
        del h.events[20:]


def test_rarely_matching_selection(roomy):
    """Its position moves on to the newest entry, so nothing that does not match makes a gap."""
    with hub(namespace=roomy.name, match=["COLOUR=red"]) as h:
        at_end(h)
        roomy.send(MESSAGE="one", COLOUR="red")
        h.wait_events(1)
        turn_over(roomy, 8000)  # vacuumed while it runs
        roomy.send(MESSAGE="two", COLOUR="red")
        h.wait(lambda: messages(h)[-1] == "two")
        roomy.send(MESSAGE="other")
        roomy.ctl("--sync")
        h.stop()
        newest = roomy.ctl("-n", "1", "--show-cursor", "-q").split("cursor: ")[1].strip()
        assert cursor_of(h.position) == newest
        roomy.send(MESSAGE="three", COLOUR="red")
        h.start()
        h.wait(lambda: messages(h)[-1] == "three")
        assert messages(h) == ["one", "two", "three"] and gaps(h) == []


def test_damaged_entry(tmp_path):
    """One entry that cannot be read: the others come, and one gap counts it; it does not spin."""
    forge(tmp_path / "f.journal", [{"MESSAGE": str(i)} for i in range(30)])
    overwrite(tmp_path / "f.journal", list(objects(tmp_path / "f.journal", 3))[10], b"\0")
    with hub(directory=str(tmp_path), since="beginning") as h:
        at_end(h)
        h.wait(lambda: gaps(h))
        assert messages(h) == [str(i) for i in range(30) if i != 10]
        gap, = gaps(h)
        assert gap["reason"] == "damaged" and gap["detail"].startswith("1 entry of the journal ")
        assert gap["from"] == "2023-11-14T22:13:20.009000Z" and gap["to"] == "2023-11-14T22:13:20.011000Z"
        assert h.stats["missing"] == 1 and h.stats["gaps"] == 1
        h.stop()
        restart(h)
        assert len(gaps(h)) == 1 and len(messages(h)) == 29


@pytest.mark.parametrize("how,word", [("empty", "is empty or cut short"), ("cut", "is cut short"), ("header", "does not begin as"),
                                      ("format", "has a format")])
def test_damaged_file(tmp_path, how, word):
    """The other file is read, and the loss is told once, also over a restart."""
    forge(tmp_path / "a.journal", [{"MESSAGE": f"a{i}"} for i in range(500)])
    forge(tmp_path / "b.journal", [{"MESSAGE": f"b{i}", "__REALTIME_TIMESTAMP": 1800000000000000 + i} for i in range(5)])
    a = tmp_path / "a.journal"
    match how:
        case "empty":
            os.truncate(a, 0)
        case "cut":
            os.truncate(a, a.stat().st_size // 2)
        case "header":
            overwrite(a, 0, b"\0" * 64)
        case "format":
            overwrite(a, 12, b"\xff")
    with hub(directory=str(tmp_path), since="beginning") as h:
        at_end(h)
        h.wait(lambda: gaps(h))
        gap, = gaps(h)
        assert gap["reason"] == "damaged" and "a.journal" in gap["detail"] and word in gap["detail"]
        assert [m for m in messages(h) if m[0] == "b"] == [f"b{i}" for i in range(5)]
        h.wait(lambda: h.stats["files"] == 2)
        h.stop()
        h.start()
        forge(tmp_path / "c.journal", [{"MESSAGE": "c", "__REALTIME_TIMESTAMP": 1900000000000000}])
        h.wait(lambda: messages(h)[-1] == "c")
        assert len(gaps(h)) == 1 and h.degraded == ""


@pytest.mark.parametrize("how", ["zeros", "lists"])
def test_damaged_end(tmp_path, how):
    """As a power cut leaves a file: what is before the zeros is read, the loss of the rest is told; also
    when libsystemd finds nothing amiss with the file, since the lists of its entries are empty."""
    forge(tmp_path / "a.journal", [{"MESSAGE": f"a{i}"} for i in range(500)])
    forge(tmp_path / "b.journal", [{"MESSAGE": "b", "__REALTIME_TIMESTAMP": 1699999999500000}])
    a = tmp_path / "a.journal"
    if how == "zeros":
        last = list(objects(a, 3))[-200]
        overwrite(a, last, b"\0" * (a.stat().st_size - last))
    else:
        for at in list(objects(a, 6)):
            overwrite(a, at, b"\0" * 24)
    with hub(directory=str(tmp_path), since="beginning") as h:
        h.wait(lambda: gaps(h))
        gap, = gaps(h)
        assert gap["reason"] == "damaged" and "a.journal: " in gap["detail"]
        assert ("its end is damaged" in gap["detail"]) or how == "zeros"
        some = messages(h)[1:]
        assert len(some) < 500 and some == [f"a{i}" for i in range(len(some))] and (some or how == "lists")
        h.stop()
        restart(h)
        forge(tmp_path / "c.journal", [{"MESSAGE": "c", "__REALTIME_TIMESTAMP": 1700000600000000}])
        h.wait(lambda: messages(h)[-1] == "c")
        assert len(gaps(h)) == 1


def test_old_damage_is_no_gap(tmp_path):
    """What is older than what the source is to tell is counted and not told."""
    (tmp_path / "old.journal").write_bytes(b"")
    os.utime(tmp_path / "old.journal", (1.6e9, 1.6e9))
    forge(tmp_path / "b.journal", [{"MESSAGE": "b"}])
    with hub(directory=str(tmp_path), since="2023-01-01") as h:
        h.wait(lambda: any("older than what is awaited" in text for _, text in h.logs))
        assert messages(h) == ["b"] and gaps(h) == [] and h.stats["files_skipped"] == 1


# ---- rights

@pytest.fixture
def theirs():
    """Journal files of a group that the source is not in."""
    with tempfile.TemporaryDirectory(prefix="belfry-journal-") as top:  # pytest's own are root's alone
        where = Path(top) / "journal"
        for name in ("a", "b"):
            forge(where / f"{name}.journal", [{"MESSAGE": name}])
            os.chown(where / f"{name}.journal", 0, 4711)
            (where / f"{name}.journal").chmod(0o640)
        Path(top).chmod(0o755)
        yield where


def failure(h):
    with pytest.raises(AssertionError) as e:
        at_end(h)
    return str(e.value)


def test_without_rights(theirs):
    h = hub(directory=str(theirs), since="beginning")
    h.user = 65534
    h.start(wait=False)
    text = failure(h)
    assert "journal may not be read" in text and "setfacl" in text
    h.kill()


def test_one_unreadable_file(theirs):
    """The others are read; it is named, and nobody's group is to blame."""
    (theirs / "a.journal").chmod(0o644)
    os.chown(theirs / "b.journal", 0, 0)
    (theirs / "b.journal").chmod(0o600)
    h = hub(directory=str(theirs), since="beginning")
    h.user = 65534
    with h:
        at_end(h)
        h.wait(lambda: gaps(h) and "b.journal" in h.degraded)
        assert messages(h) == ["a"] and "group" not in h.degraded
        gap, = gaps(h)
        assert gap["reason"] == "denied" and "b.journal: Permission denied" in gap["detail"]
        (theirs / "b.journal").chmod(0o644)
        h.wait(lambda: h.degraded == "")


# ---- absence

def test_directory_that_comes_later(tmp_path):
    where = tmp_path / "later" / "journal"
    with hub(directory=str(where), since="beginning") as h:
        h.wait(lambda: "there is no journal yet" in h.degraded)
        forge(where / "f.journal", [{"MESSAGE": "1"}])
        h.wait_events(1)
        h.wait(lambda: h.degraded == "")
        shutil.rmtree(where)
        h.wait(lambda: "there is no journal yet" in h.degraded, 60)
        forge(where / "g.journal", [{"MESSAGE": "2", "__REALTIME_TIMESTAMP": 1700000001000000}])
        h.wait(lambda: messages(h)[-1] == "2")
        assert messages(h) == ["1", "2"]
