# SPDX-License-Identifier: MIT
"""The command's table, its manual page, its completion and the control interface say the same."""
import re
import subprocess
from pathlib import Path

import pytest
from harness import BUILD

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "man/belfry.1"
COMPLETION = (ROOT / "etc/bash-completion/belfry").read_text()
IDL = (ROOT / "src/hub/io.belfry.Control.varlink").read_text()
TABLE = (ROOT / "src/hub/control_methods.c").read_text()


def help_of(*words):
    r = subprocess.run([BUILD / "belfry", *words, "--help"], capture_output=True, text=True)
    assert r.returncode == 0, r.stderr
    return r.stdout


def commands():
    listed = help_of().split("Commands:\n")[1].split("\n\n")[0]
    return [re.match(r"  ((?:[a-z]+ )+)", line).group(1).strip() for line in listed.splitlines()]


@pytest.fixture(scope="module")
def page():
    r = subprocess.run(["mandoc", "-T", "ascii", "-O", "width=500", PAGE], capture_output=True, text=True, check=True)
    return re.sub(r".\x08", "", r.stdout)


def test_help_names_every_command():
    assert len(commands()) >= 20 and "dead retry" in commands()


def test_every_command_and_option_is_documented(page):
    for words in commands():
        assert re.search(rf"^ +{words}\b", page, re.M), f"belfry.1 lacks {words}"
        for option in re.findall(r"^  --([a-z-]+)", help_of(*words.split()), re.M):
            assert f"--{option}" in page, f"belfry.1 lacks --{option} of {words}"
            assert re.search(rf"--{option}\b", COMPLETION), f"completion lacks --{option} of {words}"
        for word in words.split():
            assert re.search(rf"\b{word}\b", COMPLETION), f"completion lacks {words}"


def test_exit_codes_are_documented(page):
    enum = re.findall(r"STATUS_\w+ = (\d)", (ROOT / "src/cli/command.h").read_text())
    section = page.split("EXIT STATUS")[1].split("EXAMPLES")[0]
    assert enum == re.findall(r"^ +(\d) ", section, re.M)


def test_completion_is_bash():
    assert subprocess.run(["bash", "-n", ROOT / "etc/bash-completion/belfry"]).returncode == 0
    script = f"source {ROOT}/etc/bash-completion/belfry; COMP_WORDS=(belfry dead re); COMP_CWORD=2; _belfry; echo ${{COMPREPLY[*]}}"
    assert subprocess.run(["bash", "-c", script], capture_output=True, text=True).stdout.strip() == "retry"


def test_interface_is_the_table():
    documented = {}
    for roles, name, parameters in re.findall(r"^# \[([a-z, ]+)\][^\n]*\n(?:#[^\n]*\n)*method (\w+)\(([^)]*)\)", IDL, re.M):
        names = [p.split(":")[0].strip() for p in parameters.split(",") if p.strip()]
        documented[name] = (roles.split(",")[0], "more" in roles, names)
    tables = {n: re.findall(r'"(\w+)"', body) for n, body in re.findall(r"ControlParameter (\w+)\[\] = \{(.*?)\};", TABLE, re.S)}
    built = {}
    rows = re.findall(r'\{"(\w+)", CONTROL_(READ|ADMIN), (true|false), (\w+), \w+\}', TABLE)
    for name, role, streams, parameters in rows:
        built[name] = (role.lower(), streams == "true", tables.get(parameters, []))
    assert len(built) >= 19 and documented == built
