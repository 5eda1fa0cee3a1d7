#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes a text file as a NUL-terminated C array: embed.py NAME IN OUT."""
import sys

name, source, target = sys.argv[1:]
with open(source, "rb") as f:
    text = f.read()
if b"\0" in text:
    sys.exit(f"{source}: holds a NUL byte")
rows = [text[i:i + 16] for i in range(0, len(text), 16)]
with open(target, "w", encoding="ascii") as f:
    f.write(f"// Made from {source.rsplit('/', 1)[-1]}; do not edit.\n")
    f.write(f"extern const char {name}[];\nconst char {name}[] = {{\n")
    for row in rows:
        f.write("        " + " ".join(f"{b if b < 128 else b - 256}," for b in row) + "\n")
    f.write("        0,\n};\n")
