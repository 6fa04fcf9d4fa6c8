"""The border to the host."""

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.filter import Verdict_Drop, Verdict_Keep
from wit_world.exports.guest import Description
from wit_world.imports import store
from wit_world.imports.types import Priority

import logic

messages = None


class Guest(exports.Guest):
    def describe(self):
        return Description(
            version="0.1.0",
            summary="hides messages that say the same again with other numbers",
            subscribe=["ennio.sessions.>"],
            min_priority=Priority.INFO,
        )

    def configure(self):
        global messages
        try:
            messages = logic.Messages(dict(store.get_all()))
        except ValueError as error:
            raise Err(str(error))


class Filter(exports.Filter):
    def filter(self, events):
        return [verdict(event) for event in events]


def verdict(event):
    reason = messages.reason_to_drop(
        who=(event.project_id, event.session_id, event.event_type),
        priority=event.priority.name.lower(),
        timestamp=event.timestamp,
        message=event.message,
    )
    return Verdict_Keep() if reason is None else Verdict_Drop(reason)
