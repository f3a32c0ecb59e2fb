"""What `carillon doctor` looks at, part by part. Changes nothing."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

import redis

from worker.apns.certificate import CertificateError, load
from worker.apns.route import host_for
from worker.apns.token import TokenSource
from worker.cli import _checks
from worker.cli._advice import advice
from worker.cli._checks import Finding
from worker.cli._desk import app_named, desk
from worker.cli._webhook import WebhookFault, check_url
from worker.core.addresses import Network
from worker.core.model import Answer, NoAnswer, Notification, Provider
from worker.runtime import Runtime

#: No device can have it: APNs and the simulator refuse it by its form.
IMPOSSIBLE: Final = "carillon-doctor"
#: Seconds that two clocks may differ.
SKEW: Final = 5.0
#: Days before a certificate's end from which the doctor speaks of it.
_EXPIRY: Final = 30


def examine(app: str | None, timeout: float, *, workers: bool) -> list[Finding]:
    """Findings, the most basic first; what rests on a part that is away is not looked at."""
    lanes = ["urgent", "bulk"] if workers else []
    findings = _checks.examine(_checks.Plan(lanes=lanes, beat=workers, engines=True), timeout)
    if not all(finding.well for finding in findings if finding.part in ("engines", "redis", "postgres", "schema")):
        return findings
    with desk() as runtime:
        findings += [*_redis(runtime.redis), *_clocks(runtime)]
        only = None if app is None else app_named(runtime, app).name
        unreadable = set(runtime.registry.unreadable())
        providers = [p for p in runtime.registry.providers().values() if only in (None, p.app)]
        findings += _secrets(providers, unreadable)
        findings += [_provider(runtime, p, timeout) for p in providers if (p.app, p.name) not in unreadable]
    return findings


def _redis(client: redis.Redis) -> Iterator[Finding]:
    persistence: Any = client.info("persistence")
    memory: Any = client.info("memory")
    on = bool(persistence.get("aof_enabled"))
    yield Finding(
        "redis persistence",
        on,
        "appendonly is on" if on else "appendonly is off, so a restart loses pushes: set appendonly yes in redis.conf",
    )
    policy = str(memory.get("maxmemory_policy", "unknown"))
    fine = policy == "noeviction" or not int(memory.get("maxmemory", 0))
    advised = "Redis may throw away pushes when it is full: set maxmemory-policy noeviction"
    limit = "" if int(memory.get("maxmemory", 0)) else ", without a limit of memory"
    yield Finding("redis eviction", fine, f"{policy}{limit}" if fine else f"{policy}: {advised}")


def _clocks(runtime: Runtime) -> Iterator[Finding]:
    began = time.time()
    with runtime.pool.connection() as db:
        row = db.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
    assert row is not None
    between = time.time()
    seconds, micro = runtime.redis.time()
    ended = time.time()
    theirs = {"postgres": row[0] - (began + between) / 2, "redis": seconds + micro / 1e6 - (between + ended) / 2}
    for name, skew in theirs.items():
        if abs(skew) <= SKEW:
            yield Finding(f"clock of {name}", True, "agrees with this machine's")
            continue
        text = f"{abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} this machine's"
        yield Finding(f"clock of {name}", False, f"{text}: set both by NTP, or provider tokens and expiries go wrong")


def _secrets(providers: list[Provider], unreadable: set[tuple[str, str]]) -> Iterator[Finding]:
    lost = [p for p in providers if (p.app, p.name) in unreadable]
    for one in lost:
        text = "none of the keys in CARILLON_SECRET_KEYS decrypts its credential: add the key it was stored with, or"
        yield Finding(f"secrets of {_named(one)}", False, f"{text} store it again with carillon push apn")
    if not lost:
        yield Finding("secrets", True, f"{len(providers)} credentials can be read")


def _provider(runtime: Runtime, provider: Provider, timeout: float) -> Finding:
    part = f"provider {_named(provider)}"
    if provider.kind == "webhook":
        return _webhook(part, provider, runtime.settings.webhook_allow)
    try:
        authorization = None if provider.certificate else TokenSource(runtime.redis).current(provider, time.time())
        [response] = runtime.sender.send(
            provider, [_impossible(provider)], authorization=authorization, deadline=timeout
        )
    except ValueError as fault:
        return Finding(part, False, str(fault))
    host = f"{host_for(provider)}:{provider.port}"
    if isinstance(response, NoAnswer):
        return Finding(part, False, f"no answer ({response.cause}): {advice(response, provider)}")
    if response.reason == "BadDeviceToken":
        return _expiry(part, provider, host)
    if response.status == 200:
        return Finding(part, False, f"{host} took a push for a token that cannot exist: that is not Apple")
    return Finding(part, False, f"{host} answered {_words(response)}: {advice(response, provider)}")


def _webhook(part: str, provider: Provider, allowed: tuple[Network, ...]) -> Finding:
    """Only where it is: a request would be a push to nobody that its people had to understand."""
    try:
        check_url(provider.url, allowed)
    except WebhookFault as fault:
        return Finding(part, False, str(fault))
    return Finding(part, True, "its host is where a webhook may be")


def _expiry(part: str, provider: Provider, host: str) -> Finding:
    accepted = f"{host} accepts its credential for {provider.topic}"
    if provider.certificate is None:
        return Finding(part, True, accepted)
    now = datetime.now(UTC)
    try:
        days = load(provider.certificate, provider.certificate_password, now=now).days_left(now)
    except CertificateError as fault:
        return Finding(part, False, str(fault))
    if days > _EXPIRY:
        return Finding(part, True, f"{accepted}, for {days:.0f} days yet")
    text = f"{accepted}, but for {days:.0f} days only: make another certificate at developer.apple.com and store it"
    return Finding(part, False, f"{text} with carillon push apn --name {provider.name}, or change to a key")


def _impossible(provider: Provider) -> Notification:
    return Notification(IMPOSSIBLE, str(uuid4()), b'{"aps":{"alert":"carillon doctor"}}', provider.topic, expiration=0)


def _words(answer: Answer) -> str:
    return f"{answer.status} {answer.reason or '(no reason)'}"


def _named(provider: Provider) -> str:
    return f"{provider.name!r} of app {provider.app!r}"
