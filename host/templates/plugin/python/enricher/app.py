"""The border to the host: hands events over, and answers in the contract's words."""

import json

from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.exports.enricher import Patch
from wit_world.exports.guest import Description
from wit_world.imports import store
from wit_world.imports.types import Priority

import logic

config = None


class Guest(exports.Guest):
    def describe(self):
        return Description(
            version="0.1.0",
            summary="adds the team that owns a project",
            subscribe=[],
            min_priority=Priority.INFO,
        )

    def configure(self):
        global config
        try:
            config = logic.read_config(dict(store.get_all()))
        except ValueError as error:
            raise Err(str(error))


class Enricher(exports.Enricher):
    def enrich(self, events):
        """One result an event, in the same order: Ok(None) leaves the event as it is."""
        return [Ok(patch(event)) for event in events]


def patch(event):
    data = logic.patch_of(event.project_id, json.loads(event.data), config)
    if data is None:
        return None
    return Patch(priority=None, message=None, data=json.dumps(data))
