"""Publishes from threads. For asyncio see `producers.aio`."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from time import sleep
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from producers import registration, wire
from producers.credentials import Credentials
from producers.documents import Publishable, document, documents
from producers.errors import PublishError
from producers.link import Links, Servers
from producers.patience import AwayError, Elsewhere, Patience, Redirects, most_of_a_try, patience_for
from producers.registration import Registration
from producers.routes import Flow, Pause, Routes

_T = TypeVar("_T")


class Publisher:
    """Writes events and presence to Redis or Valkey.

    May be shared by threads and used after a fork; keeps one connection for each thread that publishes at the same
    moment. If an answer is lost the command is sent again, so an event may be on the stream twice: its `id` makes that harmless.

    `timeout`: seconds that one command waits for Redis, reconnecting as often as that allows: 5 if not given, and 32 with
    Sentinels and clusters, for a failover takes twice the node timeout and 2 s more; `publish_many` waits so
    long for each of its chunks. Looking up the host's name is not counted. `max_backlog`: unread events of
    an app from which on more of its are refused, looked at once a second. `own_stream`: events go to a stream of their
    app's own, which a Redis user can be limited to; use one or the other for an app, not both (spread apps have only
    these). `wait_replicas`: so many replicas are to have an event before it counts as published (WAIT); with fewer,
    `PublishError`, and it is unknown whether the event outlasts a failover. `credentials`: asked for user and password at
    each connection, in place of the URL's.
    """

    def __init__(
        self,
        redis_url: str,
        *,
        timeout: float | None = None,
        max_backlog: int = wire.MAX_BACKLOG,
        own_stream: bool = False,
        wait_replicas: int = 0,
        credentials: Credentials | None = None,
    ) -> None:
        servers = Servers(redis_url, credentials)
        self._links, self._followed = Links(servers), servers.followed
        self._timeout = patience_for(timeout, followed=servers.followed)
        self._routes = Routes(
            max_backlog,
            own=own_stream,
            seconds=self._timeout,
            replicas=wait_replicas,
            tagged=self._links.topology.spread,
        )
        self._closed = False

    def publish(self, event: Publishable) -> str:
        """Put one event on the stream and return its entry id. Raises `EventError` or `PublishError`."""
        return self._append([document(event)])[0]

    def publish_many(self, events: Iterable[Publishable]) -> list[str]:
        """Put the events on the stream in their order, some hundreds a command, and return their entry ids.

        All are checked before any is sent. Raises `EventError` when nothing was sent, `PublishError` whose `accepted`
        has the entry ids of the leading events that were written. For an endless stream call it with slices.
        """
        written = documents(events)
        accepted: list[str] = []
        for chunk in wire.chunks(written):
            try:
                accepted += self._append(chunk)
            except PublishError as fault:
                raise wire.midway(fault, [*accepted, *fault.accepted], len(written)) from fault
        return accepted

    def register_device(
        self, *, app: str, user: str, token: str | None = None, wait: float | None = None, **more: Unpack[Registration]
    ) -> str:
        """Put a registration on the stream and return its entry id; with `wait`, only when the device is the user's.

        Give the `token`, or of a browser the `subscription`: `json.loads` of what `JSON.stringify(subscription)` wrote.

        With `wait` (seconds): raises `RefusedError` naming the field, `SupersededError` when something newer is known of
        the device, `RateLimitError`, or `NoReplyError` when no worker reported the outcome in time. Without it the call
        does not learn the outcome. A device belongs to its newest owner at once.
        """
        reply = registration.reply_id(wait)
        return self._call(registration.registered(app, user, token, reply, **more), reply, wait)

    def unregister_device(
        self,
        *,
        app: str,
        token: str | None = None,
        subscription: Mapping[str, Any] | None = None,
        user: str | None = None,
        wait: float | None = 5.0,
        at: datetime | None = None,
        id: str | None = None,
    ) -> str:
        """Ends the device's registration and returns the event's entry id, once no further push of the user is begun for it.

        Give the `token`, or a browser's endpoint as that, or its `subscription`.

        With a `user` only if the device is theirs, otherwise whoever owns it. Errors as in `register_device`: when one is
        raised, assume that the device still gets their pushes; `SupersededError`: a newer registration made it theirs.
        `wait=None` returns as soon as the event is on the stream.
        """
        reply = registration.reply_id(wait)
        return self._call(registration.unregistered(app, token, subscription, user, id, at, reply), reply, wait)

    def online(
        self,
        app: str,
        user: str,
        seconds: int,
        active: bool = False,
        viewing: str | tuple[str, str] | None = None,
    ) -> None:
        """Marks the user as online for so many seconds; call it again before they end. Raises `EventError` or `PublishError`.

        For as long, `active`: a person touched a desktop or web client; `viewing`: this channel, or (channel, root message of
        a thread), is in front of them. What is not said stays as it was said before. All in one round trip.
        """
        self._ask(wire.online(app, user, seconds, active, viewing))

    def offline(self, app: str, user: str) -> None:
        """End the user's presence at once: they are neither online nor active, and have no channel open.

        Raises `EventError` or `PublishError`.
        """
        self._ask(wire.offline(app, user))

    def mark_read(self, app: str, user: str, channel: str, until: datetime, thread: str | None = None) -> None:
        """Says that the user has read a channel, or one of its threads, up to the message whose `at` this is.

        A marker only grows, so calls may come in any order. Raises `EventError` or `PublishError`.
        """
        self._ask(wire.mark_read(app, user, channel, until, thread))

    def read(
        self,
        app: str,
        user: str,
        channel: str,
        until: datetime,
        thread: str | None = None,
        *,
        device: Mapping[str, Any] | None = None,
        unread: int | None = None,
    ) -> str | None:
        """As `mark_read`, and if a notification of it may be shown somewhere, has it removed from the user's other devices.

        `device`, such as `{"token": "…"}`, is where they read: it gets no push. `unread`: how many messages are unread for them
        now; all devices show it. Takes one round trip, and a second one if anything is shown. Returns the entry id of the
        `channel.read` then, else None. Raises `EventError` or `PublishError`.
        """
        more = {"thread": thread, "device": device, "unread": unread}
        event = document(wire.channel_read(app, user, channel, until, more))
        shown = self._carry_out(self._routes.mark_read_where_shown(app, user, channel, until, thread))
        return None if shown is None else self.publish(event)

    def close(self) -> None:
        """Close the connections; a call under way in another thread still ends well."""
        self._closed = True
        self._links.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _call(self, event: dict[str, Any], reply: str | None, wait: float | None) -> str:
        entry = self.publish(event)
        if reply is not None and wait is not None:
            # Redis itself waits; the additional second is for its answer to arrive.
            registration.check_reply(self._ask(wire.await_reply(reply, wait), wait + 1.0), wait)
        return entry

    def _append(self, written: Sequence[bytes]) -> list[str]:
        """All of a partition's, or none of them."""
        return self._carry_out(self._routes.append(written))

    def _carry_out(self, flow: Flow[_T]) -> _T:
        try:
            step = next(flow)
            while True:
                try:
                    answer = self._do(step)
                except PublishError as fault:
                    step = flow.throw(fault)
                else:
                    step = flow.send(answer)
        except StopIteration as end:
            result: _T = end.value
            return result

    def _do(self, step: wire.Command | Pause) -> Any:
        if isinstance(step, wire.Command):
            return self._ask(step)
        sleep(step)
        return None

    def _ask(self, command: wire.Command, seconds: float | None = None) -> Any:
        if self._closed:
            raise PublishError("this publisher is closed")
        patience = Patience(seconds or self._timeout)
        slot = self._links.topology.slot if self._links.topology.spread else None
        most = most_of_a_try(seconds, followed=self._followed)
        return wire.joined([(one, self._ask_one(one, patience, most)) for one in wire.pieces(command, slot)])

    def _ask_one(self, piece: wire.Piece, patience: Patience, most: float) -> Any:
        """The answer to a piece, each try of which takes `most` seconds."""
        redirects = Redirects()
        while True:
            to, wait = redirects.to, min(patience.left(), most)
            link = None
            try:
                link = self._links.take(piece.slot, wait) if to is None else self._links.to(to, wait)
                answer = link.ask(piece.command if to is None else wire.asking(piece.command), wait)
            except Elsewhere as elsewhere:
                redirects.note(elsewhere, self._links.topology, piece.slot)
                sleep(redirects.pause(elsewhere, patience))
            except AwayError as away:
                redirects.to = None
                if link is not None:
                    self._links.drop(link.at)
                sleep(patience.pause(away))
            else:
                self._links.give(link)
                if self._closed:
                    self._links.close()
                return answer
