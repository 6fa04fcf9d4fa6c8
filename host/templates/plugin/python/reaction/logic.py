"""Pages somebody when an event wants immediate attention."""

# What is emitted. The sidecar has to grant its subject.
PAGE = "custom.page"


def read_config(entries):
    """Reads the sidecar's [config]. A ValueError says what is wrong with it."""
    unknown = entries.keys() - {"to"}
    if unknown:
        raise ValueError(f"unknown key {min(unknown)} (there is: to)")
    if not entries.get("to"):
        raise ValueError("to is missing or empty")
    return entries


def page_for(event, config):
    """What the page says; None for no page."""
    if event.event_type == PAGE:
        return None
    return f"{config['to']}: {event.event_type}: {event.message}"
