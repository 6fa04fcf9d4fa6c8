"""Remembers which pull requests wait for a review, and since when."""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

# Memory stays bounded: the oldest go first.
MOST = 5_000
# The contract's limit of actions for one event; the rest come with the next one.
ACTIONS = 32
# Somebody has begun, or nobody has to any more.
ENDS = {
    "review_approved",
    "review_changes_requested",
    "review_comments_sent",
    "pr_merged",
    "pr_closed",
    "merge_completed",
}


@dataclass
class Review:
    project: str
    session: str
    pr: int
    reviewer: str
    since: float
    reminded: int = 0


class Reviews:
    """The reviews that are waited for."""

    def __init__(self, entries):
        """Reads the sidecar's [config]. A ValueError says what is wrong with it."""
        unknown = entries.keys() - {"hours", "reminders"}
        if unknown:
            raise ValueError(f"unknown key {min(unknown)} (there are: hours, reminders)")
        self.hours = float(entries.get("hours", 4))
        self.reminders = int(entries.get("reminders", 3))
        if not self.hours > 0 or self.reminders < 1:
            raise ValueError("hours has to be more than 0, and reminders at least 1")
        self.now = 0.0
        self.waiting = OrderedDict()

    def see(self, event_type, project, session, timestamp, data):
        """Sees one event, and what time it is by now."""
        time = datetime.fromisoformat(timestamp.replace("Z", "+00:00")).timestamp()
        # A late event does not turn time back.
        self.now = max(self.now, time)
        pr = data.get("pr") if isinstance(data, dict) else None
        if not isinstance(pr, int):
            return
        if event_type in ENDS:
            self.waiting.pop((project, pr), None)
        elif event_type == "review_pending":
            reviewer = str(data.get("reviewer", "a reviewer"))
            self.waiting[project, pr] = Review(project, session, pr, reviewer, time)
            if len(self.waiting) > MOST:
                self.waiting.popitem(last=False)

    def due(self):
        """The reminders that are due: each with its review, message and data."""
        found = []
        for review in self.waiting.values():
            hours = (self.now - review.since) / 3600
            if review.reminded < self.reminders and hours >= self.hours * (review.reminded + 1):
                # Time may have leapt; one reminder says it all.
                review.reminded = min(int(hours // self.hours), self.reminders)
                message = f"#{review.pr} has waited {hours:.0f} h for {review.reviewer}"
                data = {"pr": review.pr, "reviewer": review.reviewer, "reminder": review.reminded}
                found.append((review, message, data))
                if len(found) == ACTIONS:
                    break
        return found
