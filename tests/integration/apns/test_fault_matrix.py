"""Every fault that a simulator can inflict, over both transports: the outcome of each notification is what became of it.

The simulator keeps a record of its own. Accepted, or refused, means that it says so too; *not sent* means that it never
processed the notification; and whatever happens, none was processed twice within one call.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence

import pytest

from tests.integration.apns.matrix import BATCH, ROWS, Row
from tests.integration.apns.pools import apns_pool
from tests.unit.simulator.credentials import provider_token
from worker.core.model import ACCEPTED, Answer, Heading, NoAnswer, Notification, Response
from worker.providers.apns.certificate import tls_context
from worker.providers.apns.httpx_transport import HttpxTransport
from worker.sender.route import Endpoint
from worker.sender.timing import Timing
from worker.sender.transport import Transport
from worker.simulator import Answer as Scripted
from worker.simulator import Entry, Script, Settings, Simulator
from worker.simulator.certificates import Identity

JWT = provider_token()
QUICK = Timing(
    greeting=0.5, probe_after=0.5, ping_timeout=0.5, grow_after=0.02, backoff=0.01, backoff_cap=0.05, goodbye=0.2
)
#: Seconds beyond a deadline after which a call hangs.
GRACE = 10.0
#: Batches after the fault, one of which must go through.
LATER = 4
#: One device in seven is not registered any more.
REFUSED = 7


def pool(endpoint: Endpoint) -> Transport:
    return apns_pool(endpoint, timing=QUICK, max_connections=2)


def httpx_transport(endpoint: Endpoint) -> Transport:
    return HttpxTransport(endpoint, tls_context(ca=endpoint.ca), lanes=1)


MAKERS = {"http2": pool, "httpx": httpx_transport}


def batch(first: int, size: int, padding: int) -> list[Notification]:
    return [
        Notification(
            f"{n:064x}", f"6ba7b810-9dad-51d1-80b4-{n:012x}", b'{"aps":{}}' + b" " * padding, Heading("io.team.App")
        )
        for n in range(first, first + size)
    ]


def unregistered(notifications: Sequence[Notification]) -> dict[str, Scripted]:
    chosen = [each.token for each in notifications if int(each.token, 16) % REFUSED == 0]
    return {token: Scripted("Unregistered", timestamp=int(token, 16)) for token in chosen}


def right(notification: Notification) -> Answer:
    number = int(notification.token, 16)
    return ACCEPTED if number % REFUSED else Answer(410, "Unregistered", number)


async def through(row: Row, make: Callable[[Endpoint], Transport], identity: Identity) -> "Account":
    """One notification, then a batch that meets the fault, then small ones until one of them goes through."""
    batches = [
        batch(1, 1, 0),
        batch(100, BATCH, row.padding),
        *(batch(n, 5, 0) for n in range(500, 500 + 5 * LATER, 5)),
    ]
    tokens = unregistered([each for some in batches for each in some])
    settings = Settings(
        script=Script(rules=row.rules, tokens=tokens, latency=0.02),
        certificate=str(identity.certificate),
        certificate_key=str(identity.key),
        connection_window=65_535,
        header_table_size=row.table,
        control_port=None,
    )
    account = Account()
    async with Simulator(settings) as simulator:
        transport = make(Endpoint("127.0.0.1", simulator.port, identity.ca.read_text()))
        try:
            for number, notifications in enumerate(batches):
                await simulator.wait_listening()
                deadline = row.deadlines[min(number, 2)]
                async with asyncio.timeout(deadline + GRACE):
                    responses = await transport.send(notifications, authorization=JWT, deadline=deadline)
                account.sent.append(list(zip(notifications, responses, strict=True)))
                if number > 1 and not account.unanswered(number):
                    break
        finally:
            await transport.close(drain=0)
    account.entries = simulator.record.entries
    return account


class Account:
    """The outcomes compared with what the simulator did."""

    def __init__(self) -> None:
        self.sent: list[list[tuple[Notification, Response]]] = []
        self.entries: list[Entry] = []

    def contradictions(self) -> list[str]:
        """Responses that the simulator's record does not bear out."""
        recorded: dict[str, list[Entry]] = defaultdict(list)
        for entry in self.entries:
            recorded[entry.apns_id].append(entry)
        pairs = [pair for some in self.sent for pair in some]
        found = [_contradiction(each, response, recorded[each.id]) for each, response in pairs]
        return [text for text in found if text is not None]

    def unanswered(self, number: int) -> list[Response]:
        """Of one batch, what came back instead of an answer."""
        return [response for _, response in self.sent[number] if isinstance(response, NoAnswer)]


def _contradiction(notification: Notification, response: Response, entries: list[Entry]) -> str | None:
    processed = [entry for entry in entries if entry.processed]
    if len(processed) > 1:
        return f"{notification.id}: processed {len(processed)} times"
    if isinstance(response, NoAnswer):
        if response.sent == "not_sent" and processed:
            return f"{notification.id}: {response}, but processed"
        return None
    if response != right(notification):
        return f"{notification.id}: {response} is not its answer"
    if not processed or processed[0].status != response.status:
        return f"{notification.id}: {response}, but the record says {entries}"
    return None


@pytest.mark.parametrize("transport", MAKERS)
@pytest.mark.parametrize("name", ROWS)
def test_every_notification_is_accounted_for(name: str, transport: str, identity: Identity) -> None:
    row = ROWS[name].over(transport)
    account = asyncio.run(through(row, MAKERS[transport], identity))
    assert account.contradictions() == []
    assert len(account.unanswered(1)) <= row.loses, account.unanswered(1)
    assert not row.recovers or account.unanswered(-1) == [], "later batches go through"
