"""Learns how long things take, and says which took longer."""

import json
from collections import OrderedDict, deque
from statistics import median

# So many are needed to call anything usual, and so many are remembered.
LEAST, SAMPLES = 5, 51
# Kinds of things that are learned; the ones longest unseen go first.
KINDS = 1_000


class Durations:
    """What is usual, by kind."""

    def __init__(self, entries):
        """Reads the sidecar's [config]. A ValueError says what is wrong with it."""
        unknown = entries.keys() - {"fields", "slow", "very_slow"}
        if unknown:
            raise ValueError(f"unknown key {min(unknown)} (there are: fields, slow, very_slow)")
        self.fields = json.loads(entries.get("fields", '["duration_s"]'))
        if not isinstance(self.fields, list) or not self.fields:
            raise ValueError("fields: a list of names is needed")
        self.slow = float(entries.get("slow", 2))
        self.very_slow = float(entries.get("very_slow", 4))
        if not 1 < self.slow < self.very_slow:
            raise ValueError("slow has to be more than 1, and very_slow more than slow")
        self.kinds = OrderedDict()

    def classify(self, kind, data):
        """What to add as `duration`; None when nothing was measured."""
        if not isinstance(data, dict) or "duration" in data:
            return None
        field = next((field for field in self.fields if field in data), None)
        seconds = data.get(field)
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or seconds < 0:
            return None
        samples = self.kinds.setdefault((*kind, field), deque(maxlen=SAMPLES))
        self.kinds.move_to_end((*kind, field))
        if len(self.kinds) > KINDS:
            self.kinds.popitem(last=False)
        duration = {"text": in_words(seconds)}
        if len(samples) >= LEAST:
            usual = median(samples)
            duration["usual"] = in_words(usual)
            duration["class"] = self.compare(seconds, usual)
        samples.append(seconds)
        return duration

    def compare(self, seconds, usual):
        if seconds > usual * self.very_slow:
            return "very_slow"
        if seconds > usual * self.slow:
            return "slow"
        return "fast" if seconds < usual / self.slow else "usual"


def in_words(seconds):
    """As people say it: two units at most."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    units = [(whole // 86_400, "d"), (whole // 3_600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    first = next(index for index, (count, _) in enumerate(units) if count)
    return " ".join(f"{count} {unit}" for count, unit in units[first : first + 2] if count)
