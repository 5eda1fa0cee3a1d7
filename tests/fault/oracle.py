# SPDX-License-Identifier: MIT
"""The oracle of the fault tests: what a receiver got is held against what really happened. It answers
with the list of what is wrong; tests/fault/test_oracle.py shows that it notices each kind."""
from collections import Counter

ENDED = 422  # besides 2xx: the answer after which a delivery is not sent again


def faults(requests, happened, dead=(), repeats_at_most=0):
    """requests: in the order of their arrival, each with `what` (the event's type and what it is about),
    `id`, `body`, `status` (its answer) and `epoch`. An epoch ends when the hub or the sink is killed
    and all it had sent has been read: what is sent again after that was in flight, and is charged to
    the epoch of its first sending. happened: each `what` that there was, once. dead: of those, the ones
    that became dead letters."""
    found, ids, bodies, ends, meanings = [], {}, {}, {}, {}
    happened, dead = set(happened), set(dead)
    for r in requests:
        if r.what not in happened:
            found.append(f"invented: {r.what}")
        ids.setdefault(r.what, set()).add(r.id)
        meanings.setdefault(r.id, set()).add(r.what)
        bodies.setdefault(r.id, set()).add(r.body)
        if r.status == ENDED or 200 <= r.status < 300:
            ends.setdefault(r.id, []).append(r.epoch)
    got = {r.what for r in requests if 200 <= r.status < 300}
    found += [f"lost: {w}" for w in sorted(happened - got - dead)]
    found += [f"both delivered and dead: {w}" for w in sorted(dead & got)]
    found += [f"{w} under {len(i)} ids" for w, i in ids.items() if len(i) > 1]
    found += [f"{i} for {len(w)} events" for i, w in meanings.items() if len(w) > 1]
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
