# SPDX-License-Identifier: MIT
"""The timer source: its calendar against systemd's and against an independent cron, then the real
process: on time, over restarts, with what was missed told as declared, and through the daemon."""
import datetime
import json
import os
import random
import re
import struct
import subprocess
import time
from pathlib import Path

import pytest
from croniter import croniter
from harness import BUILD, wait_for
from source_hub import SourceHub

PROGRAM = str(BUILD / "belfry-source-timer")
NEXT = str(BUILD / "tests/unit/timer-next")
DEFAULTS = {"gap": "skip", "fold": "first", "missed": "skip", "missed_max": 100, "jitter": 0, "jitter_random": False}


def firings(schedules, count, after, zone="UTC"):
    r = subprocess.run([NEXT, str(count), str(after), zone, *schedules], capture_output=True, text=True, check=True,
                       env={"ASAN_OPTIONS": "detect_leaks=0"})
    lines = r.stdout.splitlines()
    assert len(lines) == len(schedules)
    return [line if line.startswith("refused") else [int(n) for n in line.split()] for line in lines]


# ---- against other implementations

def calendar_expressions(n):
    r = random.Random(4)
    part = lambda low, high: r.choice(["*", f"{r.randint(low, high):02}", f"{low}/{r.randint(2, 7)}",
                                       f"{low + 1}..{high - 1}", f"{low + 2},{high - 2}", f"{low}..{high - 2}/{r.randint(2, 5)}"])
    days = ["", "Mon ", "Mon..Fri ", "Sat,Sun ", "Wed..Sun ", "Fri "]
    for _ in range(n):
        last = r.choice(["~01", "~03", "~07/1", "~01..04"]) if r.random() < 0.2 else f"-{part(1, 31)}"
        date = f"{r.choice(['*', '*', '2027', '2026..2030', '2027/2'])}-{part(1, 12)}{last}"
        time_of_day = f"{part(0, 23)}:{part(0, 59)}" + (f":{part(0, 59)}" if r.random() < 0.4 else "")
        yield r.choice(days) + r.choice([f"{date} {time_of_day}", time_of_day, date])


def test_calendar_is_systemds():
    """Away from transitions, in UTC, and away from the end of a month: there systemd 252 loses an hour."""
    expressions = [*calendar_expressions(220), "minutely", "hourly", "daily", "weekly", "monthly", "quarterly", "yearly"]
    now = int(datetime.datetime(2027, 3, 9, 13, 24, 35, tzinfo=datetime.timezone.utc).timestamp())
    ours = firings(expressions, 5, now)
    compared = 0
    for expression, mine in zip(expressions, ours):
        r = subprocess.run(["systemd-analyze", "calendar", "--iterations=5", f"--base-time=@{now}", expression],
                           capture_output=True, text=True, env={"TZ": "UTC", "PATH": os.environ["PATH"], "LC_ALL": "C"})
        if r.returncode:
            assert isinstance(mine, str), f"{expression}: refused by systemd, taken here"
            continue
        theirs = re.findall(r"(?:Next elapse|Iteration #\d+|Iter\. #\d+): \w+ ([\d-]+ [\d:]+)", r.stdout)
        theirs = [int(datetime.datetime.fromisoformat(t + "+00:00").timestamp()) for t in theirs]
        if not theirs:
            assert isinstance(mine, str) and "never comes" in mine, f"{expression}: {mine}"
            continue
        assert mine == theirs, f"{expression}\nours   {mine}\ntheirs {theirs}"
        compared += 1
    assert compared > 150


def test_calendar_loses_no_hour_at_the_end_of_a_month():
    at = lambda *when: int(datetime.datetime(*when, tzinfo=datetime.timezone.utc).timestamp())
    assert firings(["0/7:27", "Mon..Fri 0/7:27"], 3, at(2026, 11, 30, 14, 27)) == [
        [at(2026, 11, 30, 21, 27), at(2026, 12, 1, 0, 27), at(2026, 12, 1, 7, 27)]] * 2


