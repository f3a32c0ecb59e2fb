"""Times and texts as the pages show them."""

from datetime import UTC, datetime

from worker.dashboard import text


def test_a_time_in_a_sentence_is_shown_as_every_time_and_one_that_is_none_stays():
    now = datetime.now(UTC).replace(microsecond=367_000)
    written = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    shown = text.prose(f"accepted by <APNs>, {written}, 2 ms after it was sent; 2026-02-31T10:00:00Z")
    assert f'<time datetime="{written}">{now:%H:%M:%S}.367</time>' in shown
    assert "accepted by &lt;APNs&gt;, " in shown
    assert "; 2026-02-31T10:00:00Z" in shown


def test_what_a_sentence_quotes_is_shown_as_it_is_spelt():
    assert text.prose('"><svg onload=x>\u202e') == "&#34;&gt;&lt;svg onload=x&gt;\\u202e"
