"""Restore a device that was retired; send a test push to a user's devices."""

from datetime import UTC, datetime
from typing import Any, Final

from config import credentials
from producers import events
from producers.publisher import Publisher
from worker.dashboard.acts.history import by
from worker.dashboard.page import Act, Ask, Changed, Confirmation, Invalid, Missing
from worker.dashboard.text import clock
from worker.process.by_hand import by_hand
from worker.reports.words import counted


def _device(ask: Ask) -> tuple[Any, ...]:
    app, id = ask.path["app"], ask.path["device"]
    with ask.stores.pool.connection() as db:
        row = db.execute(
            "SELECT d.id, d.user_id, d.active, d.retired_reason, extract(epoch FROM d.retired_at)::float"
            " FROM carillon.devices d WHERE d.app = %s AND d.id = %s",
            (app, int(id)),
        ).fetchone()
    if row is None:
        raise Missing(f"App {app} has no device {id}.")
    return row


def _ask_restore(ask: Ask) -> Confirmation:
    id, user, active, reason, at = _device(ask)
    if active:
        raise Invalid(f"Device {id} is active: there is nothing to restore.")
    consequence = (
        f"It was retired{f' at {clock(at)} UTC' if at else ''}: {reason}. It gets the pushes of {user} again from now on; what it"
        " missed is not sent again. If the provider refuses it once more, it is retired once more."
    )
    return Confirmation(
        f"Restore device {id} of {user}?", consequence, "Restore the device", ask.back(), f"{reason} {at}"
    )


def _restore(ask: Ask, note: str) -> str:
    id, user, *_ = _device(ask)
    app = ask.path["app"]
    with by_hand(ask.stores.acting, by(ask)) as hand:
        hand.record("devices restored", app=app, target=f"device {id}", note=note)
        if not hand.runtime.devices.restore_one(app, id):
            raise Changed("It is active, or its owner unregistered it.")
    return f"Device {id} of {user} is restored"


def _meant(ask: Ask) -> tuple[str, str, int | None, int]:
    """App, user, the one device that is meant or None, and how many devices get it."""
    app, user, device = ask.path["app"], ask.query.get("user", ""), ask.query.get("device")
    if device is not None and not (device.isdecimal() and len(device) < 16):
        raise Invalid("Which device is meant? Open the page of the user again.")
    one = None if device is None else int(device)
    with ask.stores.pool.connection() as db:
        rows = db.execute(
            "SELECT count(*) FROM carillon.devices WHERE app = %(app)s AND user_id = %(user)s AND active"
            " AND (%(device)s::bigint IS NULL OR id = %(device)s)",
            {"app": app, "user": user, "device": one},
        ).fetchall()
    if not rows[0][0]:
        raise Missing(f"{user or 'Nobody'} has no such active device in app {app}.")
    return app, user, one, rows[0][0]


def _ask_test(ask: Ask) -> Confirmation:
    app, user, device, devices = _meant(ask)
    who = f"{counted(devices, 'device')} of {user}" if device is None else f"Device {device} of {user}"
    consequence = (
        f"{who} in app {app} will show “Test push of Carillon”. It goes the way of every other push."
        " Badges stay as they are."
    )
    to = user if device is None else f"device {device} of {user}"
    return Confirmation(f"Send {to} a test push?", consequence, "Send it", ask.back(), str(devices))


def _test(ask: Ask, note: str) -> str:
    app, user, device, _ = _meant(ask)
    if _has_just_tested(ask):
        raise Changed("One test push a second is enough: you have just sent one.")
    # Of two that come at once, the same id lets one through.
    id = f"test-{ask.user.name}-{int(ask.now)}"
    document = {
        "v": 1,
        "type": "push.send",
        "id": id,
        "app": app,
        "at": datetime.fromtimestamp(ask.now, UTC),
        "where": {"user": user} | ({} if device is None else {"device": device}),
        "alert": "Test push of Carillon",
    }
    url = ask.stores.urls.redis
    with by_hand(ask.stores.acting, by(ask)) as hand, Publisher(url, credentials=credentials.known(url)) as publisher:
        hand.record("push tested", app=app, target=user, detail={"device": device} if device else None, note=note)
        publisher.publish(events.decode(events.dump(document)))
    return f"The test push {id} is on its way"


def _has_just_tested(ask: Ask) -> bool:
    with ask.stores.pool.connection() as db:
        rows = db.execute(
            "SELECT at > clock_timestamp() - interval '1 second' FROM carillon.audit WHERE act = 'push tested' AND who = %s"
            " ORDER BY id DESC LIMIT 1",
            (ask.user.name,),
        ).fetchall()
    return rows == [(True,)]


ACTS: Final = (
    Act("restore", "/apps/{app}/devices/{device:int}/restore", "operator", _ask_restore, _restore),
    Act("test-push", "/apps/{app}/test", "operator", _ask_test, _test),
)
