import unittest

import logic


class ClassifyDuration(unittest.TestCase):
    def setUp(self):
        self.durations = logic.Durations({"fields": '["duration_s", "took_s"]'})

    def classify(self, seconds, kind=("web", "ci_passing")):
        return self.durations.classify(kind, {"duration_s": seconds})

    def test_what_is_usual_is_learned_first(self):
        for _ in range(logic.LEAST):
            self.assertEqual(self.classify(100), {"text": "1 min 40 s"})
        for seconds, expected in [(100, "usual"), (40, "fast"), (201, "slow"), (401, "very_slow")]:
            duration = self.classify(seconds)
            self.assertEqual((duration["class"], duration["usual"]), (expected, "1 min 40 s"))

    def test_kinds_are_learned_apart(self):
        for _ in range(logic.LEAST):
            self.classify(100)
        self.assertNotIn("class", self.classify(100, ("atlas", "ci_passing")))

    def test_a_new_normal_becomes_usual(self):
        for seconds in [100] * logic.LEAST + [500] * logic.SAMPLES:
            self.classify(seconds)
        self.assertEqual(self.classify(500)["class"], "usual")

    def test_durations_read_as_people_say_them(self):
        for seconds, expected in [
            (0, "0.0 s"),
            (2.34, "2.3 s"),
            (59.6, "1 min"),
            (427.6, "7 min 8 s"),
            (3_600, "1 h"),
            (90_000, "1 d 1 h"),
        ]:
            self.assertEqual(logic.in_words(seconds), expected)

    def test_what_is_no_duration_is_passed_over(self):
        for data in [None, [1], {}, {"duration_s": "long"}, {"duration_s": -1}, {"took_s": True}]:
            self.assertIsNone(self.durations.classify(("web", "x"), data))
        self.assertIsNone(self.durations.classify(("web", "x"), {"duration_s": 1, "duration": "?"}))

    def test_memory_stays_bounded(self):
        for n in range(logic.KINDS + 10):
            self.classify(1, ("web", f"custom.{n}"))
        self.assertEqual(len(self.durations.kinds), logic.KINDS)

    def test_a_configuration_that_makes_no_sense_is_refused(self):
        for entries in [{"field": "x"}, {"fields": "[]"}, {"slow": "1"}, {"slow": "5"}, {"slow": "x"}]:
            with self.assertRaises(ValueError):
                logic.Durations(entries)
