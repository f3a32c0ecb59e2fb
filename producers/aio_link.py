"""The connections of `producers.link` for asyncio. Finds the server that a key's commands go to; retries nothing."""

import asyncio
import os
from contextlib import suppress
from typing import Any, Final

from redis import exceptions
from redis.asyncio.connection import Connection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from producers.credentials import Credentials
from producers.link import HELLO, Servers, confirmed, redirected, refuse_unfit, succeeded, translated, waiting
from producers.topology import PATIENCE, Question
from producers.urls import Address
from producers.wire import Command

#: Seconds for a server to say that it has closed too.
_FAREWELL: Final = 1.0


class AsyncLink:
    """A connection to one server, made on first use."""

    def __init__(self, made: tuple[type[Any], dict[str, Any]], at: Address, *, cluster: bool) -> None:
        kind, arguments = made
        self._connection: Any = kind(**arguments | {"socket_timeout": None, "retry": Retry(NoBackoff(), 0)})
        self._known, self._cluster = False, cluster
        self.at = at

    async def ask(self, command: Command, wait: float) -> Any:
        """The last answer to a command. Raises `AwayError` or `PublishError`; `TimeoutError` after `wait` seconds."""
        try:
            async with asyncio.timeout(wait):
                answer = await self._ask(command, wait)
        except (exceptions.RedisError, OSError) as fault:
            if type(fault) is TimeoutError:  # ours
                raise
            raise (redirected(fault, self.at) if self._cluster else None) or translated(fault) from fault
        return succeeded(answer)

    async def _ask(self, command: Command, wait: float) -> Any:
        await self._connection.connect()
        if not self._known:
            await self._meet()
        await self._connection.send_packed_command([waiting(command, wait)], check_health=False)
        answer = await self._connection.read_response()
        if command.answers > 1:
            await self._pass_over(command.answers - 2)
            answer = await self._connection.read_response()
        if command.replicas:
            confirmed(await self._connection.read_response(), command)
        return answer

    async def _pass_over(self, answers: int) -> None:
        """As of `Link`."""
        read = self._connection._parser.read_response  # noqa: SLF001
        for _ in range(answers):
            if isinstance(answer := await read(), Exception):
                raise answer

    async def _meet(self) -> None:
        await self._connection.send_packed_command([HELLO], check_health=False)
        with suppress(exceptions.ResponseError):  # of a server or a proxy that does not know the command
            refuse_unfit(await self._connection.read_response(), cluster=self._cluster)
        self._known = True

    async def close(self) -> None:
        """Closes the socket without a farewell."""
        await self._connection.disconnect(nowait=True)

    async def end(self) -> None:
        """Closes the socket. TLS closes in a dialogue, which a loop that ends at once would leave with open sockets."""
        await self._connection.disconnect()


class AsyncLinks:
    """The idle links of a publisher on one event loop, to each server of its URL."""

    def __init__(self, servers: Servers) -> None:
        self._servers, self.topology = servers, servers.topology()
        self._idle: dict[Address, list[AsyncLink]] = {}
        self._asked: dict[tuple[Address, bool], Any] = {}
        self._looking = asyncio.Lock()
        self._home: tuple[int, asyncio.AbstractEventLoop] | None = None

    def adopt(self) -> bool:
        """Forgets the connections of another process or event loop: their sockets belong there. Whether there was another."""
        home = (os.getpid(), asyncio.get_running_loop())
        if self._home == home:
            return False
        self._home, self._idle, self._asked, self._looking = home, {}, {}, asyncio.Lock()
        return True

    async def take(self, slot: int) -> AsyncLink:
        """A link to the server that has this slot's keys. Raises `AwayError` or `PublishError` where nobody tells."""
        try:
            at = await self._address(slot)
        except (exceptions.RedisError, OSError) as fault:
            raise translated(fault) from fault
        return self.to(at)

    def to(self, at: Address) -> AsyncLink:
        """A link to this server."""
        try:
            return self._idle[at].pop()
        except (KeyError, IndexError):
            return AsyncLink(self._servers.of(at), at, cluster=self.topology.spread)

    async def give(self, link: AsyncLink) -> None:
        """Takes a link back that is still good."""
        if self.topology.known(link.at):
            self._idle.setdefault(link.at, []).append(link)
        else:
            await link.close()

    async def drop(self, at: Address) -> None:
        """Closes the idle links to a server that failed: they are as old, and each would cost a try."""
        self.topology.failed(at)
        for server in list(self._idle):
            if server == at or not self.topology.known(server):
                for link in self._idle.pop(server):
                    await link.close()

    async def close(self) -> None:
        """Closes all that are idle, and waits for a second at most for what still answers."""
        idle, self._idle = self._idle, {}
        asked, self._asked = self._asked, {}
        ends = [link.end() for links in idle.values() for link in links]
        with suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL):
                await asyncio.gather(*ends, *(one.disconnect() for one in asked.values()), return_exceptions=True)

    async def _address(self, slot: int) -> Address:
        known = self.topology.where(slot)
        if known is None:
            async with self._looking:
                if (known := self.topology.where(slot)) is None:
                    await self._look()
                    known = self.topology.where(slot)
        elif self.topology.due() and not self._looking.locked():
            async with self._looking:
                # Where the Sentinels are away, and the primary is not, the work goes on.
                with suppress(exceptions.RedisError, OSError):
                    await self._look()
            known = self.topology.where(slot)
        if known is None:
            raise exceptions.ConnectionError(f"no node of the cluster owns slot {slot}")
        return known

    async def _look(self) -> None:
        look = self.topology.look()
        with suppress(StopIteration):
            question = next(look)
            while True:
                question = look.send(await self._answer(question))

    async def _answer(self, question: Question) -> Any:
        connection = self._asked.pop((question.at, question.sentinel), None)
        if connection is not None and not isinstance(answer := await self._say(connection, question), Exception):
            return answer
        # A connection that was kept may have been closed meanwhile.
        kind, arguments = self._servers.of(question.at, sentinel=question.sentinel)
        waits = {"socket_timeout": PATIENCE, "socket_connect_timeout": PATIENCE, "retry": Retry(NoBackoff(), 0)}
        return await self._say(kind(**arguments | waits), question)

    async def _say(self, connection: Any, question: Question) -> Any:
        try:
            await connection.connect()
            await connection.send_command(*question.command, check_health=False)
            answer = await connection.read_response()
        except (exceptions.RedisError, OSError) as fault:
            await connection.disconnect(nowait=True)
            return fault
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self._asked[question.at, question.sentinel] = connection
        return answer


def servers(redis_url: str, credentials: Credentials | None) -> Servers:
    """The servers of a URL, for asyncio. Raises ValueError for an invalid URL."""
    return Servers(redis_url, credentials, parse_url, Connection)
