"""A process keeps a message of a channel once in a while."""

from worker.state.recent import AGAIN, MOST_CHANNELS, Kept


def test_another_message_of_a_channel_is_kept_after_a_while():
    kept, general = Kept(), ("demo", "general")
    assert kept.is_due(general, 100.0)
    assert not kept.is_due(general, 100.0 + AGAIN - 1)
    assert kept.is_due(("demo", "other"), 101.0)
    assert kept.is_due(general, 100.0 + AGAIN)
    assert kept.is_due(general, 50.0), "the clock was set back"


def test_it_remembers_a_bounded_number_of_channels():
    kept = Kept()
    for n in range(MOST_CHANNELS + 1):
        kept.is_due(("demo", f"c{n}"), 100.0)
    assert kept.is_due(("demo", "c0"), 101.0)
