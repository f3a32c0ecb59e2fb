"""Clients that send one load, each in a process of its own: `python -m benchmarks.peers.senders NAME` with a `Target` as JSON on
standard input. Each prints one `Result`. `carillon` is what Carillon's delivery calls; the others do as their documentation says.
"""

import asyncio
import resource
import ssl
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import islice
from typing import Any

import msgspec
import psutil

from benchmarks.support.load import TOPIC, Result, Target, is_gone, message, payload, tokens
from benchmarks.support.loops import new_event_loop

#: (token, status) of each notification; status 0 is no answer.
Found = list[tuple[str, int]]
#: Sends everything that the iterator yields.
SendAll = Callable[[Iterator[Any]], Awaitable[Callable[[], Found]]]


def resident_mb() -> float:
    return float(psutil.Process().memory_info().rss) / 1e6


def peak_mb() -> float:
    scale = 1e6 if sys.platform == "darwin" else 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


async def timed(target: Target, requests: list[Any], send_all: SendAll, baseline: float) -> Result:
    """Warms up with the first requests, then sends the rest against the clock; judges the answers after it."""
    # The first one alone: whoever opens a connection under load may send in another order than asked.
    await send_all(iter(requests[:1]))
    await send_all(iter(requests[1 : target.warm_up]))
    rest = requests[target.warm_up :]
    cpu, began = time.process_time(), time.perf_counter()
    found = await send_all(iter(rest))
    seconds, used = time.perf_counter() - began, time.process_time() - cpu
    return judged(found(), target, seconds, used, baseline)


def judged(found: Found, target: Target, seconds: float, cpu: float, baseline: float) -> Result:
    """An answer that its token should not have had counts as `other`."""
    accepted = sum(status == 200 and not (target.ordered and is_gone(token)) for token, status in found)
    gone = sum(status == 410 and (not target.ordered or is_gone(token)) for token, status in found)
    return Result(seconds, cpu, accepted, gone, target.count - accepted - gone, baseline, peak_mb())


async def shared(requests: Iterator[Any], send: Callable[[Any], Awaitable[int]], at_once: int) -> Callable[[], Found]:
    """So many workers take requests, which begin with their token, in turn."""
    found: Found = []

    async def work() -> None:
        for request in requests:
            found.append((request[0], await send(request)))

    await asyncio.gather(*(work() for _ in range(at_once)))
    return lambda: found


def flat(pairs: list[tuple[Any, Any]]) -> Found:
    """Batches and their answers, one by one."""
    return [
        (one.token, getattr(answer, "status", 0))
        for batch, answers in pairs
        for one, answer in zip(batch, answers, strict=True)
    ]


def pool_of(target: Target, connections: int) -> Any:
    """A pool to the target, as the process's sender has it for APNs."""
    from worker.core.model import Provider  # noqa: PLC0415 - each client imports only its own library
    from worker.providers.apns.route import ApnsRoute  # noqa: PLC0415
    from worker.providers.apns.settings import ApnsSettings, Key  # noqa: PLC0415
    from worker.sender.pool import Pool  # noqa: PLC0415

    key = Key(target.team_id, target.key_id, target.key)
    settings = ApnsSettings(TOPIC, key, target.host, target.port, target.ca)
    return Pool(ApnsRoute.of(Provider(1, "bench", "apns", "production", settings), connections).access())


async def carillon(target: Target) -> Result:
    """`Transport.send`: a batch in, one outcome for each notification out; several batches at a time."""
    baseline = resident_mb()
    pool = pool_of(target, target.connections)

    async def send_all(requests: Iterator[Any]) -> Callable[[], Found]:
        pairs: list[tuple[Any, Any]] = []
        batches = iter(lambda: list(islice(requests, target.batch)), [])

        async def work() -> None:
            for batch in batches:
                answers = await pool.send(batch, authorization=target.authorization, deadline=60)
                pairs.append((batch, answers))

        await asyncio.gather(*(work() for _ in range(target.calls)))
        return lambda: flat(pairs)

    result = await timed(target, notifications(target), send_all, baseline)
    await pool.close()
    return result


def notifications(target: Target) -> list[Any]:
    from worker.core.model import Heading, Notification  # noqa: PLC0415

    body, heading = payload(), Heading(TOPIC)
    return [Notification(token, id, body, heading) for token, id in tokens(target.warm_up + target.count)]


