"""Every rule of every field: a document that breaks it is refused, by the name of the field and what to do."""

import json
from typing import Any

import pytest

from producers import MAX_DOCUMENT, EventError, decode, encode
from producers.documents import document as written
from producers.events import Message, MessageNew
from tests.unit.producers.examples import (
    ACTIVITY,
    CALL,
    DEVICE,
    EVERY_TYPE,
    MESSAGE,
    MISSING,
    PREFERENCES,
    PUSH,
    QUIET,
    changed,
)

MEMBERS = EVERY_TYPE[3]


def nested(levels: int) -> Any:
    inside: Any = 1
    for _ in range(levels):
        inside = {"a": inside}
    return inside


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        pytest.param(changed(MESSAGE, v=MISSING), "v: required, but missing", id="no version"),
        pytest.param(changed(MESSAGE, v=2), "v: 2 is not supported; this release reads v 1", id="a later version"),
        pytest.param(changed(MESSAGE, v="1"), "v: '1' is not supported", id="the version as a string"),
        pytest.param(changed(MESSAGE, v=True), "v: True is not supported", id="the version as a flag"),
        pytest.param(changed(MESSAGE, v=2, new_thing=1), "v: 2 is not", id="the version explains an unknown field"),
        pytest.param(changed(MESSAGE, type=MISSING), "type: required, but missing", id="no type"),
        pytest.param(changed(MESSAGE, type=7), "type: expected a string", id="the type as a number"),
        pytest.param(
            changed(MESSAGE, type="reaction.new"),
            "type: 'reaction.new' is not known, and other chat events notify nobody; known are message.new, "
            "device.registered, device.unregistered, member.added, member.removed, members.replaced, "
            "channel.updated, user.muted, user.unmuted, "
            "badge.cleared, push.send, preferences.updated, quiet.updated, channel.read, message.updated, "
            "message.deleted, call.started, call.ended, activity.updated, ptt.speaking",
            id="S1 S19: another chat event never pushes",
        ),
        pytest.param(changed(MESSAGE, type="x" * 500), "type: 'xxxx", id="a type without end is cut"),
        pytest.param(changed(MESSAGE, id=MISSING), "id: required, but missing", id="no idempotency key"),
        pytest.param(changed(MESSAGE, id=""), "id: must not be empty", id="an empty id"),
        pytest.param(changed(MESSAGE, id="x" * 256), "id: at most 255 characters", id="an id too long"),
        pytest.param(changed(MESSAGE, id=None), "id: expected a string, got null", id="a null id"),
        pytest.param(changed(MESSAGE, id=17), "id: expected a string, got a whole number", id="a number as an id"),
        pytest.param(changed(MESSAGE, id="a\nb"), "id: must not have control characters", id="a line break in an id"),
        pytest.param(changed(MESSAGE, id="a\x7f"), "id: must not have control characters", id="a delete in an id"),
        pytest.param(changed(MESSAGE, id="a\x9b1m"), "id: must not have control", id="a C1 control in an id"),
        pytest.param(changed(MESSAGE, id="a\0"), "id: must not have a NUL", id="a NUL in an id"),
        pytest.param(changed(MESSAGE, id="a\ud800"), "id: half of a surrogate pair", id="half a character in an id"),
        pytest.param(changed(MESSAGE, app="a:b"), "app: must not have a colon", id="a colon in an app"),
        pytest.param(changed(MESSAGE, expires_at=MESSAGE["at"]), "expires_at: has to be later than at", id="no life"),
        pytest.param(
            changed(MESSAGE, expires_at="2026-11-21T20:59:59+01:00"),
            "expires_at: has to be later than at",
            id="over before it came",
        ),
        pytest.param(
            changed(MESSAGE, expires_at="0001-01-01T00:00:00Z"), "expires_at: the year must", id="its end's year"
        ),
        pytest.param(changed(MESSAGE, at=MISSING), "at: required, but missing", id="no time"),
        pytest.param(changed(MESSAGE, at="2026-11-21T20:00:00"), "at: expected a time with its offset", id="no offset"),
        pytest.param(changed(MESSAGE, at="yesterday"), "at: expected a time with its offset", id="a time in words"),
        pytest.param(changed(MESSAGE, at=1795291200), "at: expected a time with its offset", id="a UNIX time"),
        pytest.param(changed(MESSAGE, at="1969-12-31T00:00:00Z"), "at: the year must be from 1970", id="before 1970"),
        pytest.param(changed(MESSAGE, at="9999-12-31T23:59:59-12:00"), "at: the year must be", id="after all our time"),
        pytest.param(changed(MESSAGE, channel="c"), "channel: expected an object, got a string", id="a bare channel"),
        pytest.param(changed(MESSAGE, channel__id=MISSING), "channel.id: required, but missing", id="no channel id"),
        pytest.param(changed(MESSAGE, channel__name="n" * 256), "channel.name: at most 255", id="a name too long"),
        pytest.param(changed(MESSAGE, channel__name="a\0"), "channel.name: must not have a NUL", id="a NUL in a name"),
        pytest.param(changed(MESSAGE, message__text=5), "message.text: expected a string, got a whole n", id="no text"),
        pytest.param(
            changed(MESSAGE, message__text="x" * 40_001), "message.text: at most 40,000", id="a text too long"
        ),
        pytest.param(changed(MESSAGE, message__text="a\0b"), "message.text: must not have a NUL", id="a NUL in a text"),
        pytest.param(changed(MESSAGE, message__text="\udc00"), "message.text: half of a surr", id="half a character"),
        pytest.param(changed(MESSAGE, message__parent_id=3), "message.parent_id: expected a string or null", id="root"),
        pytest.param(changed(MESSAGE, message__skip_push=1), "message.skip_push: expected true or false", id="a flag"),
        pytest.param(
            changed(MESSAGE, message__kind="k\t"), "message.kind: must not have control", id="a tab in a kind"
        ),
        pytest.param(
            changed(MESSAGE, message__mentioned=["a", 5]), "message.mentioned[1]: expected a string", id="who is that"
        ),
        pytest.param(
            changed(MESSAGE, message__mentioned=["a", "b\0"]), "message.mentioned[1]: must not have a NUL", id="nobody"
        ),
        pytest.param(
            changed(MESSAGE, message__mentioned=["a"] * 10_001),
            "message.mentioned: at most 10,000 items",
            id="everybody",
        ),
        pytest.param(
            changed(MESSAGE, message__mentionned=[]),
            "message.mentionned: unknown field; known in message are id, text, parent_id, parent_sender, mentioned, "
            "mentions_everyone, mentions, reply_to, also_in_channel, urgency, kind, data, skip_push, category, badge, badges",
            id="a misspelt field",
        ),
        pytest.param(
            changed(MESSAGE, user="han"),
            "user: unknown field; known here are v, type, id, app, at, channel, message, sender, recipients",
            id="a field of another type",
        ),
        pytest.param(changed(MESSAGE, message__data=[]), "message.data: expected an object, got a list", id="data"),
        pytest.param(changed(MESSAGE, message__data=nested(17)), "message.data: nested too deeply", id="deep data"),
        pytest.param(changed(MESSAGE, message__data={"n": 2**63}), "message.data: a whole number must fit", id="2^63"),
        pytest.param(
            changed(MESSAGE, message__data={"n": "\0"}), "message.data: must not have a NUL", id="NUL in data"
        ),
        pytest.param(changed(MESSAGE, message__data={"\0": 1}), "message.data: must not have a NUL", id="NUL in a key"),
        pytest.param(
            changed(MESSAGE, message__data={str(n): n for n in range(257)}), "message.data: at most 256 keys", id="keys"
        ),
        pytest.param(changed(MESSAGE, sender__id=MISSING), "sender.id: required, but missing", id="no sender"),
        pytest.param(changed(MESSAGE, sender__image="x" * 2049), "sender.image: at most 2,048", id="an image too long"),
        pytest.param(changed(MESSAGE, recipients=["u"] * 10_001), "recipients: at most 10,000 items", id="recipients"),
        pytest.param(changed(MESSAGE, recipients=["u", ""]), "recipients[1]: must not be empty", id="no recipient"),
        pytest.param(changed(DEVICE, user=MISSING), "user: required, but missing", id="M1: a device of nobody"),
        pytest.param(changed(DEVICE, device__token=MISSING), "device.token: required, but missing", id="M1: no token"),
        pytest.param(changed(DEVICE, device__token="t" * 4097), "device.token: at most 4,096", id="a token too long"),
        pytest.param(
            changed(DEVICE, device__environment="prod"), "device.environment: expected production or", id="env"
        ),
        pytest.param(changed(DEVICE, device__locale="l" * 36), "device.locale: at most 35", id="a locale too long"),
        pytest.param(changed(DEVICE, device__locale="en\r"), "device.locale: must not have control", id="locale"),
        pytest.param(
            changed(DEVICE, device__attributes={str(n): n for n in range(65)}), "device.attributes: at most 64", id="65"
        ),
        pytest.param(
            changed(DEVICE, device__attributes={"n": -(2**63) - 1}), "device.attributes: a whole number", id="-2^63-1"
        ),
        pytest.param(changed(MEMBERS, users=[]), "users: must not be empty", id="no members"),
        pytest.param(changed(MEMBERS, users=["u"] * 10_001), "users: at most 10,000 items", id="members"),
        pytest.param(
            changed(EVERY_TYPE[5], channel__push_notifications="no"),
            "channel.push_notifications: expected true or false or null, got a string",
            id="S9: a switch in words",
        ),
        pytest.param(
            changed(PREFERENCES, level="loud"), "level: expected all, mentions, personal or none", id="a level"
        ),
        pytest.param(
            changed(PREFERENCES, triggers={"heer": True}),
            "triggers: no such key; known here are direct, mention, reply, thread,",
            id="a switch",
        ),
        pytest.param(changed(PREFERENCES, channel=None), "thread: needs a channel", id="a thread of no channel"),
        pytest.param(changed(PREFERENCES, thread=None), "following: needs a thread", id="following no thread"),
        pytest.param(
            changed(PREFERENCES, triggers={"thread": True}), "triggers.thread: following says the same", id="said twice"
        ),
        pytest.param(changed(PREFERENCES, keywords=["deploy"]), "keywords: only without a channel", id="keywords"),
        pytest.param(changed(PREFERENCES, enabled=False), "enabled: only without a channel", id="off in a channel"),
        pytest.param(changed(QUIET, notify=QUIET["quiet"]), "notify: not together with quiet", id="contradiction"),
        pytest.param(changed(QUIET, zone=None), "zone: required with quiet", id="no zone"),
        pytest.param(
            changed(QUIET, allow={"triggers": ["hear"]}),
            "allow.triggers[0]: expected direct, mention, reply, thread, group, here, everyone, keyword, reaction, message or "
            "call",
            id="no trigger",
        ),
        pytest.param(
            changed(PREFERENCES, channel=None, keywords=["a"]),
            "keywords[0]: at least 2 characters are needed",
            id="too short a keyword",
        ),
        pytest.param(
            changed(QUIET, quiet=[{"days": ["mon"], "from": "7:00", "to": "08:00"}]),
            "quiet[0].from: expected a time of the day, such as 07:30",
            id="half a time",
        ),
        pytest.param(
            changed(QUIET, quiet=[{"days": ["mon"], "from": "24:00", "to": "08:00"}]),
            "quiet[0].from: expected a time of the day",
            id="begins when the day is over",
        ),
        pytest.param(
            changed(QUIET, quiet=[{"days": ["mun"], "from": "07:00", "to": "08:00"}]),
            "quiet[0].days[0]: expected mon, tue,",
            id="no day",
        ),
        pytest.param(
            changed(QUIET, quiet=[{"days": ["mon"], "from": "07:00", "to": "07:00"}]),
            "quiet[0].to: the same as from; for the whole day say 00:00 to 24:00",
            id="an empty window",
        ),
        pytest.param(
            changed(QUIET, quiet=[{"days": ["mon", "mon"], "from": "07:00", "to": "08:00"}]),
            "quiet[0].days: names a day twice",
            id="a day twice",
        ),
        pytest.param(changed(CALL, call__id="call-1"), "call.id: expected a UUID", id="a call's id"),
        pytest.param(
            changed(CALL, expires_at="2026-11-21T20:01:01Z"),
            "expires_at: at most 60 seconds after at",
            id="a long call",
        ),
        pytest.param(changed(ACTIVITY, alert=None), "alert: required to start", id="a start without alert"),
        pytest.param(changed(ACTIVITY, user=None), "user: either this or channel", id="an activity of nobody"),
        pytest.param(
            changed(MESSAGE, message__mentions={"groups": [{"id": f"g{n}", "users": ["u"] * 5_001} for n in range(2)]}),
            "message.mentions.groups: 10,002 users",
            id="large groups",
        ),
        pytest.param(
            changed(MESSAGE, message__badges={"a\nb": 1}), "message.badges: must not have control", id="badges"
        ),
        pytest.param(
            changed(MESSAGE, message__reply_to={"message": "a\nb", "user": "u"}),
            "message.reply_to.message: must not have control",
            id="a quoted id",
        ),
        pytest.param(changed(DEVICE, device__purpose="call"), "device.purpose: expected alert, voip,", id="a purpose"),
        pytest.param(changed(DEVICE, device__purpose="activity"), "device.activity: names the", id="which activity"),
        pytest.param(changed(EVERY_TYPE[6], target=MISSING), "target: required, but missing", id="S5: muting nobody"),
    ],
)
def test_a_broken_rule_is_named_with_its_field(document: dict[str, Any], fault: str) -> None:
    with pytest.raises(EventError) as caught:
        decode(json.dumps(document))
    assert str(caught.value).startswith(fault)
    assert caught.value.field == fault.partition(":")[0]


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        pytest.param(b"", "document: empty", id="nothing"),
        pytest.param(b" \n", "document: empty", id="a blank line"),
        pytest.param(b"[]", "document: expected an object", id="a list"),
        pytest.param(b'"hello"', "document: expected an object", id="a string"),
        pytest.param(b'{"v": 1', "document: not JSON: it ends too early", id="cut off"),
        pytest.param(b'{"v": 1} {}', "document: not JSON: trailing characters", id="two documents"),
        pytest.param(b"{'v': 1}", "document: not JSON", id="single quotes"),
        pytest.param(b"\xef\xbb\xbf{}", "document: not JSON", id="a byte order mark"),
        pytest.param(
            b'{"v": 1, "type": "\xff"}', "document: not UTF-8; the first byte that is not is byte 18", id="8859"
        ),
        pytest.param("\ud800", "document: half of a surrogate pair", id="half a character in a str"),
        pytest.param(b"[" * 100_000, "document: ", id="brackets without end"),
        pytest.param(
            json.dumps(changed(MESSAGE, message__data={"n": float("nan")})).encode(),
            "document: not JSON: NaN and Infinity are not JSON at byte",
            id="NaN",
        ),
        pytest.param(
            json.dumps(MESSAGE).replace('"thing"', "1e999").encode(), "message.data[...]: a number is out", id="1e999"
        ),
        pytest.param(
            json.dumps(MESSAGE).replace('"thing"', "[" * 5_000 + "]" * 5_000).encode(),
            "document: nested too deeply",
            id="a stack bomb",
        ),
        pytest.param(
            b" " * (MAX_DOCUMENT + 1), "document: 1,048,577 bytes, at most 1,048,576 are taken", id="a byte too long"
        ),
        pytest.param("é" * (MAX_DOCUMENT // 2 + 1), "document: 1,048,578 bytes", id="bytes count, not characters"),
    ],
)
def test_what_is_no_document_at_all_is_refused_as_such(document: bytes | str, fault: str) -> None:
    with pytest.raises(EventError) as caught:
        decode(document)
    assert str(caught.value).startswith(fault)


