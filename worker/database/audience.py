"""The devices that match a query of `push.send`, page by page. All input is passed as parameters, also names of attributes."""

from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from producers.events import OneOf, Where
from worker.core.errors import WorkerError
from worker.core.model import Device
from worker.core.purposes import ALERT
from worker.core.templates import normal_locale
from worker.database import bulk
from worker.database.long_tokens import TOKEN
from worker.database.postgres import Connection, Pool, Unavailable, transaction

_FROM: Final = (
    " FROM carillon.devices d JOIN carillon.providers p ON p.id = d.provider_id AND p.removed_at IS NULL"
    " WHERE d.app = %s AND d.active AND d.purpose = ANY(%s)"
)
#: The columns of a `Device`.
_DEVICE: Final = (
    f"d.id, d.user_id, d.provider_id, {TOKEN}, d.locale, d.registered_at, d.platform, d.secret, d.traits, d.purpose,"
    " d.installation"
)
#: `d.locale` in a form that can be compared.
_LOCALE: Final = "lower(replace(d.locale, '_', '-'))"
_OPERATORS: Final = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}


#: app, user
UserKey = tuple[str, str]
#: Milliseconds that Postgres may take for a page: well within the caller's lease.
PAGE_MS: Final = 2_000
_CANCELED: Final = "57014"


class AudiencePage(NamedTuple):
    devices: list[Device]
    #: The next page begins after this id. None: this was the last page.
    end: int | None


class PageTooSlowError(WorkerError):
    """A page could not be found in time."""


class Share(NamedTuple):
    """How many of an audience's devices and users one provider has."""

    provider: str
    environment: str
    devices: int
    users: int


class Audience:
    """Finds devices of an app by their fields. A device whose provider was removed is in no audience."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def page(
        self,
        app: str,
        where: Where,
        after: int,
        size: int,
        *,
        span: int = 0,
        purposes: Sequence[str] = (ALERT,),
    ) -> AudiencePage:
        """Up to `size` devices of these purposes whose id is larger than `after`. Raises `PageTooSlowError`.

        `span`: how many devices of the app to search, matching or not; 0: all of them, which an index may find at once.
        """
        try:
            with transaction(self._pool) as db:
                db.execute(f"SET LOCAL statement_timeout = {PAGE_MS}".encode())
                return _page(db, (app, list(purposes)), _conditions(where), after, size, span)
        except Unavailable as fault:
            if fault.sqlstate == _CANCELED:
                raise PageTooSlowError from fault
            raise

    def count(self, app: str, where: Where, purposes: Sequence[str] = (ALERT,)) -> list[Share]:
        """The audience as it is now."""
        conditions, values = _conditions(where)
        query = (
            f"SELECT p.name, p.environment, count(*), count(DISTINCT d.user_id){_FROM}{conditions}"
            " GROUP BY p.name, p.environment ORDER BY p.name"
        )
        with self._pool.connection() as db:
            return [Share._make(row) for row in db.execute(query.encode(), (app, list(purposes), *values))]

    def active(self, users: Collection[UserKey]) -> dict[str, dict[str, list[Device]]]:
        """Active devices for alerts by (app, user), oldest first, also those of a removed provider.

        A user without devices is left out.
        """
        return bulk.found(self._pool, self.reading_active(users))

    def reading_active(self, users: Collection[UserKey]) -> bulk.Reading[dict[str, dict[str, list[Device]]]]:
        """`active`, beside others."""
        return _of_users(users, "")

    def for_purposes(
        self, users: Collection[UserKey], purposes: Sequence[str], activity: str | None = None
    ) -> dict[str, dict[str, list[Device]]]:
        """The same for devices of these purposes; with `activity` only the tokens of that Live Activity."""
        if activity is not None:
            about = ("= ANY(%b) AND d.activity = %b", list(purposes), activity)
            return bulk.found(self._pool, _of_users(users, "", *about))
        return bulk.found(self._pool, _of_users(users, "", "= ANY(%b)", list(purposes)))

    def of_members(self, app: str, channel: str, purpose: str, limit: int) -> list[Device]:
        """Active devices of this purpose of the channel's members as they are now, oldest first."""
        query = (
            f"SELECT {_DEVICE}{_FROM} AND EXISTS (SELECT FROM carillon.members m WHERE m.app = d.app AND m.channel = %s"
            " AND m.user_id = d.user_id AND m.present) ORDER BY d.id LIMIT %s"
        )
        with self._pool.connection() as db:
            return [Device(*row) for row in db.execute(query.encode(), (app, [purpose], channel, limit))]

    def reachable(self, users: Collection[UserKey]) -> dict[str, dict[str, list[Device]]]:
        """The same, without those of a removed provider."""
        join = " JOIN carillon.providers p ON p.id = d.provider_id AND p.removed_at IS NULL"
        return bulk.found(self._pool, _of_users(users, join))


