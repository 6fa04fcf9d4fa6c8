"""The border to the host."""

import json

from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.exports.enricher import Patch
from wit_world.exports.guest import Description
from wit_world.imports import store
from wit_world.imports.types import Priority

import logic

durations = None


class Guest(exports.Guest):
    def describe(self):
        return Description(
            version="0.1.0",
            summary="says whether something took longer than usual",
            subscribe=[],
            min_priority=Priority.INFO,
        )

    def configure(self):
        global durations
        try:
            durations = logic.Durations(dict(store.get_all()))
        except ValueError as error:
            raise Err(str(error))


class Enricher(exports.Enricher):
    def enrich(self, events):
        return [Ok(patch(event)) for event in events]


def patch(event):
    kind = (event.project_id, event.event_type)
    duration = durations.classify(kind, json.loads(event.data))
    if duration is None:
        return None
    is_bad = duration.get("class") == "very_slow" and event.priority == Priority.INFO
    return Patch(
        priority=Priority.ACTION if is_bad else None,
        message=None,
        data=json.dumps({"duration": duration}),
    )
