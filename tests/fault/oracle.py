# SPDX-License-Identifier: MIT
"""The oracle of the fault tests: what a receiver got is held against what really happened. It answers
with the list of what is wrong; tests/fault/test_oracle.py shows that it notices each kind."""
from collections import Counter

ENDED = 422  # besides 2xx: the answer after which a delivery is not sent again


def faults(requests, names, dead=(), repeats_at_most=0):
    """requests: in the order of their arrival, each with `name` (of the file), `kind` (type of the event),
    `id`, `body`, `status` (its answer) and `epoch`. An epoch ends when the hub or the sink is killed
    and all it had sent has been read: what is sent again after that was in flight, and is charged to
    the epoch of its first sending. names: the files that were created. dead: of those, the ones that
    became dead letters."""
    found, ids, bodies, ends = [], {}, {}, {}
    for r in requests:
        if r.kind != "file.created" or r.name not in names:
            found.append(f"invented: {r.kind} of {r.name}")
        ids.setdefault(r.name, set()).add(r.id)
        bodies.setdefault(r.id, set()).add(r.body)
        if r.status == ENDED or 200 <= r.status < 300:
            ends.setdefault(r.id, []).append(r.epoch)
    got = {r.name for r in requests if 200 <= r.status < 300}
    found += [f"lost: {n}" for n in names if n not in got and n not in dead]
    found += [f"both delivered and dead: {n}" for n in dead if n in got]
    found += [f"{n} under {len(i)} ids" for n, i in ids.items() if len(i) > 1]
    found += [f"{i} for {len(n)} files" for i, n in by_id(requests).items() if len(n) > 1]
    found += [f"{i} with {len(b)} bodies" for i, b in bodies.items() if len(b) > 1]
    charged = Counter()
    for i, epochs in ends.items():
        for before, after in zip(epochs, epochs[1:]):
            if before == after:
                found.append(f"{i} sent again though nothing was killed")
            charged[before] += 1
    found += [f"{n} sent again after kill {e}, {repeats_at_most} could be in flight"
              for e, n in charged.items() if n > repeats_at_most]
    return found


def by_id(requests):
    names = {}
    for r in requests:
        names.setdefault(r.id, set()).add(r.name)
    return names
