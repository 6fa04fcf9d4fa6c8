"""The border to the host: hands events over, and answers in the contract's words."""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.guest import Description
from wit_world.exports.reaction import Action_Emit, Emission
from wit_world.imports import store
from wit_world.imports.types import Priority

import logic

config = None


class Guest(exports.Guest):
    def describe(self):
        return Description(
            version="0.1.0",
            summary="pages somebody about urgent events",
            subscribe=[],
            min_priority=Priority.URGENT,
        )

    def configure(self):
        global config
        try:
            config = logic.read_config(dict(store.get_all()))
        except ValueError as error:
            raise Err(str(error))


class Reaction(exports.Reaction):
    def react(self, delivery):
        """What is to be done. To have the event delivered again: raise Err(Failure_Retry("why"))."""
        message = logic.page_for(delivery.event, config)
        if message is None:
            return []
        page = Emission(
            event_type=logic.PAGE,
            priority=Priority.ACTION,
            session_id=None,
            project_id=None,
            message=message,
            data=json.dumps({"to": config["to"], "seq": delivery.seq}),
        )
        return [Action_Emit(page)]
