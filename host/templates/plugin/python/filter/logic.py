"""Drops events whose message begins with a configured text."""


def read_config(entries):
    """Reads the sidecar's [config]. A ValueError says what is wrong with it."""
    unknown = entries.keys() - {"prefix"}
    if unknown:
        raise ValueError(f"unknown key {min(unknown)} (there is: prefix)")
    if not entries.get("prefix"):
        raise ValueError("prefix is missing or empty")
    return entries


def reason_to_drop(event, config):
    """Why the event is dropped; None when it is kept."""
    if event.message.startswith(config["prefix"]):
        return f"begins with {config['prefix']}"
    return None
