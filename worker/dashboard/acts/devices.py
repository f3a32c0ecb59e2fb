"""Restore a device that was retired; send a test push to a user's devices."""

from datetime import UTC, datetime
from typing import Any, Final

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


def _test_user(ask: Ask) -> tuple[str, str, int]:
    app, user = ask.path["app"], ask.query.get("user", "")
    with ask.stores.pool.connection() as db:
        rows = db.execute(
            "SELECT count(*) FROM carillon.devices WHERE app = %s AND user_id = %s AND active", (app, user)
        ).fetchall()
    if not rows[0][0]:
        raise Missing(f"{user or 'Nobody'} has no active device in app {app}.")
    return app, user, rows[0][0]


def _ask_test(ask: Ask) -> Confirmation:
    app, user, devices = _test_user(ask)
    consequence = (
        f"{counted(devices, 'device')} of {user} in app {app} will show “Test push of Carillon”. It goes the way of every other"
        " push. Badges stay as they are."
    )
    return Confirmation(f"Send {user} a test push?", consequence, "Send it", ask.back(), str(devices))


def _test(ask: Ask, note: str) -> str:
    app, user, _ = _test_user(ask)
    # One a second a person: an id that is repeated is counted once.
    id = f"test-{ask.user.name}-{int(ask.now)}"
    document = {
        "v": 1,
        "type": "push.send",
        "id": id,
        "app": app,
        "at": datetime.fromtimestamp(ask.now, UTC),
        "where": {"user": user},
        "alert": "Test push of Carillon",
    }
    with by_hand(ask.stores.acting, by(ask)) as hand, Publisher(ask.stores.urls.redis) as publisher:
        hand.record("push tested", app=app, target=user, note=note)
        publisher.publish(events.decode(events.dump(document)))
    return f"The test push {id} is on its way"


ACTS: Final = (
    Act("restore", "/apps/{app}/devices/{device:int}/restore", "operator", _ask_restore, _restore),
    Act("test-push", "/apps/{app}/test", "operator", _ask_test, _test),
)