def cron_rows(n):
    r = random.Random(5)
    def field(low, high, names=()):
        kind = r.random()
        if kind < 0.35:
            return "*"
        if kind < 0.5:
            return f"*/{r.randint(2, 7)}"
        a, b = sorted((r.randint(low, high), r.randint(low, high)))
        if names and kind < 0.6:
            return r.choice(names)
        return r.choice([f"{a}", f"{a}-{b}", f"{a},{b}", f"{a}-{b}/2"])
    for _ in range(n):
        yield " ".join([field(0, 59), field(0, 23), field(1, 28), field(1, 12, ("jan", "jun", "dec")),
                        field(0, 6, ("mon", "fri", "sun"))])


def test_cron_is_crons():
    """cron's rule for the days: a field that holds a star is not restricted; croniter knows only the
    bare star and takes 0-6 for one, so rows with other spellings in the day fields are left out."""
    odd = lambda field: field.startswith("*/") or field == "0-6"
    rows = [row for row in cron_rows(800) if not odd(row.split()[2]) and not odd(row.split()[4])][:520]
    assert len(rows) >= 500
    now = int(time.time())
    for row, mine in zip(rows, firings(rows, 6, now)):
        theirs = croniter(row, now)
        assert mine == [int(theirs.get_next()) for _ in range(6)], row


@pytest.mark.parametrize("row, day", [("0 0 */2 * mon", lambda d: d.day % 2 == 1 and d.weekday() == 0),
                                      ("0 0 1 * mon", lambda d: d.day == 1 or d.weekday() == 0),
                                      ("0 0 * * mon", lambda d: d.weekday() == 0)])
def test_day_rule(row, day):
    start = datetime.date(2027, 1, 1)
    days = [start + datetime.timedelta(n) for n in range(1200)]
    after = int(datetime.datetime(2026, 12, 31, 12, tzinfo=datetime.timezone.utc).timestamp())
    mine = [datetime.datetime.fromtimestamp(t, datetime.timezone.utc).date() for t in firings([row], 40, after)[0]]
    assert mine == [d for d in days if day(d)][:40]


# ---- the process

def source(**options):
    return SourceHub(PROGRAM, options, name="nightly", defaults=DEFAULTS)


def position(last, boot=b""):
    return struct.pack("<BQI", 1, last, len(boot)) + boot


def scheduled(event):
    return int(datetime.datetime.fromisoformat(event.data["scheduled"].replace("Z", "+00:00")).timestamp())


def test_elapses_on_time():
    with source(schedule="*:*:*") as s:
        s.wait_events(3)
        times = [scheduled(e) for e in s.events]
        assert times == list(range(times[0], times[0] + len(times)))
        for e in s.events:
            assert e.type == "timer.elapsed" and e.subject == b"nightly" and e.data["missed"] == 0
            assert 0 <= e.received - scheduled(e) < 2
            assert e.time == scheduled(e) * 1000000 and e.id == b"at:%d" % scheduled(e)
        assert s.stats["schedule"] == "*:*:*"


def test_nothing_twice_and_nothing_lost_over_kills():
    s = source(schedule="*:*:*").start()
    for _ in range(4):
        n = len(s.events)
        s.wait_events(n + 1)
        s.kill()
        s.start()
    s.wait_events(len(s.events) + 2)
    times = [scheduled(e) for e in s.events]
    assert times == list(range(times[0], times[0] + len(times)))
    s.stop()


def hours_ago(n, step=3600):
    """The last n instants of an hourly schedule that lie more than two minutes back."""
    now = int(time.time()) - 120
    return [now - now % step - i * step for i in reversed(range(n))]


@pytest.mark.parametrize("missed, told, counted", [("skip", [], []), ("once", [-1], [4]), ("all", [-3, -2, -1], [2, 0, 0])])
def test_missed(missed, told, counted):
    gone = hours_ago(5)
    s = source(schedule="@hourly", missed=missed, missed_max=3)
    s.position = position(gone[0] - 1)
    with s:
        s.wait(lambda: s.stats.get("next"))
        if told:
            s.wait_events(len(told))
        late = [e for e in s.events if scheduled(e) in gone]
        assert [scheduled(e) for e in late] == [gone[i] for i in told]
        assert [e.data["missed"] for e in late] == counted


