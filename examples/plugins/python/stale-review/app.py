"""The border to the host."""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.guest import Description
from wit_world.exports.reaction import Action_Emit, Emission
from wit_world.imports import store
from wit_world.imports.types import Priority

import logic

reviews = None


class Guest(exports.Guest):
    def describe(self):
        return Description(
            version="0.1.0",
            summary="reminds of reviews that nobody began",
            subscribe=["ennio.review.>", "ennio.pr.>", "ennio.merge.>", "ennio.node.>"],
            min_priority=Priority.INFO,
        )

    def configure(self):
        global reviews
        try:
            reviews = logic.Reviews(dict(store.get_all()))
        except ValueError as error:
            raise Err(str(error))


class Reaction(exports.Reaction):
    def react(self, delivery):
        event = delivery.event
        reviews.see(
            event.event_type, event.project_id, event.session_id, event.timestamp, json.loads(event.data)
        )
        return [Action_Emit(reminder(*due)) for due in reviews.due()]


def reminder(review, message, data):
    return Emission(
        event_type="custom.stale_review",
        priority=Priority.ACTION,
        session_id=review.session,
        project_id=review.project,
        message=message,
        data=json.dumps(data),
    )