def carillon_sender(target: Target) -> Result:
    """The process's sender as task threads use it: `calls` threads, each a batch at a time, blocked until it is answered."""
    from worker.core.model import Provider  # noqa: PLC0415
    from worker.providers.apns.sender import ApnsSender  # noqa: PLC0415
    from worker.providers.apns.settings import ApnsSettings, Key  # noqa: PLC0415

    baseline = resident_mb()
    key = Key(target.team_id, target.key_id, target.key)
    settings = ApnsSettings(TOPIC, key, target.host, target.port, target.ca)
    provider = Provider(1, "bench", "apns", "production", settings)
    sender = ApnsSender(connections=target.connections)
    everything = notifications(target)

    def send_all(requests: list[Any]) -> list[tuple[Any, Any]]:
        pairs: list[tuple[Any, Any]] = []
        lock, source = threading.Lock(), iter(requests)

        def work() -> None:
            while True:
                with lock:
                    batch = list(islice(source, target.batch))
                if not batch:
                    return
                answers = sender.send(provider, batch, authorization=target.authorization, deadline=60)
                pairs.append((batch, answers))

        threads = [threading.Thread(target=work) for _ in range(target.calls)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return pairs

    send_all(everything[: target.warm_up])
    rest = everything[target.warm_up :]
    cpu, began = time.process_time(), time.perf_counter()
    pairs = send_all(rest)
    seconds, used = time.perf_counter() - began, time.process_time() - cpu
    sender.close()
    return judged(flat(pairs), target, seconds, used, baseline)


async def httpx(target: Target) -> Result:
    """One `AsyncClient` with HTTP/2, 100 requests at a time: more it never has in flight."""
    import httpx as library  # noqa: PLC0415

    baseline = resident_mb()
    body = payload()
    context = ssl.create_default_context(cadata=target.ca)
    headers = {
        "authorization": f"bearer {target.authorization}",
        "apns-topic": TOPIC,
        "apns-push-type": "alert",
        "apns-priority": "10",
    }
    limits = library.Limits(max_connections=target.connections, max_keepalive_connections=None, keepalive_expiry=None)
    base = f"https://{target.host}:{target.port}/3/device/"
    async with library.AsyncClient(
        http1=False, http2=True, verify=context, headers=headers, limits=limits, timeout=60, trust_env=False
    ) as client:

        async def send(request: tuple[str, str]) -> int:
            token, id = request
            answer = await client.post(base + token, content=body, headers={"apns-id": id})
            return answer.status_code

        requests = list(tokens(target.warm_up + target.count))
        return await timed(target, requests, lambda source: shared(source, send, 100), baseline)


async def aioapns(target: Target) -> Result:
    """Its own client on one connection, 100 requests at a time."""
    import logging  # noqa: PLC0415

    import aioapns as library  # noqa: PLC0415
    from aioapns.connection import APNsProductionClientProtocol  # noqa: PLC0415

    logging.getLogger("aioapns").setLevel(logging.CRITICAL)
    baseline = resident_mb()
    APNsProductionClientProtocol.APNS_SERVER = target.host
    APNsProductionClientProtocol.APNS_PORT = target.port
    context = ssl.create_default_context(cadata=target.ca)
    context.set_alpn_protocols(["h2"])
    client = library.APNs(
        key=target.key,
        key_id=target.key_id,
        team_id=target.team_id,
        topic=TOPIC,
        max_connections=target.connections,
        ssl_context=context,
    )
    body = message()

    async def send(request: tuple[str, str]) -> int:
        token, id = request
        wanted = library.NotificationRequest(
            device_token=token, message=body, notification_id=id, priority=10, push_type=library.PushType.ALERT
        )
        answer = await client.send_notification(wanted)
        return int(answer.status)

    requests = list(tokens(target.warm_up + target.count))
    result = await timed(target, requests, lambda source: shared(source, send, 100), baseline)
    client.pool.close()
    return result


async def carillon_waiting(target: Target) -> Result:
    """Everything in one call, which is more than one connection takes at once: the peak while most of it waits."""
    from worker.core.model import Heading, Notification  # noqa: PLC0415

    baseline = resident_mb()
    pool = pool_of(target, 1)
    # A payload of its own for each, as a badge makes it.
    heading = Heading(TOPIC)
    batch = [Notification(token, id, payload() + b" ", heading) for token, id in tokens(target.count)]
    answers = await pool.send(batch, authorization=target.authorization, deadline=60)
    peak = peak_mb()
    await pool.close()
    return msgspec.structs.replace(judged(flat([(batch, answers)]), target, 0.0, 0.0, baseline), peak_mb=peak)


async def carillon_growth(target: Target) -> Result:
    """The same notifications again and again; `baseline_mb` is what a tenth of the whole left, `peak_mb` what all of it left."""
    pool = pool_of(target, 1)
    batch = notifications(msgspec.structs.replace(target, count=5_000, warm_up=0))
    rounds = max(10, target.count // len(batch))
    early = 0.0
    for number in range(rounds):
        await pool.send(batch, authorization=target.authorization, deadline=60)
        if number == rounds // 10:
            early = resident_mb()
    late = resident_mb()
    await pool.close()
    return Result(0.0, 0.0, rounds * len(batch), 0, 0, early, late)


CLIENTS: dict[str, Callable[[Target], Any]] = {
    "carillon": carillon,
    "carillon_sender": carillon_sender,
    "carillon_waiting": carillon_waiting,
    "carillon_growth": carillon_growth,
    "httpx": httpx,
    "aioapns": aioapns,
}


def main() -> None:
    client = CLIENTS[sys.argv[1]]
    target = msgspec.json.decode(sys.stdin.buffer.read(), type=Target)
    if asyncio.iscoroutinefunction(client):
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            result = runner.run(client(target))
    else:
        result = client(target)
    print(msgspec.json.encode(result).decode())


if __name__ == "__main__":
    main()
