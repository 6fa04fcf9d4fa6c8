import unittest

import logic


class DedupMessages(unittest.TestCase):
    def setUp(self):
        self.messages = logic.Messages({})

    def judge(self, message, second=0, session="s-1", priority="info"):
        return self.messages.reason_to_drop(
            who=("web", session, "activity_changed"),
            priority=priority,
            timestamp=f"2026-08-03T09:{second // 60:02}:{second % 60:02}.000000Z",
            message=message,
        )

    def test_the_steps_of_a_progress_are_one_message_a_minute(self):
        self.assertIsNone(self.judge("compiled 10 of 200 files (5 %)"))
        self.assertEqual(self.judge("compiled 90 of 200 files (45 %)", 10), "like one 10 s before")
        self.assertEqual(self.judge("compiled 200 of 200  files (100 %)", 59), "like one 59 s before")
        self.assertIsNone(self.judge("compiled 10 of 300 files (3 %)", 60))

    def test_identifiers_versions_and_times_are_numbers(self):
        self.assertEqual(logic.shape("pushed fa66bb7d123e at 09:30:01"), "pushed # at #")
        self.assertEqual(logic.shape("1.2.3 of 0xff"), "# of #")
        self.assertEqual(
            logic.shape("id 0198f2c0-7a52-7000-8000-3c6a0f6f1e11."), "id #."
        )

    def test_words_are_none(self):
        self.assertEqual(logic.shape("added a cafe facade to v2beta"), "added a cafe facade to v2beta")

    def test_other_words_sessions_and_urgent_news_are_kept(self):
        self.assertIsNone(self.judge("step 1"))
        self.assertIsNone(self.judge("stage 1"))
        self.assertIsNone(self.judge("step 2", session="s-2"))
        self.assertIsNone(self.judge("step 3", priority="urgent"))

    def test_memory_stays_bounded(self):
        for n in range(logic.MOST + 10):
            self.judge(f"word {'x' * (n % 100)} {'y' * (n // 100)}")
        self.assertEqual(len(self.messages.seen), logic.MOST)

    def test_a_configuration_that_makes_no_sense_is_refused(self):
        for entries in [{"windw": "1"}, {"window_seconds": "0"}, {"keep": "loud"}]:
            with self.assertRaises(ValueError):
                logic.Messages(entries)