def test_skipped_ones_are_counted_by_the_next():
    now = int(time.time())
    s = source(schedule="*:*:*")
    s.position = position(now - 300)
    with s:
        s.wait_events(1)
        first = s.events[0]
        # What is up to a minute late is not missed; the rest is counted.
        assert now - 62 <= scheduled(first) <= now - 55 and 235 <= first.data["missed"] <= 246
        s.wait_events(30)
        times = [scheduled(e) for e in s.events]
        assert times == list(range(times[0], times[0] + len(times)))


def test_back_pressure_drops_nothing():
    with source(schedule="*:*:*") as s:
        s.wait_events(1)
        s.send(34)  # PAUSE
        held = len(s.events)
        end = time.time() + 3
        s.wait(lambda: time.time() > end)
        assert len(s.events) <= held + 1
        s.send(35)  # RESUME
        s.wait_events(held + 3)
        times = [scheduled(e) for e in s.events]
        assert times == list(range(times[0], times[0] + len(times)))


def test_at_once_only():
    soon = int(time.time()) + 6  # time enough for a process to be born, busy as the machine may be
    text = datetime.datetime.fromtimestamp(soon, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    with source(at=text, zone="UTC") as s:
        s.wait_events(1)
        assert scheduled(s.events[0]) == soon
        s.wait(lambda: "next" in s.stats and s.stats["next"] is None)
        s.kill()
        s.start()
        s.wait(lambda: "next" in s.stats)
        assert len(s.events) == 1


def test_at_missed_is_told():
    then = int(time.time()) - 5000
    text = datetime.datetime.fromtimestamp(then, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    s = source(at=text)
    s.position = position(then - 100)
    with s:
        s.wait_events(1)
        assert scheduled(s.events[0]) == then


def test_reboot_once_a_boot():
    with source(schedule="@reboot") as s:
        s.wait_events(1)
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        assert s.events[0].id == b"boot:" + boot.encode()
        s.kill()
        s.start()
        s.wait(lambda: "next" in s.stats)
        assert len(s.events) == 1
    s = source(schedule="@reboot")
    s.position = position(int(time.time()), b"00000000-0000-0000-0000-000000000000")
    with s:
        s.wait_events(1)


def test_clock_far_back_begins_anew():
    s = source(schedule="*:*:*")
    s.position = position(int(time.time()) + 7 * 86400)
    with s:
        s.wait_events(1)
        assert abs(scheduled(s.events[0]) - time.time()) < 5
        assert any("goes on from now" in text for _, text in s.logs)


def test_jitter_is_the_hosts_own():
    with source(schedule="*:*:*", jitter=900000) as s:
        s.wait_events(3)
        late = [e.received - scheduled(e) for e in s.events[1:]]
        assert max(late) - min(late) < 0.5
    with source(schedule="*:*:*", jitter=900000, jitter_random=True) as s:
        s.wait_events(2)


@pytest.mark.parametrize("options, words", [
    ({"schedule": "25:00"}, "schedule: the hour goes from 0 to 23"),
    ({"schedule": "12:00", "at": "2027-01-01 03:00"}, "exclude each other"),
    ({}, "must be given"),
    ({"schedule": "12:00", "zone": "Mars/Base"}, "zone: there is no time zone"),
])
def test_refused(options, words):
    s = source(**options).start(wait=False)
    wait_for(lambda: s.pump() or s.failed or s.closed, "a refusal")
    wait_for(lambda: s.pump() or s.failed, "a refusal")
    assert words in s.failed
    s.process.wait()


def test_idle_costs_nothing():
    with source(schedule="0 0 1 1 *") as s:
        s.wait(lambda: s.stats.get("next"))
        def ticks():
            fields = Path(f"/proc/{s.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
            return int(fields[11]) + int(fields[12])
        before, end = ticks(), time.time() + 2
        s.wait(lambda: time.time() > end)
        assert ticks() - before <= 1


# ---- the daemon

def test_through_the_daemon(daemon, receiver):
    daemon.write(f'''store = {{ size = "64M"; }};
sources = {{ tick = {{ module = "timer"; schedule = "*:*:*"; gap = "next-valid"; fold = "both"; missed = "all"; }}; }};
sinks = {{ ops = {{ module = "http"; url = "{receiver.url}"; }}; }};
rules = ( {{ name = "all"; when = "data.missed == 0 and data.scheduled > '2020-01-01T00:00:00Z'"; to = [ "ops" ]; }} );
''')
    daemon.start()
    receiver.wait(2)
    daemon.kill()
    daemon.start()
    receiver.wait(5)
    events = {r.id: r.event for r in receiver.all()}
    times = sorted(scheduled(type("E", (), {"data": e["data"]})) for e in events.values())
    assert times == list(range(times[0], times[0] + len(times)))
    shown = next(s for s in daemon.status()["sources"] if s["name"] == "tick")
    assert shown["state"] == "ready" and shown["watches"]["schedule"] == "*:*:*" and shown["watches"]["next"]


def test_timers_lists_them(daemon):
    """What comes, over the transitions of a zone, for who may only read as well."""
    daemon.write('''store = { size = "64M"; };
sources = {
  nightly = { module = "timer"; schedule = "*-03-25..31 02:30"; zone = "Europe/Berlin"; };
  twice = { module = "timer"; schedule = "*-10-25..31 02:30"; zone = "Europe/Berlin"; fold = "both"; gap = "next-valid"; };
  boot = { module = "timer"; schedule = "@reboot"; };
};
control = { read = [ "root" ]; admin = [ "nobody" ]; };
''')
    daemon.start()
    text = daemon.belfry("timers", "--next", "14", check=0).stdout
    assert re.search(r"^nightly  \*-03-25\.\.31 02:30  Europe/Berlin$", text, re.M)
    assert re.search(r"03-\d\dT02:30:00\+0[12]:00  \d+-03-\d\d 02:30:00 does not exist and was skipped before it$", text, re.M)
    assert re.search(r"10-\d\dT02:30:00\+01:00  the clock is put back: this local time for the second time$", text, re.M)
    assert "at the next boot of the host" in text
    shown = {t["name"]: t["firings"] for t in json.loads(daemon.belfry("timers", "--json", check=0).stdout)}
    assert [len(shown[n]) for n in ("nightly", "twice", "boot")] == [5, 5, 0]
    assert shown["nightly"][0]["scheduled"].endswith(":30:00.000000Z")
    assert "--next" in daemon.belfry("timers", "--next", "0", check=2).stderr


def test_check_places_the_fault(daemon):
    for setting, told in (('schedule = "25:00";', "schedule: the hour goes from 0 to 23"),
                          ('schedule = "5/15 * * * *";', "schedule: the minute field has"),
                          ('schedule = "12:00"; zone = "Europe/Berlim";', "zone: there is no time zone"),
                          ('at = "tomorrow";', "at: \"tomorrow\" is no time"), ("", "schedule or at must be given")):
        daemon.write(f'sources = {{\n  t = {{ module = "timer"; {setting} }};\n}};\n')
        r = daemon.belfry("check", daemon.config, check=1)
        assert re.search(rf"belfry.conf:2:\d+: sources\.t.*{re.escape(told)}", r.stdout + r.stderr), r.stdout + r.stderr


if "BELFRY_LONG" in os.environ:  # it sets the clock of the machine, forward by two hours and back
    def test_real_clock_set():
        with source(schedule="@hourly", missed="once") as s:
            s.wait(lambda: s.stats.get("next"))
            offset = 2 * 3600
            time.clock_settime(time.CLOCK_REALTIME, time.time() + offset)
            try:
                s.wait_events(1)
            finally:
                time.clock_settime(time.CLOCK_REALTIME, time.time() - offset)
            assert s.events[0].data["missed"] == 1
            s.wait(lambda: any("goes on from now" in text for _, text in s.logs))
