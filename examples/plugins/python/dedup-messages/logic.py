"""Tells messages that differ in their numbers only."""

import re
from collections import OrderedDict
from datetime import datetime

PRIORITIES = ["info", "action", "urgent", "critical"]
# Memory stays bounded: the oldest go first.
MOST = 10_000
# Numbers, and what is made of them: versions, times, percentages, identifiers.
NUMBERS = re.compile(
    r"\b(?:0x[0-9a-f]+|(?=[0-9a-f]*\d)[0-9a-f]+(?:[.:-][0-9a-f]+)*)\b", re.IGNORECASE
)


def shape(message):
    """What is left of a message without its numbers."""
    return NUMBERS.sub("#", " ".join(message.split()))


class Messages:
    """The messages of the last while."""

    def __init__(self, entries):
        """Reads the sidecar's [config]. A ValueError says what is wrong with it."""
        unknown = entries.keys() - {"window_seconds", "keep"}
        if unknown:
            raise ValueError(f"unknown key {min(unknown)} (there are: window_seconds, keep)")
        window = entries.get("window_seconds", "60")
        if not window.isdecimal() or not 1 <= int(window) <= 86_400:
            raise ValueError(f"window_seconds: {window} is no whole number from 1 to 86400")
        keep = entries.get("keep", "urgent")
        if keep not in PRIORITIES:
            raise ValueError(f"keep: {keep} is not one of {', '.join(PRIORITIES)}")
        self.window = int(window)
        self.keep = PRIORITIES.index(keep)
        self.seen = OrderedDict()

    def reason_to_drop(self, who, priority, timestamp, message):
        """Why the event is dropped; None when it is kept, and stands for those like it."""
        if not message or PRIORITIES.index(priority) >= self.keep:
            return None
        now = datetime.fromisoformat(timestamp.replace("Z", "+00:00")).timestamp()
        key = (*who, shape(message))
        last = self.seen.get(key)
        # Events may come in another order than that in which they happened.
        if last is not None and abs(now - last) < self.window:
            return f"like one {abs(now - last):.0f} s before"
        self.seen[key] = now
        self.seen.move_to_end(key)
        if len(self.seen) > MOST:
            self.seen.popitem(last=False)
        return None