@pytest.mark.parametrize(
    "document",
    [
        *[pytest.param(event, id=event["type"]) for event in EVERY_TYPE],
        pytest.param(changed(MESSAGE, message__text="two\nlines\ttab é 👋🏽 \u2028"), id="a text with line breaks"),
        pytest.param(changed(MESSAGE, message__text="C:\\u0000"), id="a backslash that only looks like a NUL"),
        pytest.param(changed(MESSAGE, message__text=""), id="an empty text"),
        pytest.param(changed(MESSAGE, message__text="👋" * 40_000), id="as long as a text may be"),
        pytest.param(changed(MESSAGE, id="ключ/キー/👨‍👩‍👧"), id="an id in any script"),
        pytest.param(changed(MESSAGE, sender__id="@leia:rebels.example"), id="a user with a colon"),
        pytest.param(changed(MESSAGE, at="2026-11-21T21:00:00+01:00"), id="another offset"),
        pytest.param(changed(MESSAGE, message__data={"n": 2**63 - 1, "m": -(2**63), "x": 1.5e300}), id="large numbers"),
        pytest.param(changed(MESSAGE, message__data={"a": nested(15)}), id="as deep as data may be"),
        pytest.param(changed(MESSAGE, message__data={"line": "a\nb"}), id="a line break in data"),
        pytest.param(changed(MESSAGE, recipients=[]), id="no recipients"),
        pytest.param(changed(MESSAGE, recipients=["u" * 50] * 10_000), id="as many recipients as may be"),
        pytest.param(
            {key: MESSAGE[key] for key in MESSAGE if key != "recipients"} | {"message": {"id": "m"}}, id="the least"
        ),
    ],
)
def test_what_keeps_the_rules_is_taken_and_comes_back_the_same(document: dict[str, Any]) -> None:
    event = decode(json.dumps(document))
    assert decode(encode(event)) == event
    assert decode(json.dumps(document, ensure_ascii=False)) == event


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        pytest.param({"text": "x" * 40_001}, "message.text: at most", id="a text too long"),
        pytest.param({"text": "\ud800"}, "document: half of a surrogate pair", id="half a character"),
        pytest.param({"data": {"n": float("nan")}}, "message.data: NaN and Infinity", id="NaN would turn into null"),
        pytest.param({"data": {"n": object()}}, "document: has no JSON form", id="an object"),
        pytest.param({"data": {"n": nested(2_000)}}, "message.data: nested too deeply", id="a stack bomb"),
    ],
)
def test_an_event_built_in_python_is_checked_when_it_is_encoded(message: dict[str, Any], fault: str) -> None:
    plain = decode(json.dumps(MESSAGE))
    assert isinstance(plain, MessageNew)
    built = MessageNew(
        id="e", app="demo", at=plain.at, channel=plain.channel, sender=plain.sender, message=Message(id="m", **message)
    )
    with pytest.raises(EventError) as caught:
        encode(built)
    assert str(caught.value).startswith(fault)


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        pytest.param(float("nan"), "document: NaN and Infinity", id="NaN would turn into null"),
        pytest.param([None, float("-inf")], "document: NaN and Infinity", id="and so would Infinity"),
        pytest.param(2**63, "message.data: a whole number must fit into 64 bits", id="without a sign it would fit"),
        pytest.param(2**64, "message.data: a whole number must fit into 64 bits", id="a number without end"),
        pytest.param(nested(20), "message.data: nested too deeply", id="a few levels too deep"),
        pytest.param(nested(5_000), "document: nested too deeply", id="a stack bomb"),
        pytest.param(object(), "document: has no JSON form", id="an object"),
    ],
)
def test_a_mapping_is_checked_when_it_is_published(value: Any, fault: str) -> None:
    plain = {name: of for name, of in MESSAGE.items() if of is not None}
    with pytest.raises(EventError) as caught:
        written({**plain, "message": {"id": "m", "data": {"n": value}}})
    assert str(caught.value).startswith(fault)


