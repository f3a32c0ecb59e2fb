"""What became of notifications is said in words, sorted by outcome and number, and each code leads to its rows."""

from worker.dashboard import ended


def test_outcomes_have_words_and_the_parts_by_which_the_log_knows_them() -> None:
    counts = {
        "accepted": 90.0, "dropped": 5.0, "dropped.expired": 4.0, "dropped.PayloadTooLarge": 1.0, "retry.connect: refused": 7.0,
        "limited.earlier": 3.0, "parked.status_403": 2.0, "accept_seconds.urgent.3": 9.0, "skipped.online": 8.0, "retired.x": 0.0,
    }  # fmt: skip
    assert [(one.words, one.outcome, one.reason, one.number) for one in ended.outcomes(counts)] == [
        ("Accepted", "accepted", None, 90),
        ("Held back, its provider is stopped", "parked", "status_403", 2),
        ("Given up: too old by then", "dropped", "expired", 4),
        ("Given up: refused by the provider", "dropped", "PayloadTooLarge", 1),
        ("To be tried again", "retry", "connect: refused", 7),
    ]


def test_skips_are_sorted_by_number_and_whole_messages_come_last() -> None:
    counts = {"skipped.sender": 2.0, "skipped.online": 8.0, "skipped_message.skip_push": 9.0, "skipped.a_new_one": 1.0}
    assert [(one.words, one.code, one.number) for one in ended.skips(counts)] == [
        ("Online at that moment", "online", 8),
        ("Wrote it", "sender", 2),
        ("A new one", "a_new_one", 1),
        ("Nobody: it says skip_push", "skip_push", 9),
    ]
