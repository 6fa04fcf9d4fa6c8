"""The border to the host: hands events over, and answers in the contract's words."""

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.filter import Verdict_Drop, Verdict_Keep
from wit_world.exports.guest import Description
from wit_world.imports import store
from wit_world.imports.types import Priority

import logic

config = None


class Guest(exports.Guest):
    def describe(self):
        return Description(
            version="0.1.0",
            summary="drops events by their beginning",
            subscribe=[],
            min_priority=Priority.INFO,
        )

    def configure(self):
        global config
        try:
            config = logic.read_config(dict(store.get_all()))
        except ValueError as error:
            raise Err(str(error))


class Filter(exports.Filter):
    def filter(self, events):
        """One verdict an event, in the same order."""
        reasons = [logic.reason_to_drop(event, config) for event in events]
        return [Verdict_Keep() if reason is None else Verdict_Drop(reason) for reason in reasons]
