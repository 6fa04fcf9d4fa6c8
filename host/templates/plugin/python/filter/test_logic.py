import unittest
from types import SimpleNamespace

import logic


class Filter(unittest.TestCase):
    def test_only_what_begins_with_the_prefix_is_dropped(self):
        config = logic.read_config({"prefix": "debug:"})

        def judge(message):
            return logic.reason_to_drop(SimpleNamespace(message=message), config)

        self.assertEqual(judge("debug: tick"), "begins with debug:")
        self.assertIsNone(judge("deployed"))
        self.assertIsNone(judge("not debug: this"))

    def test_a_configuration_that_makes_no_sense_is_refused(self):
        for entries in [{}, {"prefix": ""}, {"prefx": "debug:"}]:
            with self.assertRaises(ValueError):
                logic.read_config(entries)
