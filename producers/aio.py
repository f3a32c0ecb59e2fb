"""Publishes from asyncio: `producers.publisher` again, with `await`."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Self, TypeVar, Unpack

from producers import aio_link, registration, wire
from producers.aio_link import AsyncLink, AsyncLinks
from producers.credentials import Credentials
from producers.documents import Publishable, document, documents
from producers.errors import PublishError
from producers.patience import AwayError, Elsewhere, Patience, Redirects, most_of_a_try, patience_for
from producers.registration import Registration
from producers.routes import Flow, Routes

_T = TypeVar("_T")
#: Connections of one publisher; further calls wait for one within their timeout.
CONNECTIONS: Final = 8
#: Calls that wait for a device's outcome at once, each with a connection of its own.
WAITING: Final = 64


class AsyncPublisher:
    """Writes events and presence to Redis or Valkey, like `Publisher`.

    May be used by many tasks, from one event loop after the other, and after a fork. Checking is done on the loop, at
    some microseconds an event.
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
        servers = aio_link.servers(redis_url, credentials)
        self._links, self._followed = AsyncLinks(servers), servers.followed
        self._timeout = patience_for(timeout, followed=servers.followed)
        self._routes = Routes(
            max_backlog,
            own=own_stream,
            seconds=self._timeout,
            replicas=wait_replicas,
            tagged=self._links.topology.spread,
        )
        self._closed = False
        self._slots, self._waiting = asyncio.Semaphore(CONNECTIONS), asyncio.Semaphore(WAITING)

    async def publish(self, event: Publishable) -> str:
        """Put one event on the stream and return its entry id. Raises `EventError` or `PublishError`."""
        return (await self._append([document(event)]))[0]

    async def publish_many(self, events: Iterable[Publishable]) -> list[str]:
        """Put the events on the stream in their order and return their entry ids; see `Publisher.publish_many`."""
        written = documents(events)
        accepted: list[str] = []
        for chunk in wire.chunks(written):
            try:
                accepted += await self._append(chunk)
            except PublishError as fault:
                raise wire.midway(fault, [*accepted, *fault.accepted], len(written)) from fault
        return accepted

    async def register_device(
        self, *, app: str, user: str, token: str | None = None, wait: float | None = None, **more: Unpack[Registration]
    ) -> str:
        """Put a registration on the stream and return its entry id; with `wait`, only when the device is the user's.

        Give the `token`, or of a browser the `subscription`: `json.loads` of what `JSON.stringify(subscription)` wrote.

        With `wait` (seconds): raises `RefusedError` naming the field, `SupersededError` when something newer is known of
        the device, `RateLimitError`, or `NoReplyError` when no worker reported the outcome in time. Without it the call
        does not learn the outcome. A device belongs to its newest owner at once.
        """
        reply = registration.reply_id(wait)
        return await self._call(registration.registered(app, user, token, reply, **more), reply, wait)

    async def unregister_device(
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
        return await self._call(registration.unregistered(app, token, subscription, user, id, at, reply), reply, wait)

    async def online(
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
        await self._ask(wire.online(app, user, seconds, active, viewing))

    async def offline(self, app: str, user: str) -> None:
        """End the user's presence at once: they are neither online nor active, and have no channel open.

        Raises `EventError` or `PublishError`.
        """
        await self._ask(wire.offline(app, user))

    async def mark_read(self, app: str, user: str, channel: str, until: datetime, thread: str | None = None) -> None:
        """Says that the user has read a channel, or one of its threads, up to the message whose `at` this is.

        A marker only grows, so calls may come in any order. Raises `EventError` or `PublishError`.
        """
        await self._ask(wire.mark_read(app, user, channel, until, thread))

    async def read(
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
        shown = await self._carry_out(self._routes.mark_read_where_shown(app, user, channel, until, thread))
        return None if shown is None else await self.publish(event)

    async def close(self) -> None:
        """Close the connections, within a second; a call under way in another task still ends well."""
        self._closed = True
        self._adopt()
        await self._links.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def _call(self, event: dict[str, Any], reply: str | None, wait: float | None) -> str:
        entry = await self.publish(event)
        if reply is not None and wait is not None:
            # Redis itself waits; the additional second is for its answer to arrive.
            registration.check_reply(await self._ask(wire.await_reply(reply, wait), wait + 1.0), wait)
        return entry

    async def _append(self, written: Sequence[bytes]) -> list[str]:
        """All of a partition's, or none of them."""
        return await self._carry_out(self._routes.append(written))

    async def _carry_out(self, flow: Flow[_T]) -> _T:
        try:
            step = next(flow)
            while True:
                try:
                    answer = await (self._ask(step) if isinstance(step, wire.Command) else asyncio.sleep(step))
                except PublishError as fault:
                    step = flow.throw(fault)
                else:
                    step = flow.send(answer)
        except StopIteration as end:
            result: _T = end.value
            return result

    async def _ask(self, command: wire.Command, seconds: float | None = None) -> Any:
        if self._closed:
            raise PublishError("this publisher is closed")
        self._adopt()
        within = seconds or self._timeout
        patience, last = Patience(within), [AwayError("no answer")]
        slot = self._links.topology.slot if self._links.topology.spread else None
        answered = []
        try:
            async with asyncio.timeout(within), self._slots if seconds is None else self._waiting:
                for piece in wire.pieces(command, slot):
                    most = most_of_a_try(seconds, followed=self._followed)
                    answered.append((piece, await self._ask_one(piece, patience, most, last)))
        except TimeoutError:
            raise patience.over(last[0]) from last[0]
        return wire.joined(answered)

    async def _ask_one(self, piece: wire.Piece, patience: Patience, most: float, last: list[AwayError]) -> Any:
        """The answer to a piece, each try of which takes `most` seconds. Puts what it is kept by into `last`."""
        redirects = Redirects()
        while True:
            to = redirects.to
            link = None
            try:
                link = await self._links.take(piece.slot) if to is None else self._links.to(to)
                command = piece.command if to is None else wire.asking(piece.command)
                answer = await self._try(link, command, min(patience.left(), most))
            except Elsewhere as elsewhere:
                last[0] = elsewhere
                redirects.note(elsewhere, self._links.topology, piece.slot)
                await asyncio.sleep(redirects.pause(elsewhere, patience))
            except AwayError as away:
                redirects.to, last[0] = None, away
                if link is not None:
                    await self._links.drop(link.at)
                await asyncio.sleep(patience.pause(away))
            else:
                return answer

    async def _try(self, link: AsyncLink, command: wire.Command, wait: float) -> Any:
        try:
            answer = await link.ask(command, wait)
        except TimeoutError:
            await link.close()
            raise AwayError("no answer") from None
        except BaseException:
            await link.close()
            raise
        await self._links.give(link)
        if self._closed:
            await self._links.close()
        return answer

    def _adopt(self) -> None:
        if self._links.adopt():
            self._slots, self._waiting = asyncio.Semaphore(CONNECTIONS), asyncio.Semaphore(WAITING)
