# SPDX-License-Identifier: MIT
"""Holds events against the JSON Schema that their dataschema names, as `belfry modules` prints it. A
field that no table declares is a fault as well: the manual would not know it."""
import functools
import json
import subprocess
from datetime import datetime

from harness import BUILD

NAMES = {"string": str, "number": (int, float), "boolean": bool, "array": list, "object": dict, "null": type(None)}
URN = "urn:belfry:event:"


def modules(*words):
    out = subprocess.run([BUILD / "belfry", "--runtime-dir", "/nonexistent", "modules", *words, "--json"], capture_output=True,
                         text=True, check=True).stdout
    return json.loads(out)


@functools.cache
def all_schemas():
    """URN -> schema, of every module that is built."""
    types = [t for m in modules() if m["kind"] == "source" for t in modules(m["name"])["types"]]
    return {t["dataschema"]["$id"]: t["dataschema"] for t in types}


def check(schema, value, where):
    """As much of JSON Schema as is generated, and nothing undeclared."""
    types = schema.get("type")
    if types:
        fits = [t for t in ([types] if isinstance(types, str) else types) if isinstance(value, NAMES[t])]
        assert fits and not (isinstance(value, bool) and fits == ["number"]), f"{where}: {value!r} is no {types}"
    if schema.get("format") == "date-time" and value is not None:
        datetime.fromisoformat(value)
    properties = schema.get("properties")
    if isinstance(value, dict) and properties is not None:
        for key, inner in value.items():
            assert key in properties, f"{where}.{key} is in no field table"
            check(properties[key], inner, f"{where}.{key}")


def check_event(event):
    """A CloudEvents object as it was received. Types of tests' own modules have schemas nobody here knows."""
    urn = event.get("dataschema")
    if urn is None or (urn not in all_schemas() and event["type"].startswith(("asked.", "rogue."))):
        return
    assert urn.startswith(f"{URN}{event['type']}:"), event
    assert urn in all_schemas(), f"no module has {urn}"
    check(all_schemas()[urn], event["data"], event["type"])


def check_data(event_type, data):
    check_event({"type": event_type, "data": data, "dataschema": f"{URN}{event_type}:1"})


def check_requests(requests):
    """All events among the bodies that a receiver got."""
    for request in requests:
        try:
            event = json.loads(request.body)
        except ValueError:
            continue
        if isinstance(event, dict) and "specversion" in event:
            check_event(event)
