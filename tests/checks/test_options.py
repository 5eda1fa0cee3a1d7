# SPDX-License-Identifier: MIT
"""Every row of every option table is set by a test that runs the programs: a row that nobody sets may
as well not work. Modules are asked for their rows. What a test sets is read from its syntax tree: the
configurations among its texts, with the table and the instance's module in which a setting stands, and
for a module's own tests the options that they hand over as keywords or dictionaries. What stands in a
comment, a default or a comparison sets nothing."""
import ast
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = Path(os.environ.get("BELFRY_BUILD_DIR", ROOT / "build-asan"))
MODULES = sorted(p for kind in ("source", "sink") for p in BUILD.glob(f"belfry-{kind}-*") if p.is_file() and os.access(p, os.X_OK))
TESTS = sorted(p for d in ("e2e", "fault") for p in (ROOT / "tests" / d).rglob("*.py"))
TABLES = ["store", "limits", "log", "control", "sinks", "rules"]
ROOTS = {*TABLES, "sources"}
TOKEN = re.compile(r'#[^\n]*|//[^\n]*|"(?:\\.|[^"\\])*"|([A-Za-z*][\w*-]*)\s*[=:](?!=)|[{}()\[\]]')


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


def paths_of_text(text):
    """(path, value) of each setting in a piece of configuration; groups in lists add nothing to a path."""
    stack, pending, found = [], None, []
    for m in TOKEN.finditer(text):
        token = m.group()
        if m.group(1):
            pending = m.group(1)
            found.append([(*(s for s in stack if s), pending), None])
        elif token in "{([":
            stack.append(pending)
            pending = None
        elif token in "})]":
            stack[-1:] = []
        elif token[0] == '"' and pending:
            found[-1][1], pending = token[1:-1], None
    return found


def facts_of_text(text):
    """What is set: (table, module or None, option), and (None, None, option) where the table is not in the text."""
    settings = paths_of_text(text)
    modules = {p[:2]: v for p, v in settings if len(p) == 3 and p[0] in ("sources", "sinks") and p[2] == "module"}
    for path, _ in settings:
        if path[0] in ("sources", "sinks"):
            yield path[0], modules.get(path[:2]), ".".join(path[2:])
        elif path[0] in ROOTS and len(path) > 1:
            yield path[0], None, ".".join(path[1:])
        else:
            yield None, None, ".".join(path)


def keys_of(node, prefix=""):
    if isinstance(node, (ast.List, ast.Tuple)):
        for element in node.elts:
            yield from keys_of(element, prefix)
    elif isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values):
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                yield prefix + key.value
                yield from keys_of(value, f"{prefix}{key.value}.")


def facts_of_file(source):
    """The facts of all texts of a file, and the names it hands over (keywords, keys of dictionaries)."""
    facts, handed = set(), set()

    def walk(node):
        if isinstance(node, ast.Compare) or (isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "DEFAULTS"):
            return
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            facts.update(facts_of_text(node.value))
        if isinstance(node, ast.JoinedStr):
            facts.update(facts_of_text("".join(str(v.value) if isinstance(v, ast.Constant) else '"hole"' for v in node.values)))
            for value in node.values:
                if isinstance(value, ast.FormattedValue):
                    walk(value)
            return
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                if keyword.arg:
                    handed.add(keyword.arg)
                    handed.update(keys_of(keyword.value, f"{keyword.arg}."))
        if isinstance(node, ast.Dict):
            handed.update(keys_of(node))
        for child in ast.iter_child_nodes(node):
            walk(child)
    walk(ast.parse(source))
    return facts, handed


FACTS = {p: facts_of_file(p.read_text()) for p in TESTS}
ROWS = {**{(t, None): schema("common", t) for t in TABLES},
        **{(p.name.split("-")[1] + "s", p.name.split("-", 2)[2]): schema(p) for p in MODULES}}


def unused(table, module, facts=FACTS):
    """The rows of a table that nothing sets. A setting whose table is not in the text counts where only
    one table has a row of that name, and in a module's own tests for that module."""
    def is_set(option):
        shared = sum(option in rows for rows in ROWS.values()) > 1
        for path, (found, handed) in facts.items():
            own = module is not None and module in path.name
            if any(t == table and o == option and module in (None, m) for t, m, o in found):
                return True
            if (None, None, option) in found and (own or not shared):
                return True
            if own and option in handed:
                return True
        return False
    return [o for o in ROWS[table, module] if not is_set(o)]


@pytest.mark.parametrize("table,module", ROWS, ids=lambda x: str(x))
def test_each_row_is_set_by_a_test(table, module):
    assert ROWS[table, module]
    assert unused(table, module) == [], f"options of {module or table} that no test in tests/e2e or tests/fault sets"


def test_a_row_that_no_test_sets_is_found(monkeypatch):
    """The check itself: a row of a new name, and one that another table has too, are missed everywhere."""
    for table, module in ROWS:
        monkeypatch.setitem(ROWS, (table, module), ["no_such_row"])
        assert unused(table, module) == ["no_such_row"]
        monkeypatch.undo()
    monkeypatch.setitem(ROWS, ("limits", None), ["size", "settle", "paths"])
    assert unused("limits", None) == ["size", "settle", "paths"]
    text = 'x = "# settle = 1"\nassert o == {"settle": 1}\nDEFAULTS = {"settle": 1}\nsettle = 2'
    assert unused("sources", "inotify", {Path("test_inotify.py"): facts_of_file(text)}) == ROWS["sources", "inotify"]
    text = 'x = \'sources = { a = { module = "timer"; settle = "1s"; }; b = { module = "inotify"; hash = "none"; }; };\''
    left = unused("sources", "inotify", {Path("test_x.py"): facts_of_file(text)})
    assert "settle" in left and "hash" not in left
