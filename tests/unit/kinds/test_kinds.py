"""What every kind of provider keeps, the toy of these tests included. A new kind adds its example."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from config.settings import Settings
from producers import events as ev
from tests.integration.pipeline.harness import message
from tests.unit.kinds.examples import EXAMPLES, Example
from worker.core import notification
from worker.core.batch import Job, Sending
from worker.core.model import ACCEPTED, HELD_UP, Answer, NoAnswer, Provider, StoredSettings
from worker.core.outcome import DELIVERED, Delivered, Drop, OpenBreaker, Retry, Unregister
from worker.core.refusal import Refused
from worker.providers import kinds
from worker.providers.base import Client, Context, Kind, SettingsError
from worker.providers.kinds import KINDS, kind_of, registration, token_forms

REGISTERED, SENT = 1_000, 2_000
NOW = 1_800_000_000.0
CASES = [pytest.param(one, id=f"{name} {n}") for name, found in EXAMPLES.items() for n, one in enumerate(found)]


@pytest.fixture(autouse=True)
def toy() -> Iterator[None]:
    kinds.register("tests.unit.kinds.toy.kind")
    yield
    del KINDS["toy"]


@pytest.fixture(params=CASES)
def example(request: pytest.FixtureRequest) -> Example:
    found: Example = request.param
    return found


@pytest.fixture
def provider(example: Example) -> Provider:
    return Provider(7, "demo", "way", "production", example.settings)


@pytest.fixture
def kind(provider: Provider) -> Kind:
    return kind_of(provider)


def stored_token(token: str, provider: Provider) -> str:
    """What is stored of the device, or of a browser with this endpoint."""
    if not kind_of(provider).subscriptions:
        return registration(ev.Device(token=token), provider)[0]
    # The keys of RFC 8291, appendix A.
    keys = ev.SubscriptionKeys(
        p256dh="BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
        auth="BTBZMqHH6r4Tts7J_aSIgg",
    )
    return registration(ev.Device(subscription=ev.Subscription(endpoint=token, keys=keys)), provider)[0]


def job(number: int = 0, *, badge: int | None = None) -> Job:
    return Job(0, 10 + number, f"user{number}", f"ab{number:02}", REGISTERED, badge=badge)


def sending(text: str = "hello") -> Sending:
    long = "ä" * 4_000
    event = message(text=text)
    event = ev.MessageNew(
        id=event.id, app=event.app, at=event.at, channel=ev.Channel(id="general", name=long[:200]),
        message=event.message, sender=ev.Sender(id="leia", name=long[:200]),
    )  # fmt: skip
    rendered = notification.render(event)
    return Sending("1-0", event.id, rendered.prefix.decode(), rendered.suffix.decode(), int(NOW) + 60, "collapse")


def test_every_kind_has_an_example() -> None:
    assert EXAMPLES.keys() == KINDS.keys()


def test_no_two_kinds_have_rows_of_one_form() -> None:
    forms = [form for kind in KINDS.values() for form in kind.forms]
    assert len(forms) == len(set(forms))


def test_settings_that_are_right_pass(kind: Kind, example: Example) -> None:
    kind.check(example.settings)


def test_settings_that_can_never_work_are_refused_in_words(kind: Kind, example: Example) -> None:
    assert example.wrong
    for words, settings in example.wrong.items():
        with pytest.raises(SettingsError) as refused:
            kind.check(settings)
        assert words in str(refused.value)
        assert not [secret for secret in example.secrets if secret in str(refused.value)]


def test_a_row_gives_the_settings_back_and_has_no_secret_in_clear(kind: Kind, example: Example) -> None:
    stored = kinds.store(example.settings)
    assert stored.form in kind.forms
    assert kinds.load(stored) == example.settings
    clear = json.dumps(stored.fields)
    assert json.loads(clear) == stored.fields
    assert not [secret for secret in example.secrets if secret in clear]


def test_a_row_without_its_credential_can_still_be_described(kind: Kind, example: Example) -> None:
    stored = kinds.store(example.settings)
    blind = kinds.load(StoredSettings(stored.form, stored.fields))
    provider = Provider(7, "demo", "way", "production", blind, readable=False)
    assert kind_of(provider) is kind
    assert kind.describe(provider)["kind"]
    assert kind.about(provider)
    assert kind.ends_at(provider) is None


def test_a_row_of_a_kind_that_is_not_known_is_none() -> None:
    assert kinds.load(StoredSettings("carrier pigeon", {})) is None


def test_a_token_has_one_form_whatever_client_wrote_it(provider: Provider, example: Example) -> None:
    for given, stored in example.tokens.items():
        assert stored_token(given, provider) == stored
        assert stored_token(stored, provider) == stored, "it stays as it is"
        assert stored in token_forms(given, {})
    for given in example.no_tokens:
        with pytest.raises(Refused, match=r"^device\.(token|subscription\.endpoint): "):
            stored_token(given, provider)


def test_a_token_over_the_kinds_limit_is_refused_in_words(kind: Kind, provider: Provider) -> None:
    assert kind.token_limit <= 4096
    with pytest.raises(Refused, match=r"^device\.token: at most "):
        stored_token("ab" * kind.token_limit, provider)


def test_what_is_rendered_is_one_request_a_job_within_the_limit(
    kind: Kind, provider: Provider, example: Example
) -> None:
    jobs = [job(number, badge=number * 1_000) for number in range(3)]
    requests: Any = kind.render(provider, [sending("𝒳" * 10_000)], jobs, [one.badge for one in jobs])
    assert [example.badge(json.loads(one.payload)) for one in requests] == [0, 1_000, 2_000]
    assert {len(one.payload) <= kind.payload_limit for one in requests} == {True}


def test_a_request_is_the_same_on_every_try(kind: Kind, provider: Provider) -> None:
    first, second = job(), Job(0, 10, "user0", "ab00", REGISTERED, attempt=3)
    made = [kind.render(provider, [sending()], [one], [one.badge]) for one in (first, second)]
    assert made[0] == made[1]


def test_every_answer_has_an_outcome_and_few_retire(kind: Kind, example: Example) -> None:
    for status in range(200, 600):
        for answer in (Answer(status), Answer(status, "NeverHeardOf")):
            outcome = kind.decide(answer, registered_at=REGISTERED, sent_at=SENT, attempt=1)
            assert isinstance(outcome, Delivered | Retry | Unregister | Drop | OpenBreaker)
            assert not isinstance(outcome, Unregister) or status in example.retiring
            assert not isinstance(outcome, Delivered) or status < 300


def test_an_acceptance_is_delivered_and_a_fault_of_the_server_is_tried_again(kind: Kind) -> None:
    assert kind.decide(ACCEPTED, registered_at=REGISTERED, sent_at=SENT, attempt=1) is DELIVERED
    busy = kind.decide(Answer(503), registered_at=REGISTERED, sent_at=SENT, attempt=1)
    assert (
        isinstance(busy, Retry)
        and busy.scope == ("origin" if kind.origin("https://a.example/b", "") else "provider")
        and busy.spends_attempt
    )


def test_a_device_that_is_gone_is_retired_up_to_the_moment_of_sending(kind: Kind, example: Example) -> None:
    outcome = kind.decide(example.gone, registered_at=REGISTERED, sent_at=SENT, attempt=1)
    assert isinstance(outcome, Unregister) and outcome.not_after <= SENT


@pytest.mark.parametrize(
    ("none", "spends"),
    [
        pytest.param(NoAnswer("not_sent", "connect: refused"), False, id="it was never sent"),
        pytest.param(HELD_UP, False, id="behind one that was not accepted"),
        pytest.param(NoAnswer("unknown", "deadline"), True, id="it may have arrived"),
    ],
)
def test_no_answer_is_tried_again(kind: Kind, none: NoAnswer, *, spends: bool) -> None:
    outcome = kind.decide(none, registered_at=REGISTERED, sent_at=SENT, attempt=1)
    assert isinstance(outcome, Retry) and outcome.spends_attempt == spends


def test_nothing_that_people_read_has_a_secret(kind: Kind, provider: Provider, example: Example) -> None:
    shown = [
        *(repr(provider), kind.about(provider), repr(kind.describe(provider)), repr(kind.words)),
        *(kind.advice(one, provider) for one in (Answer(403), Answer(418), NoAnswer("unknown", "deadline"))),
        repr(kind.preview(provider, sending(), job(), now=NOW)),
    ]
    assert not [secret for secret in example.secrets for text in shown if secret in text]
    assert all(shown)


def test_a_client_is_made_once_a_process_and_closes(provider: Provider) -> None:
    clients = kinds.Clients(Context(Settings(), _NoTokens(), lambda _: None))
    client = clients.of(provider)
    assert isinstance(client, Client)
    assert clients.of(provider) is client
    clients.close()


class _NoTokens:
    away: tuple[type[Exception], ...] = ()

    def read(self, key: tuple[str, str, str]) -> str | None:
        return None

    def write(self, key: tuple[str, str, str], token: str, *, seconds: int) -> None:
        """Nobody asks for it."""

    def lease(self, key: tuple[str, str, str], *, seconds: float) -> bool:
        return True

    def release(self, key: tuple[str, str, str]) -> None:
        """Nobody waits for it."""
