"""The pipeline on real engines in one thread: what workers do with Celery between the steps, done one step after another."""

import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any, cast

from cryptography.fernet import Fernet

from producers import events as ev
from producers.partitions import UNTAGGED, Layout
from tests.integration.pipeline.keys import new_key
from worker.core.model import ACCEPTED, HELD_UP, AppSettings, Notification, Provider, Response
from worker.core.outcome import CONFIRM_SECONDS
from worker.core.rules import RULES, Rule
from worker.core.way import way_in
from worker.database.devices import Devices
from worker.database.lease import Lease, lease_of
from worker.database.ledger import Ledger
from worker.database.postgres import open_pool
from worker.database.registry import Registry
from worker.database.standings import Standings
from worker.facts import FACTS
from worker.facts.base import Fact, Sources
from worker.pipeline.apps import Apps
from worker.pipeline.barrier import Barrier
from worker.pipeline.bulkhead import Bulkhead
from worker.pipeline.deferred_retirement import DeferredRetirement
from worker.pipeline.delivery import Delivery
from worker.pipeline.device_upkeep import Upkeep
from worker.pipeline.digests import Digests
from worker.pipeline.expansion.fan_out import FanOut
from worker.pipeline.intake import Intake
from worker.pipeline.origins import DeviceOrigins
from worker.pipeline.recorder import Flight
from worker.pipeline.reminders import Reminders
from worker.pipeline.rounds import Rounds
from worker.pipeline.spans import Export
from worker.providers import kinds
from worker.providers.apns.client import ApnsClient
from worker.providers.apns.settings import ApnsSettings, Key
from worker.providers.apns.token import mint
from worker.providers.base import Client
from worker.providers.webhook.client import WebhookClient
from worker.state.breaker import Breaker
from worker.state.deferred import DeferredDevices
from worker.state.homes import Homes
from worker.state.journal import Journal
from worker.state.leader_hint import LeaderHint
from worker.state.limiter import Limiter
from worker.state.origins import Origins
from worker.state.partition import Keyspace
from worker.state.redis import connect
from worker.state.streams import Streams

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
START = datetime(2026, 11, 21, 20, 0, tzinfo=UTC)


class Apns:
    """The edge: answers each notification from a table of tokens, 200 where it has no entry, and remembers what was sent."""

    def __init__(self) -> None:
        self.sent: list[Notification] = []
        self.answers: dict[str, list[Response]] = {}
        self.before: Callable[[], None] = lambda: None
        #: Writes down what was answered so far.
        self.record: Callable[[], None] = lambda: None
        #: Tokens answered before the process dies in the middle of a batch; None: it lives.
        self.half: set[str] | None = None

    class Died(BaseException):
        """As `kill -9`: nothing after it happens."""

    def send(
        self,
        provider: Provider,
        notifications: Sequence[Notification],
        *,
        authorization: str | None,
        deadline: float,
        following: Mapping[int, int] | None = None,
        seen: list[Response | None] | None = None,
    ) -> list[Response]:
        self.before()
        if seen is not None and self.half is not None:
            self.sent += notifications
            seen[:] = [ACCEPTED if n.token in self.half else None for n in notifications]
            self.record()
            raise self.Died
        responses: list[Response] = []
        before = {after: place for place, after in (following or {}).items()}
        for place, notification in enumerate(notifications):
            if place in before and responses[before[place]] != ACCEPTED:
                responses.append(HELD_UP)
            else:
                self.sent.append(notification)
                responses.append(self._answer(notification.token))
        return responses

    def _answer(self, token: str) -> Response:
        queue = self.answers.get(token)
        if not queue:
            return ACCEPTED
        return queue.pop(0) if len(queue) > 1 else queue[0]


KEY = new_key()
#: KEYS: what is due. ARGV: how batches' keys begin, seconds, and whether those of who has taken a batch pass as well.
_LATER = """
for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if ARGV[3] == '1' or redis.call('HEXISTS', ARGV[1] .. string.sub(member, 3), 'leased') == 0 then
    redis.call('ZINCRBY', KEYS[1], -ARGV[2], member)
  end
end
"""


