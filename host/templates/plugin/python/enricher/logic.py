"""Adds the team that owns a project to its events."""

import json


def read_config(entries):
    """Reads the sidecar's [config]: texts come as they are, anything else as JSON.

    A ValueError says what is wrong with it.
    """
    unknown = entries.keys() - {"owners"}
    if unknown:
        raise ValueError(f"unknown key {min(unknown)} (there is: owners)")
    if "owners" not in entries:
        raise ValueError("owners is missing")
    return {"owners": json.loads(entries["owners"])}


def patch_of(project_id, data, config):
    """What to merge into the event's data; None when there is nothing to add."""
    owner = config["owners"].get(project_id)
    # A merge patch would make an object of anything else.
    if owner is None or not (data is None or isinstance(data, dict)):
        return None
    return {"owner": owner}
