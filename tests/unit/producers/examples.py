"""One plain document of each kind, from which a row of a table changes only what it is about."""

import json
from typing import Any

AT = "2026-11-21T20:00:00.123Z"
ENVELOPE = {"v": 1, "id": "evt-1", "app": "demo", "at": AT}

MESSAGE: dict[str, Any] = {
    **ENVELOPE,
    "type": "message.new",
    "channel": {"id": "messaging:general", "name": "General"},
    "message": {
        "id": "msg-1",
        "text": "hello",
        "parent_id": None,
        "parent_sender": None,
        "mentioned": ["han"],
        "skip_push": False,
        "kind": "regular",
        "data": {"any": "thing"},
    },
    "sender": {"id": "leia", "name": "Leia Organa", "image": "https://example.com/leia.png"},
    "recipients": None,
}
DEVICE: dict[str, Any] = {
    **ENVELOPE,
    "type": "device.registered",
    "user": "han",
    "device": {
        "token": "ab" * 32,
        "provider": "apns",
        "environment": "production",
        "locale": "en-GB",
        "attributes": {"tier": 2},
    },
}
#: As `JSON.stringify(subscription)` writes it.
BROWSER: dict[str, Any] = {
    **ENVELOPE,
    "type": "device.registered",
    "user": "han",
    "device": {
        "platform": "web",
        "subscription": {
            "endpoint": "https://updates.push.services.mozilla.com/wpush/v2/gAAAAABl-Vm",
            "expirationTime": None,
            "keys": {
                "p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
                "auth": "BTBZMqHH6r4Tts7J_aSIgg",
            },
        },
    },
}
PREFERENCES: dict[str, Any] = {
    **ENVELOPE,
    "type": "preferences.updated",
    "user": "han",
    "channel": {"id": "c"},
    "thread": "msg-1",
    "level": "mentions",
    "triggers": {"here": False, "keyword": True},
    "following": True,
    "muted_until": AT,
}
QUIET: dict[str, Any] = {
    **ENVELOPE,
    "type": "quiet.updated",
    "user": "han",
    "zone": "Europe/Berlin",
    "quiet": [{"days": ["mon", "sun"], "from": "22:00", "to": "07:00"}],
    "pause_until": AT,
    "allow": {"urgent": False, "triggers": ["direct", "call"], "users": ["leia"], "channels": ["ops"]},
    "after": "nothing",
    "badge": "silent",
}
CALL: dict[str, Any] = {
    **ENVELOPE,
    "type": "call.started",
    "at": "2026-11-21T20:00:00Z",
    "call": {"id": "7d444840-9dc0-11d1-b245-5ffdce74fad2", "video": True, "data": {"room": 7}},
    "channel": {"id": "c", "name": "C", "kind": "group"},
    "caller": {"id": "leia", "name": "Leia"},
    "recipients": ["han", "luke"],
    "expires_at": "2026-11-21T20:00:30Z",
}
ACTIVITY: dict[str, Any] = {
    **ENVELOPE,
    "type": "activity.updated",
    "activity": "game-1",
    "user": {"in": ["han"]},
    "event": "start",
    "state": {"score": [1, 0]},
    "attributes_type": "Game",
    "attributes": {"home": "red"},
    "alert": {"title": "Kick-off"},
}
EVERY_TYPE: tuple[dict[str, Any], ...] = (
    MESSAGE,
    DEVICE,
    {**ENVELOPE, "type": "device.unregistered", "device": {"token": "ab" * 32}, "user": None},
    {**ENVELOPE, "type": "member.added", "channel": {"id": "c"}, "users": ["han", "leia"]},
    {**ENVELOPE, "type": "member.removed", "channel": {"id": "c"}, "users": ["han"]},
    {**ENVELOPE, "type": "channel.updated", "channel": {"id": "c", "name": "C", "push_notifications": False}},
    {**ENVELOPE, "type": "user.muted", "user": "han", "target": "leia"},
    {**ENVELOPE, "type": "user.unmuted", "user": "han", "target": "leia"},
    {**ENVELOPE, "type": "badge.cleared", "user": "han", "device": {"token": "ab" * 32}},
    {**ENVELOPE, "type": "members.replaced", "channel": {"id": "c"}, "users": ["han"], "after": "a", "through": "i"},
    BROWSER,
    {
        **ENVELOPE,
        "type": "push.send",
        "where": {
            "user": {"in": ["han"]},
            "attributes": {"team": "red", "level": {"gte": 3, "lt": 9.5}},
            "locale": "en",
        },
        "data": {"alert": "hello", "badge": "Increment", "sound": "default", "uri": {"any": "thing"}},
        "send_at": AT,
    },
    PREFERENCES,
    QUIET,
    {**ENVELOPE, "type": "channel.read", "user": "han", "channel": {"id": "c"}, "until": AT, "unread": 3},
    {
        **ENVELOPE,
        "type": "message.updated",
        "channel": {"id": "c"},
        "message": {"id": "msg-1", "text": "better", "mentioned": ["han"], "mentions": {"here": True}},
        "sender": {"id": "leia"},
    },
    {**ENVELOPE, "type": "message.deleted", "channel": {"id": "c"}, "message": {"id": "msg-1"}},
    CALL,
    {
        **ENVELOPE,
        "type": "call.ended",
        "call": {"id": "7d444840-9dc0-11d1-b245-5ffdce74fad2"},
        "reason": "answered_elsewhere",
        "user": "han",
        "device": {"token": "ab" * 32},
    },
    ACTIVITY,
    {**ENVELOPE, "type": "ptt.speaking", "channel": {"id": "c"}, "speaker": {"id": "leia"}, "recipients": ["han"]},
)
PUSH = next(one for one in EVERY_TYPE if one["type"] == "push.send")
#: To leave a field out.
MISSING = object()


def changed(document: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A copy with other values; `message__text` is the field `text` of the object `message`."""
    copy: dict[str, Any] = json.loads(json.dumps(document))
    for path, value in fields.items():
        *parents, name = path.split("__")
        place = copy
        for parent in parents:
            place = place[parent]
        if value is MISSING:
            del place[name]
        else:
            place[name] = value
    return copy


def numbered(count: int) -> list[dict[str, Any]]:
    """Messages `evt-0`, `evt-1` and so on."""
    return [changed(MESSAGE, id=f"evt-{number}") for number in range(count)]
