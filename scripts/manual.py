#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Puts the generated option and event lists into a manual page: each line `.\\" @OPTIONS NAME@` or
`.\\" @EVENTS NAME@` is replaced by what belfry-docgen prints for it; `@EVENTS all@` is the catalogue of all sources.

Usage: manual.py DOCGEN PROGRAM_DIR PAGE OUTPUT"""
import glob
import os
import re
import subprocess
import sys


def docgen(program, *arguments):
    return subprocess.run([program, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def as_man(text):
    """The few mdoc macros of docgen as man(7) ones, for pages written in those."""
    out, depth = [], 0
    for line in text.splitlines():
        item = re.match(r'\.It (?:Cm|Sy|Va) "?([^"]+)"?(?: No = Ar "(.*)"| Pq "?([^"]*)"?)?$', line)
        if line.startswith(".Bl"):
            depth += 1
            out += [".RS"] if depth > 1 else []
        elif line.startswith(".El"):
            depth -= 1
            out += [".RE"] if depth else [".PP"]
        elif item:
            value = (item.group(2) or "").replace('""', '"')
            out += [".TP", f"\\fB{item.group(1)}\\fR" + (f" = \\fI{value}\\fR" if value else "")
                    + (f" ({item.group(3)})" if item.group(3) else "")]
        else:
            out.append(line)
    return "\n".join(out) + "\n"


def main():
    tool, directory, page, output = sys.argv[1:]
    programs = {p.rsplit("-", 1)[1]: p for kind in ("source", "sink") for p in sorted(glob.glob(f"{directory}/belfry-{kind}-*"))
                if os.access(p, os.X_OK) and os.path.isfile(p)}

    def generated(match):
        what, name, table = match.group(1), match.group(2), match.group(3)
        if name == "common":
            tables = {"sink": ["sinks"], "hub": ["store", "limits", "log", "control"], "rule": ["rules"]}[table]
            return "".join(f".Ss {t}\n" * (len(tables) > 1) + docgen(tool, "man", "common", t) for t in tables)
        if name == "all":  # the catalogue
            sources = {n: p for n, p in programs.items() if "/belfry-source-" in p}
            return docgen(tool, "catalogue", "common") + "".join(
                f".Sh EVENTS OF {n.upper()}\n" + docgen(tool, "catalogue", p) for n, p in sources.items())
        return docgen(tool, "man" if what == "OPTIONS" else "events", programs[name])

    text = open(page).read()
    man7 = re.search(r"^\.TH ", text, re.M)
    text = re.sub(r'^\.\\" @(OPTIONS|EVENTS) (\w+)(?: (\w+))?@\n', lambda m: as_man(generated(m)) if man7 else generated(m), text,
                  flags=re.M)
    assert "@OPTIONS" not in text and "@EVENTS" not in text, f"{page}: a marker that is not understood"
    open(output, "w").write(re.sub(r"^\.PP\n(?=\.S[HS])", "", text, flags=re.M))


if __name__ == "__main__":
    main()
