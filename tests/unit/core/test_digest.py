"""What a digest says: counts of what is unread, within every payload's limit, in many languages."""

import json

import pytest

from worker.core import burst_phrases, digest_payload, digest_phrases
from worker.core.digest import (
    Conversation,
    Count,
    Digest,
    Kept,
    Pending,
    conversation,
    digest_of,
    line_of,
    message_key,
    pending,
)
from worker.core.digest_phrases import digest_phrase, digest_title

SEVERAL = Digest(12, 3, [Count(id, 3, 1) for id in "abcd"])


def kept(*times: int, called: bool = False) -> list[Kept]:
    return [Kept(at, message_key(f"m-{at}"), called) for at in times]


def digest(*conversations: Conversation, **known: object) -> Digest:
    given = {"read": {}, "deleted": {}, "unwanted": ()} | known
    return digest_of(Pending(0.0, conversations, known.pop("further", (0, 0))), **given)  # type: ignore[arg-type]


def test_stored_counts_are_read() -> None:
    lines = [Kept(5, "aa" * 8, called=False), Kept(6, "bb" * 8, called=True)]
    stored = {
        conversation("general"): "7 2\n" + "\n".join(map(line_of, lines)),
        conversation("general", "root"): "1 0\n" + line_of(lines[0]),
        "\nend": "1795291200.5",
        "\nfurther": "3 1",
        "\ncounted": "11",
    }
    found = pending(stored)
    assert found == Pending(
        1795291200.5,
        [Conversation("general", "", 7, 2, lines), Conversation("general", "root", 1, 0, lines[:1])],
        (3, 1),
    )
    assert [one.name for one in found.conversations] == ["general", "general\nroot"]


@pytest.mark.parametrize(
    ("read", "deleted", "expected"),
    [
        pytest.param(0, [], (5, 2, False), id="nothing was read"),
        pytest.param(11, [], (2, 1, False), id="up to one that is kept"),
        pytest.param(13, [], (0, 0, False), id="all"),
        pytest.param(5, [], (3, 1, True), id="up to one that is not kept"),
        pytest.param(0, ["m-12"], (4, 2, False), id="one is deleted"),
    ],
)
def test_what_is_unread_is_counted(read: int, deleted: list[str], expected: tuple[int, int, bool]) -> None:
    """Of five messages the last three are kept, the last of which calls the user."""
    one = Conversation("general", "", 5, 2, [*kept(11, 12), *kept(13, called=True)])
    found = digest(one, read={"general": read}, deleted={"general": [message_key(id) for id in deleted]})
    assert (found.messages, found.mentions, found.more) == expected


def test_a_thread_is_read_by_itself_and_counts_for_its_channel() -> None:
    channel = Conversation("general", "", 2, 0, kept(1, 2))
    thread = Conversation("general", "root", 1, 1, kept(3, called=True))
    assert digest(channel, thread).channels == [Count("general", 3, 1)]
    assert digest(channel, thread, read={"general": 9}).channels == [Count("general", 1, 1)]
    assert digest(channel, thread, unwanted=["general\nroot"]).channels == [Count("general", 2, 0)]


def test_what_goes_beyond_is_counted_while_anything_is_unread() -> None:
    one = Conversation("general", "", 1, 0, kept(1))
    found = digest_of(Pending(0.0, [one], (9, 2)), {}, {}, ())
    assert (found.messages, found.mentions) == (10, 2)
    assert digest_of(Pending(0.0, [one], (9, 2)), {"general": 1}, {}, ()).messages == 0


@pytest.mark.parametrize(
    ("locale", "text"),
    [
        pytest.param("en", "12 new messages in 4 conversations, 3 mention you", id="en"),
        pytest.param("de-AT", "12 neue Nachrichten in 4 Unterhaltungen, 3 erwähnen dich", id="de"),
        pytest.param("ru", "12 новых сообщений в 4 беседах, упоминаний о вас: 3", id="ru"),
        pytest.param("lt", "Naujos žinutės: 12; pokalbiai: 4, jūsų paminėjimai: 3", id="lt"),
        pytest.param("tlh", "12 new messages in 4 conversations, 3 mention you", id="not known"),
        pytest.param(None, "12 new messages in 4 conversations, 3 mention you", id="none"),
    ],
)
def test_it_speaks_the_language_of_the_device(locale: str | None, text: str) -> None:
    assert digest_phrase(SEVERAL, locale) == text


def test_it_knows_every_language_of_a_burst() -> None:
    assert digest_phrases.PHRASES.keys() == burst_phrases.PHRASES.keys()
    for language in digest_phrases.PHRASES:
        assert "3" in digest_phrase(SEVERAL, language)
        assert digest_title(language)


def test_one_message_is_one() -> None:
    assert digest_phrase(Digest(1, 1, [Count("a", 1, 1)]), "en") == "1 new message, 1 mentions you"
    assert digest_phrase(Digest(20, 0, [Count("a", 20, 0)], more=True), "en") == "20+ new messages"


def test_names_that_are_too_long_go_before_the_numbers() -> None:
    channels = [Count(f"{n}" + "\u4e00" * 254, 9, 1) for n in range(5)]
    names = {one.channel: '"' * 255 for one in channels}
    found = digest_payload.render(Digest(45, 5, channels), names, "digest:" + "u" * 255 + ":1", 1.0, "de").payload(9)
    assert len(found) <= digest_payload.LARGEST
    said = json.loads(found)
    numbers = said["carillon"]["digest"]
    assert (numbers["messages"], said["aps"]["badge"]) == (45, 9)
    assert len(numbers.get("channels", ())) + numbers["rest"] == 5
