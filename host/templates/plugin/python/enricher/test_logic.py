import unittest

import logic


class Enricher(unittest.TestCase):
    config = logic.read_config({"owners": '{"web": "frontend"}'})

    def test_the_owner_is_added(self):
        for data in [{"branch": "main"}, None]:
            self.assertEqual(logic.patch_of("web", data, self.config), {"owner": "frontend"})

    def test_events_of_other_projects_and_data_that_is_no_object_stay_as_they_are(self):
        self.assertIsNone(logic.patch_of("atlas", None, self.config))
        self.assertIsNone(logic.patch_of("web", [1, 2], self.config))

    def test_a_configuration_that_makes_no_sense_is_refused(self):
        for entries in [{}, {"ownrs": "{}"}, {"owners": "web"}]:
            with self.assertRaises(ValueError):
                logic.read_config(entries)
