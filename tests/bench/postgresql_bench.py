#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What a row costs on its way from PostgreSQL into the queue, beside pg_recvlogical reading the same
publication to /dev/null in the same run: rows a second, CPU of each process a row, and the time from a
commit to its request. It judges nothing; HACKING.md says how to read it.

The rows are written first, for both the same, and two slots from before them are read one after the
other. The clock runs from the moment at which the slot is in use until it is confirmed to the end: for
Belfry that means committed to the store. No endpoint answers meanwhile, so that the queue alone is
measured. Each round measures both, the figure is the median of the rounds."""
import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "e2e")]
from bench import cpu_of, family  # noqa: E402
from harness import Daemon, Receiver, wait_for  # noqa: E402
from postgres_server import Server  # noqa: E402

# name -> rows of a transaction; 0: all in one
SHAPES = {"one transaction": 0, "ten rows a transaction": 10, "one row a transaction": 1}


class Psql:
    """One session that stays, so that asking costs the server little."""

    def __init__(self, server, database):
        self.process = subprocess.Popen(["psql", "-XAtq", server.conninfo(database=database)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def ask(self, sql):
        self.process.stdin.write(sql + ";\n\\echo .\n")
        self.process.stdin.flush()
        lines = []
        while (line := self.process.stdout.readline().rstrip("\n")) != ".":
            assert line or self.process.poll() is None, "psql ended"
            lines.append(line)
        return lines

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


def config(server, db, url):
    return (f'store = {{ size = "2G"; }};\n'
            f'sources = {{ shop = {{ module = "postgresql"; conninfo = "{server.conninfo(database=db)}"; slot = "{db}";'
            f' tables = [ "public.t" ]; publication = "p"; create = "never"; }}; }};\n'
            f'sinks = {{ ops = {{ module = "http"; url = "{url}"; }}; }};\n'
            f'rules = ( {{ name = "all"; from = [ "shop" ]; to = [ "ops" ]; }} );\n')


def prepare(server, db):
    server.sql(f"CREATE DATABASE {db}")
    server.sql("CREATE TABLE t (id serial PRIMARY KEY, customer text, total numeric, at timestamptz DEFAULT now());"
               "CREATE PUBLICATION p FOR TABLE t", database=db)
    for name in (db, f"{db}_other"):
        server.sql(f"SELECT 1 FROM pg_create_logical_replication_slot('{name}', 'pgoutput')", database=db)


def write(server, db, rows, together):
    insert = "INSERT INTO t (customer, total) SELECT 'customer ' || i, i * 1.25 FROM generate_series(1, {}) i;"
    if together == 0:
        server.sql(insert.format(rows), database=db)
    else:
        server.sql(f"DO $$ BEGIN FOR n IN 1..{rows // together} LOOP {insert.format(together)} COMMIT; END LOOP; END $$", database=db)
    return server.sql("SELECT pg_current_wal_flush_lsn()")[0][0]


def bare(server, db, end):
    """Seconds and CPU seconds of pg_recvlogical."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    program = server.bin / "pg_recvlogical"
    subprocess.run([program if program.exists() else "pg_recvlogical", "-d", server.conninfo(database=db), "-S", f"{db}_other",
                    "--start", "--endpos", end, "-o", "proto_version=1", "-o", "publication_names=p", "-f", "/dev/null"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic() - start, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def belfry(server, db, end, directory, rows):
    """Seconds, CPU seconds by process, and the memory of the source at its end in KiB."""
    daemon, psql = Daemon(directory), Psql(server, db)
    daemon.write(config(server, db, "http://127.0.0.1:9/"))
    slot = f"FROM pg_replication_slots WHERE slot_name = '{db}'"
    daemon.start(wait=False)
    wait_for(lambda: psql.ask(f"SELECT active {slot}") == ["t"], "the stream", 60)
    start = time.monotonic()
    wait_for(lambda: psql.ask(f"SELECT confirmed_flush_lsn >= '{end}' {slot}") == ["t"], "all in the queue", 600)
    took, pids = time.monotonic() - start, family(daemon)
    used = cpu_of(pids)
    text = Path(f"/proc/{pids['source-postgresql']}/smaps_rollup").read_text()
    memory = sum(int(l.split()[1]) for l in text.splitlines() if l.startswith(("Pss_Anon:", "Pss_Shmem:")))
    wait_for(lambda: daemon.sink()["depth"] == rows, "the queue's own count", 60)
    psql.stop()
    daemon.stop()
    return took, used, memory


def throughput(server, directory, rows, rounds):
    result = {}
    for shape, together in SHAPES.items():
        rates, bares, parts, bare_cpu, most = [], [], [], [], 0
        for i in range(rounds):
            db = f"b{time.monotonic_ns()}"
            prepare(server, db)
            end = write(server, db, rows, together)
            server.sql("CHECKPOINT")
            took, cpu = bare(server, db, end)
            bares.append(rows / took)
            bare_cpu.append(cpu / rows * 1e6)
            took, cpu, memory = belfry(server, db, end, directory / db, rows)
            rates.append(rows / took)
            parts.append({name: seconds / rows * 1e6 for name, seconds in cpu.items()})
            most = max(most, memory)
            server.sql(f"SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots; DROP DATABASE {db} WITH (FORCE)")
        result[shape] = {"rows_per_second": statistics.median(rates), "pg_recvlogical_rows_per_second": statistics.median(bares),
                         "ratio": statistics.median(a / b for a, b in zip(rates, bares)),
                         "pg_recvlogical_cpu_us_per_row": statistics.median(bare_cpu),
                         **{f"cpu_us_per_row {k}": statistics.median(p[k] for p in parts) for k in parts[0]},
                         "source_memory_kib": most}
    return result


def latency(server, directory, n):
    """From the statement and from the answer to its commit until the request is there, in ms."""
    receiver, arrived, sent, answered = Receiver(), {}, {}, {}

    def answer(request):
        arrived[request.event["data"]["new"]["id"]] = time.monotonic()
        return 200
    receiver.answer = answer
    db = f"b{time.monotonic_ns()}"
    prepare(server, db)
    daemon, psql = Daemon(directory), Psql(server, db)
    daemon.write(config(server, db, receiver.url))
    daemon.start(seconds=60)
    for i in range(1, n + 1):
        sent[i] = time.monotonic()
        psql.ask("INSERT INTO t (customer, total) VALUES ('one', 1)")
        answered[i] = time.monotonic()
        while i not in arrived:
            time.sleep(0.0002)
            assert time.monotonic() < answered[i] + 60, f"row {i} did not come: {daemon.status()}"
        time.sleep(0.005)  # paced, as in life
    daemon.stop()
    receiver.stop()
    psql.stop()
    found = {}
    for name, since in (("commit", answered), ("statement", sent)):
        times = sorted((arrived[i] - since[i]) * 1e3 for i in since)
        found |= {f"{name}_to_request_p50_ms": times[n // 2], f"{name}_to_request_p99_ms": times[int(n * 0.99)]}
    return found


def barrier(directory, n=100):
    """What one write that is waited for costs on the disk of the store, ms."""
    times, path = [], directory / "barrier"
    fd = os.open(path, os.O_CREAT | os.O_WRONLY)
    for i in range(n):
        start = time.monotonic()
        os.pwrite(fd, b"x" * 4096, i * 4096)
        os.fdatasync(fd)
        times.append((time.monotonic() - start) * 1e3)
    os.close(fd)
    return statistics.median(times)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    p.add_argument("--rows", type=int, default=200000, help="of a round")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--commits", type=int, default=300, help="whose time to the request is taken")
    p.add_argument("--json", default="bench-postgresql.json", help="where the figures go")
    o = p.parse_args()
    server = Server(max_wal_size="4GB", autovacuum="off")
    try:
        with tempfile.TemporaryDirectory(prefix="belfry-bench.") as d, \
                tempfile.TemporaryDirectory(prefix="belfry-bench.", dir="/dev/shm") as memory:
            result = {"rows": o.rows, "rounds": o.rounds, "date": time.strftime("%F"), "processors": os.cpu_count(),
                      "load_at_start": os.getloadavg()[0], "postgresql": server.major}
            result |= latency(server, Path(d) / "latency", o.commits) | {"disk_barrier_p50_ms": barrier(Path(d))}
            result |= {f"store_in_memory_{k}": v for k, v in latency(server, Path(memory), o.commits).items()}
            result |= throughput(server, Path(d), o.rows, o.rounds)
    finally:
        server.remove()
    for name, value in result.items():
        if isinstance(value, dict):
            print(name)
            for part, figure in value.items():
                print(f"    {part:38} {figure:.2f}")
        else:
            print(f"{name:42} {value:.2f}" if isinstance(value, float) else f"{name:42} {value}")
    Path(o.json).write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
