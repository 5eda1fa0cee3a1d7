# SPDX-License-Identifier: MIT
"""Every row of every option table is used by a test that runs the programs: a row that nobody sets
may as well not work. Modules are asked for their rows; the tests of a module are those that name it."""
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = Path(os.environ.get("BELFRY_BUILD_DIR", ROOT / "build-asan"))
MODULES = sorted(p for kind in ("source", "sink") for p in BUILD.glob(f"belfry-{kind}-*") if p.is_file() and os.access(p, os.X_OK))
TESTS = {p: p.read_text() for d in ("e2e", "fault") for p in (ROOT / "tests" / d).rglob("*.py")}
BEING_BUILT = {"postgresql"}  # its tests come with its parts
TABLES = ["store", "limits", "log", "control", "sinks", "rules"]


def names(schema):
    """The options of a schema, those inside of groups and of lists of groups as "group.name"."""
    found = []
    for name, row in schema.get("properties", {}).items():
        inner = [row, *row.get("anyOf", [])]
        inner += [i.get("items", {}) for i in inner]
        inner += [a for i in inner for a in i.get("anyOf", [])]
        below = {n for i in inner for n in names(i)}
        found += sorted(f"{name}.{n}" for n in below) or [name]
    return found


def schema(*arguments):
    out = subprocess.run([BUILD / "belfry-docgen", "schema", *arguments], capture_output=True, text=True, check=True).stdout
    return names(json.loads(out))


def unused(options, texts):
    """Set as libconfig has it (name = ...), as a keyword of a test's helper (name=...), or in JSON."""
    return [o for o in options
            if not any(re.search(rf"\b{re.escape(o.split('.')[-1])}\b\"?\s*[=:]", text) for text in texts)]


@pytest.mark.parametrize("program", MODULES, ids=lambda p: p.name)
def test_rows_of_modules(program):
    options = schema(program)
    module = program.name.split("-", 2)[2]
    texts = [t for p, t in TESTS.items() if module in p.name or f'module = "{module}"' in t]
    assert options and texts, f"no test names {program.name}"
    if module in BEING_BUILT and unused(options, texts):
        pytest.xfail(f"not yet: {unused(options, texts)}")
    assert not unused(options, texts), f"options of {program.name} that no test in tests/e2e or tests/fault sets"


@pytest.mark.parametrize("table", TABLES)
def test_rows_of_the_hub(table):
    assert not unused(schema("common", table), TESTS.values()), f"options of {table} that no test in tests/e2e or tests/fault sets"