def test_no_fault_shows_the_text_the_token_or_the_data() -> None:
    secrets = {
        "message.text": changed(MESSAGE, message__text="s3cret\0"),
        "message.data": changed(MESSAGE, message__data={"s3cret": "s3cret\0"}),
        "device.token": changed(DEVICE, device__token="s3cret\n"),
        "device.attributes": changed(DEVICE, device__attributes={"s3cret": 2**64}),
        "device.environment": changed(DEVICE, device__environment="s3cret"),
    }
    for field, document in secrets.items():
        with pytest.raises(EventError) as caught:
            decode(json.dumps(document))
        assert caught.value.field == field
        assert "s3cret" not in str(caught.value)
        assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        pytest.param(changed(MESSAGE, message__badge="up"), "message.badge: expected increment, none or", id="a badge"),
        pytest.param(
            changed(MESSAGE, message__badge=-1), "message.badge: expected increment, none or", id="below nought"
        ),
        pytest.param(changed(PUSH, where=MISSING), "where: required, but missing", id="no query"),
        pytest.param(changed(PUSH, where={}), "where: names nobody; for every device of the app", id="an empty query"),
        pytest.param(
            changed(PUSH, where__everyone=True), "where.everyone: cannot stand beside user", id="all and some"
        ),
        pytest.param(
            changed(PUSH, where__users="x"), "where.users: unknown field; known in where", id="a misspelt query"
        ),
        pytest.param(changed(PUSH, where__user={"in": []}), "where.user.in: must not be empty", id="nobody in a list"),
        pytest.param(changed(PUSH, where__user={"inn": ["x"]}), "known in where.user are in", id="a misspelt in"),
        pytest.param(
            changed(PUSH, where__attributes__team=None), "where.attributes.team: expected a string", id="null"
        ),
        pytest.param(
            changed(PUSH, where__attributes__team={}), "where.attributes.team: must not be empty", id="nothing"
        ),
        pytest.param(
            changed(PUSH, where__attributes__level={"gtee": 3}),
            "where.attributes.level: no such comparison; known here are in, exists, lt, lte, gt, gte",
            id="a misspelt comparison",
        ),
        pytest.param(
            changed(PUSH, where__attributes__level={"lt": True}), "level.lt: expected a number", id="no order"
        ),
        pytest.param(
            changed(PUSH, where__attributes__level={"exists": 1}), "exists: expected true or false", id="exists"
        ),
        pytest.param(
            changed(PUSH, where__attributes__a={"in": []}), "a.in: expected a list of 1 to 1,000", id="in nothing"
        ),
        pytest.param(changed(PUSH, where__attributes__a={"in": [[]]}), "a.in[0]: expected a string", id="in lists"),
        pytest.param(changed(PUSH, where__attributes__a="x" * 1001), "a: at most 1,000 characters", id="a long value"),
        pytest.param(changed(PUSH, where__attributes={"": 1}), "where.attributes: a name has 1 to 255", id="no name"),
        pytest.param(changed(PUSH, where__attributes={str(n): 1 for n in range(17)}), "at most 16 keys", id="too many"),
        pytest.param(changed(PUSH, alert="x"), "alert: either alert or data is required, and not both", id="both"),
        pytest.param(changed(PUSH, data=MISSING), "alert: either alert or data is required", id="neither"),
        pytest.param(changed(PUSH, data=MISSING, alert=""), "alert: must not be empty", id="an empty text"),
        pytest.param(changed(PUSH, data=MISSING, alert={"body": ""}), "alert: must not be empty", id="an empty alert"),
        pytest.param(
            changed(PUSH, data__badge="increment"), 'data.badge: expected "Increment" or', id="a small letter"
        ),
        pytest.param(changed(PUSH, data__badge=True), "data.badge: expected", id="a badge that is a truth"),
        pytest.param(changed(PUSH, data__alert=7), "data.alert: expected a string or an object", id="an alert of 7"),
        pytest.param(changed(PUSH, data__sound=None), "data.sound: expected a string or an object", id="a null sound"),
        pytest.param(changed(PUSH, data__aps={}), "data.aps: put its keys into data itself", id="an aps"),
        pytest.param(changed(PUSH, data={"x": 1}), "data: has no alert, badge or sound", id="nothing to show"),
        pytest.param(changed(PUSH, data__uri="x" * 4096), "data: 4,", id="too large for Apple"),
        pytest.param(
            changed(PUSH, push_type="background"), "data.alert: a background push shows", id="a loud background"
        ),
        pytest.param(
            changed(PUSH, push_type="widgets"),
            "push_type: expected alert, background, voip, liveactivity or pushtotalk",
            id="another type",
        ),
        pytest.param(changed(PUSH, priority=7), "priority: expected 1, 5 or 10", id="another priority"),
        pytest.param(
            changed(PUSH, push_type="background", data={"x": 1}, priority=10),
            "priority: a background push has 5",
            id="loud",
        ),
        pytest.param(changed(PUSH, collapse_id="ü"), "collapse_id: only visible ASCII", id="a collapse id"),
        pytest.param(
            changed(PUSH, collapse_id=" match-7"), "collapse_id: begins or ends with a blank", id="a blank before it"
        ),
        pytest.param(
            changed(PUSH, collapse_id="match-7 "), "collapse_id: begins or ends with a blank", id="a blank after it"
        ),
        pytest.param(changed(PUSH, send_at="2026-12-31T00:00:00Z"), "send_at: at most 30 days after at", id="too far"),
        pytest.param(changed(PUSH, send_at="soon"), "send_at: expected a time with its offset", id="soon"),
        pytest.param(changed(PUSH, expires_at=PUSH["at"]), "expires_at: has to be later", id="over before it begins"),
        pytest.param(
            changed(EVERY_TYPE[8], others=False, device=None), "others: false needs a device", id="others than nobody"
        ),
    ],
)
def test_P2_P3_a_push_or_a_badge_that_breaks_a_rule_is_refused_by_its_field(
    document: dict[str, Any], fault: str
) -> None:
    with pytest.raises(EventError) as refused:
        decode(json.dumps(document))
    assert fault in str(refused.value)
