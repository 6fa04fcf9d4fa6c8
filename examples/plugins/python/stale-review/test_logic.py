import unittest

import logic


class StaleReview(unittest.TestCase):
    def setUp(self):
        self.reviews = logic.Reviews({"hours": "4", "reminders": "2"})

    def see(self, event_type, hour, pr=7, project="web"):
        data = {"pr": pr, "reviewer": "tamarind"} if pr else None
        time = f"2026-08-0{1 + hour // 24}T{hour % 24:02}:00:00.000000Z"
        self.reviews.see(event_type, project, "s-1", time, data)
        return [message for _, message, _ in self.reviews.due()]

    def test_a_review_that_nobody_begins_is_reminded_of_and_then_left_alone(self):
        self.assertEqual(self.see("review_pending", 0), [])
        self.assertEqual(self.see("node_health_check", 3, pr=None), [])
        self.assertEqual(self.see("node_health_check", 4, pr=None), ["#7 has waited 4 h for tamarind"])
        self.assertEqual(self.see("node_health_check", 5, pr=None), [])
        self.assertEqual(self.see("node_health_check", 9, pr=None), ["#7 has waited 9 h for tamarind"])
        self.assertEqual(self.see("node_health_check", 30, pr=None), [])

    def test_whoever_begins_ends_the_waiting(self):
        for end in sorted(logic.ENDS):
            self.see("review_pending", 0)
            self.see(end, 1)
            self.assertEqual(self.see("node_health_check", 12, pr=None), [], end)
            self.setUp()

    def test_a_pull_request_is_one_of_its_project(self):
        self.see("review_pending", 0)
        self.see("review_approved", 1, project="atlas")
        self.assertEqual(len(self.see("node_health_check", 4, pr=None)), 1)

    def test_a_leap_in_time_is_one_reminder_and_a_late_event_turns_nothing_back(self):
        self.see("review_pending", 0)
        self.assertEqual(self.see("pr_updated", 20, pr=8), ["#7 has waited 20 h for tamarind"])
        self.assertEqual(self.see("pr_updated", 1, pr=8), [])

    def test_an_event_has_no_more_reminders_than_the_host_takes(self):
        for pr in range(1, 41):
            self.see("review_pending", 0, pr=pr)
        self.assertEqual(len(self.see("node_health_check", 4, pr=None)), logic.ACTIONS)
        self.assertEqual(len(self.see("node_health_check", 4, pr=None)), 40 - logic.ACTIONS)

    def test_a_configuration_that_makes_no_sense_is_refused(self):
        for entries in [{"hour": "4"}, {"hours": "0"}, {"reminders": "0"}, {"hours": "soon"}]:
            with self.assertRaises(ValueError):
                logic.Reviews(entries)