class Tokens:
    def current(self, key: Key, now: float) -> str:
        return mint("T", "K", KEY, now)

    def refuse(self, key: Key, token: str, now: float) -> str:
        return mint("T", "K", KEY, now + 1)


class Pipeline:
    """Engines, one app `demo` with one provider `apns`, and every stage of the pipeline."""

    def __init__(
        self,
        postgres_url: str,
        redis_url: str,
        *,
        page: int = 1000,
        batch: int = 500,
        lease: float = 15.0,
        facts: Sequence[Fact[Any]] = FACTS,
        rules: Sequence[Rule] = RULES,
        export: Export | None = None,
        layout: Layout = UNTAGGED,
        home: "Pipeline | None" = None,
        at: int = 0,
        keyspace: Keyspace | None = None,
    ):
        """With `home`, the pipeline of the app's home, this is the one of the partition `at`, with the same providers.

        `keyspace`: where partitions are on several servers.
        """
        self.now = START.timestamp()
        #: Held while a recorder writes.
        self._recording = threading.Lock()
        self.redis, self.pool, self.redis_url = connect(redis_url), open_pool(postgres_url, size=4), redis_url
        self.keyspace = keyspace or Keyspace(self.redis, lambda _: layout)
        self.partition = self.keyspace.of_app("demo") if home is None else self.keyspace.partitions[at]
        self.homes = Homes(self.partition, lambda: self.keyspace.partitions) if layout.tags else Homes(self.partition)
        self.journal = Journal(self.partition, lease=lease)
        self.secret_key: str = Fernet.generate_key().decode() if home is None else home.secret_key
        self.registry = Registry(self.pool, [self.secret_key], kinds)
        self.devices, self.upkeep = Devices(self.pool), Upkeep(self.pool, self.keyspace)
        self.ledger, self.apps = Ledger(self.pool), Apps(self.registry, ttl=0.0)
        self.apns: Apns = Apns() if home is None else home.apns
        self.postgres_url = postgres_url
        if home is None:
            self.save_app()
            self.provider = self.add_provider("apns")
        else:
            self.provider = home.provider
        tokens: Any = Tokens()
        self.clients: dict[str, Client] = {
            "apns": ApnsClient(cast("Any", self.apns), tokens),
            "webhook": WebhookClient(LOOPBACK, timeout=5),
        }
        self.woken: list[int] = []
        self.streams, self.lease = (
            Streams(self.partition),
            Lease(
                self.pool,
                LeaderHint(self.partition),
                owner="pipeline",
                name=lease_of(self.partition.index, tagged=bool(layout.tags)),
            ),
        )
        self.intake = Intake(
            *(self.partition, self.journal, self.apps),
            transaction=self.lease.transaction,
            clock=self.lease.clock,
            at_once=self.lease.at_once,
            wake=self.woken.append,
            facts=facts,
            export=export,
        )
        self.rounds = self.new_rounds()
        self.fan_out = FanOut(
            self.pool,
            self.partition,
            self.journal,
            self.apps,
            page=page,
            batch=batch,
            now=lambda: self.now,
            new_id=lambda: secrets.token_hex(8),
            facts=facts,
            rules=rules,
            export=export,
            homes=self.homes,
        )
        self.digests, self.reminders = (
            of(
                Sources(self.pool, self.partition),
                self.journal,
                self.apps,
                DeviceOrigins(self.apps, Origins(self.partition)).of,
                batch=batch,
                now=lambda: self.now,
                new_id=lambda: secrets.token_hex(8),
            )
            for of in (Digests, Reminders)
        )
        self.breaker, self.limiter, self.bulkhead = Breaker(self.partition), Limiter(self.partition), Bulkhead()
        self.deferred_retirement = DeferredRetirement(DeferredDevices(self.partition), self.breaker, self.devices)
        self.delivery = self.new_delivery(export=export)
        if home is None:
            self.apns.record = self.delivery.recorder.record

    def new_delivery(self, **others: Any) -> Delivery:
        """Delivery with these parts in place of the pipeline's own."""
        parts: dict[str, Any] = {
            "journal": self.journal,
            "devices": self.devices,
            "apps": self.apps,
            "client": lambda provider: self.clients[provider.kind],
            "breaker": self.breaker,
            "limiter": self.limiter,
            "deferred_retirement": self.deferred_retirement,
            "standings": Standings(self.pool),
            "sources": Sources(self.pool, self.partition),
            "timeout": 5,
            "now": lambda: self.now,
            "random": lambda: 0.5,
            "new_id": lambda: secrets.token_hex(8),
            "add_dead_letter": self.ledger.add_dead_letter,
            "bulkhead": self.bulkhead,
            "homes": self.homes,
        }
        delivery = Delivery(**(parts | others))
        record, recording = delivery.recorder.record, self._recording

        def record_alone(among: Sequence[Flight] | None = None) -> None:
            with recording:
                record(among)

        delivery.recorder.record = record_alone  # type: ignore[method-assign]
        return delivery

    def close(self) -> None:
        self.lease.release()
        self.clients["webhook"].close()
        self.pool.close()
        self.redis.close()

    def save_app(self, **settings: Any) -> None:
        self.registry.save_app(AppSettings("demo", **settings))

    def add_provider(self, name: str, **fields: Any) -> Provider:
        settings = ApnsSettings(fields.pop("topic", "io.carillon.demo"), Key("T", "K", "pem"))
        return self.registry.save_provider(
            Provider(0, "demo", name, settings=settings, **{"environment": "production"} | fields)
        )

    # what chat servers do

    def publish(self, *published: ev.AnyEvent | bytes) -> None:
        for event in published:
            document = event if isinstance(event, bytes) else ev.encode(event)
            self.redis.xadd(self.partition.names.inlet, {ev.FIELD: document})

    def member(self, channel: str, *users: str, devices: int = 1) -> None:
        """Adds members with devices whose tokens are `token(user, n)`."""
        self.publish(ev.MemberAdded(**stamp(), channel=ev.ChannelId(id=channel), users=list(users)))
        for user in users:
            for n in range(devices):
                self.publish(ev.DeviceRegistered(**stamp(), user=user, device=ev.Device(token=token(user, n))))

    # what workers do

    def take(self) -> int:
        """Intake until the stream has nothing new; returns how many messages became ready."""
        before = sum(self.woken)
        if self.lease.token:
            self.rounds.look()
        else:
            self.lead()
        while not self.rounds.idle:
            self.rounds.step(wait=0.001)
        return sum(self.woken) - before

    def new_rounds(self, *, batch: int = 500, max_open: int = 20_000) -> Rounds:
        """A leader's, which has to `begin`."""
        return Rounds(
            *(self.streams, self.intake, self.journal, self.apps, self.lease),
            batch=batch,
            max_open=max_open,
            paces={},
            barrier=Barrier(self.keyspace, self.partition, self.pool),
        )

    def lead(self) -> int:
        """A new leader; returns how many entries the one before had left to it."""
        self.lease.release()
        assert self.lease.acquire()
        self.rounds = self.new_rounds()
        return self.rounds.begin()

    def expand(self) -> int:
        """Fan-out of everything that is ready, to the end of every channel; returns how many batches that made."""
        batches, before = 0, -1
        while batches != before:
            before = batches
            for lane in ("urgent", "bulk", "urgent"):
                while opened := self.journal.take_messages(lane, 100):
                    expanded = self.fan_out.expand(opened)
                    self.journal.give_back(lane, expanded.remaining)
                    batches += expanded.batches.total()
        return batches

    def deliver(self) -> list[dict[str, int]]:
        """Delivery of every batch that is ready; returns the counts of each."""
        done = []
        for lane in ("urgent", "bulk"):
            while counts := self.delivery.deliver(lane):
                done.append(counts)
        return done

    def run(self) -> list[Notification]:
        """The whole pipeline for what is waiting, the time in which a mistake could show included; returns what was sent."""
        before = len(self.apns.sent)
        self.take()
        self.expand()
        self.deliver()
        self.retire_deferred()
        return self.apns.sent[before:]

    def retire_deferred(self) -> int:
        """It is time to decide about the devices whose token was refused; returns how many are retired."""
        keys: Any = self.redis.keys(self.partition.keys.DEFERRED("[0-9]*"))
        for key in keys:
            deferred: Any = self.redis.zrange(key, 0, -1)
            self.redis.zadd(key, dict.fromkeys(deferred, 0))
        return self.deferred_retirement.retire_due()

    def tell(self) -> list[Notification]:
        """Tells what was missed in quiet time and is due now; returns what was sent."""
        before = len(self.apns.sent)
        self.digests.tell_due()
        self.deliver()
        return self.apns.sent[before:]

    def later(self, seconds: float = 1000.0, *, leases: bool = True) -> int:
        """Time passes: everything scheduled or leased until then is due now; returns how much became ready.

        Without `leases` whoever has taken something keeps it.
        """
        # In one step: another thread may take a batch meanwhile.
        prefix = self.partition.prefix
        # The thread of a process that died writes no more: what it had begun to write would begin the lease anew.
        with self._recording:
            self.redis.eval(_LATER, 1, f"{prefix}due", f"{prefix}batch:", seconds, int(leases))
        looks: Any = self.redis.zrange(f"{prefix}looks:due", 0, -1, withscores=True)
        for look, at in looks:
            self.redis.zadd(f"{prefix}looks:due", {look: at - seconds}, xx=True)
        keys: Any = self.redis.keys(f"{prefix}notbefore:device:*[0-9]") + self.redis.keys(f"{prefix}out_of_turn:*")
        for key in keys:
            ends: Any = self.redis.zrange(key, 0, -1, withscores=True)
            for device, at in ends:
                self.redis.zadd(key, {device: at - seconds})
        for key in self.redis.scan_iter(f"{self.partition.prefix}quota:*"):
            self.redis.hincrbyfloat(key, "until", -seconds)
        self._age_refusals(seconds)
        return self.journal.make_due_ready()

    def _age_refusals(self, seconds: float) -> None:
        for key in self.redis.scan_iter("carillon:first_refusals:*"):
            for device, at in cast("Any", self.redis.zrange(key, 0, -1, withscores=True)):
                self.redis.zadd(key, {device: at - seconds})
        for key in self.redis.scan_iter("carillon:answers:*"):
            if self.redis.hexists(key, "proved"):
                self.redis.hincrbyfloat(key, "proved", -seconds)

    def confirm(self) -> None:
        """What was refused is sent again, after its way has accepted something else; who is refused then is retired."""
        self.later(CONFIRM_SECONDS + 1.0)
        for key in list(self.redis.scan_iter("carillon:first_refusals:*")):
            self.breaker.record(way_in(key.removeprefix(b"carillon:first_refusals:")), answered=1, ago=0.0)
        self.deliver()
        self.retire_deferred()

    def account(self, event_id: str) -> dict[str, Any]:
        while self.ledger.flush(self.journal):
            pass
        return self.ledger.of_event("demo", event_id)


def token(user: str, n: int = 0) -> str:
    return f"{user}/{n}".encode().hex()


def user_of(notification: Notification) -> str:
    return bytes.fromhex(notification.token).decode().partition("/")[0]


def stamp(seconds: float = 0.0) -> dict[str, Any]:
    return {"id": secrets.token_hex(6), "app": "demo", "at": START + timedelta(seconds=seconds)}


def message(channel: str = "general", sender: str = "leia", id: str = "e1", **fields: Any) -> ev.MessageNew:
    envelope = stamp(fields.pop("seconds", 0.0)) | {"id": id}
    recipients = fields.pop("recipients", None)
    content = ev.Message(**({"id": fields.pop("message_id", f"m-{id}"), "text": "hello"} | fields))
    return ev.MessageNew(
        **envelope, channel=ev.Channel(id=channel), message=content, sender=ev.Sender(id=sender), recipients=recipients
    )