def _of_users(
    users: Collection[UserKey], join: str, purpose: str = "= 'alert'", *more: object
) -> bulk.Reading[dict[str, dict[str, list[Device]]]]:
    found: dict[str, dict[str, list[Device]]] = {}
    rows = yield bulk.Query(
        f"SELECT d.app, {_DEVICE}"
        f" FROM unnest(%b::text[], %b::text[]) AS k (app, user_id) JOIN carillon.devices d USING (app, user_id){join}"
        f" WHERE d.active AND d.purpose {purpose} ORDER BY d.id",
        users,
        more,
    )
    for row in rows:
        app, device = row[0], Device(*row[1:])
        found.setdefault(app, {}).setdefault(device.user, []).append(device)
    return found


def _page(
    db: Connection,
    of: tuple[str, list[str]],
    wanted: tuple[str, list[Any]],
    after: int,
    size: int,
    span: int,
) -> AudiencePage:
    """`of`: the app and the purposes; `wanted` as of `_conditions`."""
    conditions, values = wanted
    last = None
    if span:
        row = db.execute(
            "SELECT id FROM carillon.devices WHERE app = %s AND active AND id > %s ORDER BY id LIMIT 1 OFFSET %s",
            (of[0], after, span - 1),
        ).fetchone()
        last = row[0] if row else None
    if last is not None:
        conditions, values = f"{conditions} AND d.id <= %s", [*values, last]
    query = f"SELECT {_DEVICE}{_FROM}{conditions} AND d.id > %s ORDER BY d.id LIMIT %s"
    found = [Device(*row) for row in db.execute(query.encode(), (*of, *values, after, size + 1))]
    if len(found) > size:
        return AudiencePage(found[:size], found[size - 1].id)
    return AudiencePage(found, last)


def _conditions(where: Where) -> tuple[str, list[Any]]:
    """The query's conditions as SQL of fixed parts, and the values for its placeholders."""
    parts: list[str] = []
    values: list[Any] = []

    def both(part: str, *more: Any) -> None:
        parts.append(f" AND {part}")
        values.extend(more)

    if where.user is not None:
        both("d.user_id = ANY(%s)", _any_of(where.user))
    if where.device is not None:
        both("d.id = %s", where.device)
    if where.provider is not None:
        both("p.name = ANY(%s)", _any_of(where.provider))
    if where.locale is not None:
        wanted = [normal_locale(one) for one in _any_of(where.locale)]
        both(
            f"EXISTS (SELECT FROM unnest(%s::text[]) AS w WHERE {_LOCALE} = w OR starts_with({_LOCALE}, w || '-'))",
            wanted,
        )
    for name, condition in where.attributes.items():
        for operator, value in condition.items() if isinstance(condition, dict) else [("in", [condition])]:
            both(*_attribute(name, operator, value))
    return "".join(parts), values


def _attribute(name: str, operator: str, value: Any) -> tuple[Any, ...]:
    """A condition on one attribute: its SQL, then its values. Values of different types do not compare."""
    if operator == "in":
        # Containment, because the index supports it.
        return "d.attributes @> ANY(%s::jsonb[])", [_json({name: one}) for one in value]
    if operator == "exists":
        return ("d.attributes ? %s" if value else "(d.attributes ? %s) IS NOT TRUE"), name
    sign = _OPERATORS[operator]
    if isinstance(value, str):
        compared, kind = f'(d.attributes ->> %s) COLLATE "C" {sign} %s', "string"
    else:
        compared, kind = f"(d.attributes ->> %s)::numeric {sign} %s::numeric", "number"
    typed = f"CASE WHEN jsonb_typeof(d.attributes -> %s) = '{kind}' THEN {compared} END"
    return f"d.attributes ? %s AND {typed}", name, name, name, value if isinstance(value, str) else _json(value)


def _any_of(given: str | OneOf) -> list[str]:
    return [given] if isinstance(given, str) else given.any_of


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
