# SPDX-License-Identifier: MIT
"""What the tree promises about itself: includes point down, files and functions stay small, banned
calls stay out, each header stands alone."""
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
LAYERS = {"base": 0, "link": 1, "event": 1, "config": 2, "rule": 3, "store": 3, "module": 4, "hub": 5, "cli": 5}
SOURCES = sorted(p for d in ("src", "sources", "sinks") for p in (ROOT / d).rglob("*.[ch]"))
BANNED = re.compile(r"\b(gets|strcpy|strcat|sprintf|vsprintf|strncpy|atoi|atol|atof|system|popen|tmpnam|mktemp|alloca|setjmp)\s*\(")
MAY_POINT = {("config", "event"), ("module", "link"), ("module", "config")}


def name(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_includes_point_down(path):
    parts = path.relative_to(ROOT).parts
    own = LAYERS[parts[1]] if parts[0] == "src" else 5
    for line in path.read_text().splitlines():
        m = re.match(r'#include "([a-z]+)/', line)
        if m and m.group(1) in LAYERS:
            other = m.group(1)
            same = parts[0] == "src" and parts[1] == other
            assert same or LAYERS[other] < own, f"{name(path)} includes {line}"


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_size(path):
    lines = path.read_text().splitlines()
    limit = 600 if path.suffix == ".c" else 190
    assert len(lines) <= limit, f"{name(path)} has {len(lines)} lines"
    if path.suffix != ".c":
        return
    start = None
    for i, line in enumerate(lines):
        if line == "{":
            start = i
        elif line == "}" and start is not None:
            assert i - start <= 80, f"{name(path)}:{start} is a function of {i - start} lines"
            start = None


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_licence_and_essay(path):
    lines = path.read_text().splitlines()
    assert lines[0] == "// SPDX-License-Identifier: MIT" and lines[1].startswith("// "), name(path)


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_banned_calls(path):
    for i, line in enumerate(path.read_text().splitlines(), 1):
        code = re.sub(r'"(\\.|[^"\\])*"', '""', line).split("//")[0]
        assert not BANNED.search(code), f"{name(path)}:{i}: {line.strip()}"
        assert not re.search(r"\b(TODO|FIXME|XXX)\b", line), f"{name(path)}:{i}"
        assert not re.search(r"\bgoto\b", code), f"{name(path)}:{i}"


def test_headers_stand_alone(tmp_path):
    headers = [p for p in SOURCES if p.suffix == ".h"]
    flags = ["-std=gnu17", "-D_GNU_SOURCE", '-DBELFRY_VERSION="x"', "-I", str(ROOT / "src"),
             "-fsyntax-only", "-x", "c"]
    bad = []
    for h in headers:
        extra = ["-I", str(h.parent)]
        r = subprocess.run(["gcc", *flags, *extra, "-"], input=f'#include "{h}"\n', capture_output=True, text=True)
        if r.returncode:
            bad.append(f"{name(h)}: {r.stderr.splitlines()[0] if r.stderr else ''}")
    assert not bad, "\n".join(bad)


def test_links_of_documents():
    for doc in ROOT.glob("*.md"):
        for target in re.findall(r"\]\(([^)#]+)", doc.read_text()):
            if not target.startswith("http"):
                assert (ROOT / target).exists(), f"{doc.name}: {target}"


def test_examples_load():
    build = os.environ.get("BELFRY_BUILD_DIR")
    assert build
    for example in sorted((ROOT / "doc/examples").glob("*.conf")) + [ROOT / "etc/belfry.conf"]:
        r = subprocess.run([f"{build}/belfry", "check", str(example)], capture_output=True, text=True)
        assert r.returncode == 0, f"{example}: {r.stdout}{r.stderr}"


def checked_print(path):
    r = subprocess.run([os.environ["BELFRY_BUILD_DIR"] + "/belfry", "check", "--print", path], capture_output=True, text=True)
    assert r.returncode == 0, r.stderr
    return r.stdout


def test_examples_print_and_load_again(tmp_path):
    """check --print: what it says is a configuration that is understood in the same way."""
    for example in sorted((ROOT / "doc/examples").glob("*.conf")) + [ROOT / "etc/belfry.conf"]:
        (tmp_path / "belfry.conf").write_text(checked_print(example))
        assert checked_print(tmp_path / "belfry.conf") == (tmp_path / "belfry.conf").read_text()


def manual_examples():
    """The configurations that stand in the manual pages, as the reader sees them."""
    for page in sorted((ROOT / "man").glob("*.[1-8]")):
        blocks = re.findall(r"^\.(?:EX|nf|Bd -literal.*)\n(.*?)^\.(?:EE|fi|Ed)", page.read_text(), re.S | re.M)
        for n, block in enumerate(blocks):
            if re.search(r"^(sources|sinks|rules) = ", block, re.M):
                text = block.replace("\\-", "-").replace("\\e", "\\")
                yield pytest.param(text, id=f"{page.name}-{n}")


@pytest.mark.parametrize("text", manual_examples())
def test_manual_examples_load(text, tmp_path):
    """What an example leaves out stands in another of its page: a source, a sink."""
    for name, module in (("uploads", 'module = "inotify"; paths = [ "/srv/uploads" ]'),
                         ("ops", 'module = "http"; url = "https://hooks.example.com/ops"')):
        table = "sources" if name == "uploads" else "sinks"
        if not re.search(rf"^{table} = ", text, re.M):
            text += f"\n{table} = {{ {name} = {{ {module}; }}; }};\n"
    (tmp_path / "belfry.conf").write_text(text)
    r = subprocess.run([os.environ["BELFRY_BUILD_DIR"] + "/belfry", "check", tmp_path / "belfry.conf"],
                       capture_output=True, text=True)
    assert r.returncode == 0, r.stderr


@pytest.mark.parametrize("page", sorted((ROOT / "man").glob("*.[1-8]")), ids=lambda p: p.name)
def test_manual_pages_are_well_formed(page):
    r = subprocess.run(["mandoc", "-T", "lint", "-W", "error", str(page)], capture_output=True, text=True)
    assert r.returncode == 0, r.stdout
