import unittest
from types import SimpleNamespace

import logic


class Reaction(unittest.TestCase):
    config = logic.read_config({"to": "on-call"})

    def test_an_urgent_event_becomes_one_page(self):
        event = SimpleNamespace(event_type="node_disconnected", message="build-01 is gone")
        expected = "on-call: node_disconnected: build-01 is gone"
        self.assertEqual(logic.page_for(event, self.config), expected)

    def test_a_page_is_not_paged_about(self):
        event = SimpleNamespace(event_type="custom.page", message="")
        self.assertIsNone(logic.page_for(event, self.config))

    def test_a_configuration_that_makes_no_sense_is_refused(self):
        for entries in [{}, {"too": "on-call"}]:
            with self.assertRaises(ValueError):
                logic.read_config(entries)
