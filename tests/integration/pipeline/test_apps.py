"""Apps, providers and templates: changed while workers run, in force for the next message. S12, S13, S17, S18, A6."""

import json
import threading
from collections import Counter
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding

from producers import events as ev
from tests.integration.pipeline.harness import Pipeline, Tokens, message, stamp, token, user_of
from tests.unit.apns.push_certificates import NOW, p12, push_certificate
from worker.core.model import AppSettings, Notification, Provider
from worker.core.template_form import TemplateForm
from worker.core.templates import Template
from worker.database.registry import Registry, StoredTemplate
from worker.database.vault import CredentialError
from worker.pipeline.apps import Apps
from worker.providers import kinds
from worker.providers.apns.client import ApnsClient
from worker.providers.apns.sender import ApnsSender
from worker.providers.apns.settings import P12, ApnsSettings, Key
from worker.simulator import Settings, SimulatorThread
from worker.state import recent


def alert(notification: Notification) -> Any:
    return json.loads(notification.payload)["aps"]["alert"]


def template(pipeline: Pipeline, text: str, *, kind: str = "", locale: str = "", provider: int | None = None) -> None:
    document = json.dumps({"aps": {"alert": text}})
    pipeline.registry.save_template(StoredTemplate(provider or pipeline.provider.id, kind, locale, document))


def device(pipeline: Pipeline, user: str, **fields: Any) -> None:
    registered = ev.Device(token=token(user), **fields)
    pipeline.publish(ev.DeviceRegistered(**stamp(), user=user, device=registered))


@pytest.fixture
def channel(pipeline: Pipeline) -> Pipeline:
    """Leia, who writes, and three who read: English, French, Canadian."""
    pipeline.publish(
        ev.MemberAdded(**stamp(), channel=ev.ChannelId(id="general"), users=["leia", "han", "luke", "rey"]),
        ev.ChannelUpdated(**stamp(), channel=ev.ChannelSettings(id="general", name="General")),
    )
    for user, locale in (("han", "en"), ("luke", "fr"), ("rey", "fr_CA")):
        device(pipeline, user, locale=locale)
    return pipeline


def test_S17_the_template_renders_the_payload_in_the_device_s_language(channel):
    template(channel, "{{ sender.id }} in {{ channel.name }}: {{ message.text }}")
    template(channel, "{{ sender.id }} dans {{ channel.name }}", locale="fr")
    channel.publish(message())
    assert {user_of(n): alert(n) for n in channel.run()} == {
        "han": "leia in General: hello",
        "luke": "leia dans General",
        "rey": "leia dans General",
    }
    assert {json.loads(n.payload)["aps"]["badge"] for n in channel.apns.sent} == {1}


def test_S17_a_kind_has_its_own_template_and_a_change_is_in_force_for_the_next_message(channel):
    template(channel, "order {{ message.data.number }}", kind="order")
    channel.publish(message(id="e1", kind="order", data={"number": 7}))
    assert {alert(n) for n in channel.run()} == {"order 7"}
    template(channel, "changed", kind="order")
    channel.publish(message(id="e2", kind="order"))
    assert {alert(n) for n in channel.run()} == {"changed"}
    channel.publish(message(id="e3"))
    assert {alert(n)["body"] for n in channel.run()} == {"hello"}


def test_a_message_is_rendered_once_for_all_whom_one_rendering_is_for(channel):
    template(channel, "{{ message.text }}", locale="fr")
    channel.publish(message())
    channel.take()
    channel.expand()
    [batch] = [channel.journal.take_batch("urgent")]
    assert batch is not None
    assert sorted(Counter(job.sending for job in batch.batch.jobs).values()) == [1, 2]


def test_a_burst_is_folded_in_the_words_of_the_template(channel):
    channel.save_app(fold_after=2)
    template(channel, "{{ message.text }}{% if message.count == 1 %} (1){% endif %}")
    channel.publish(*(message(id=f"e{n}") for n in range(4)))
    sent = [n for n in channel.run() if user_of(n) == "han"]
    assert [alert(n) for n in sent] == ["hello (1)"] * 2 + ["General: 3 new messages", "General: 4 new messages"]
    assert len({n.heading.collapse_id for n in sent}) == 3, "the last two replace each other"


def test_a_template_that_names_the_recipient_is_rendered_for_each(channel):
    template(channel, "{{ recipient.id }}{% if recipient.mentioned %}!{% endif %}")
    channel.publish(message(mentioned=["han"]))
    assert {user_of(n): alert(n) for n in channel.run()} == {"han": "han!", "luke": "luke", "rey": "rey"}


def test_the_ledger_knows_every_device_whatever_was_rendered(channel):
    template(channel, "{{ recipient.id }}")
    channel.publish(message())
    channel.run()
    [accepted] = [part["accepted"] for name, part in channel.account("e1").items() if name.startswith("batch:")]
    assert sorted(user for user, _ in accepted) == ["han", "luke", "rey"]
    assert channel.journal.backlog() == (0, 0)


def test_a_template_that_fails_costs_nobody_a_push(channel, caplog):
    template(channel, "{{ message.text + message.data.n }}")
    channel.publish(message(text="secret words", data={"n": 1}))
    assert {alert(n)["body"] for n in channel.run()} == {"secret words"}
    assert channel.journal.counts("demo")["template_failed"] == 1
    assert "template failed" in caplog.text and "secret" not in caplog.text


def test_a_stored_template_that_this_release_does_not_take_is_left_out(channel):
    channel.registry.save_template(StoredTemplate(channel.provider.id, "", "", '{"aps": {"alert": "{{ nobody.id }}"}}'))
    channel.publish(message())
    assert {alert(n)["body"] for n in channel.run()} == {"hello"}


def test_the_badge_may_be_left_alone(channel):
    document = '{"aps": {"alert": "x", "badge": null}}'
    channel.registry.save_template(StoredTemplate(channel.provider.id, "", "", document))
    channel.publish(message())
    assert {n.payload for n in channel.run()} == {b'{"aps":{"alert":"x"}}'}


def test_devices_of_a_removed_provider_are_skipped_until_it_is_back(channel):
    channel.take()
    channel.add_provider("second", topic="io.second")
    device(channel, "han", provider="second")
    channel.publish(ev.DeviceRegistered(**stamp(), user="han", device=ev.Device(token="ab" * 8, provider="apns")))
    channel.take()
    assert channel.registry.remove_provider("demo", "apns")
    channel.publish(message(id="e1"))
    assert [n.heading.topic for n in channel.run()] == ["io.second"]
    page = channel.account("e1")["page:0"]
    assert (page["pushed"], sorted(page["skipped"]["no_provider"])) == (["han"], ["luke", "rey"])
    channel.add_provider("apns")
    channel.publish(message(id="e2"))
    assert len(channel.run()) == 4


def test_what_waits_for_a_provider_that_is_removed_is_dropped_and_accounted_for(channel):
    channel.publish(message())
    channel.take()
    channel.expand()
    channel.registry.remove_provider("demo", "apns")
    assert channel.deliver() == [{"dropped.no_provider": 3}]
    assert channel.journal.backlog() == (0, 0)


def test_A6_pushes_that_wait_are_dropped_when_the_app_is_switched_off(channel):
    channel.publish(message())
    channel.take()
    channel.expand()
    channel.save_app(push_enabled=False)
    assert channel.deliver() == [{"dropped.app_push_off": 3}]
    channel.publish(message(id="e2"))
    assert channel.run() == []
    assert channel.account("e2")["page:0"] == {"message": "app_push_off"}
    channel.save_app()
    channel.publish(message(id="e3"))
    assert len(channel.run()) == 3


def test_recent_messages_are_kept_where_the_app_allows_it(channel):
    channel.publish(message(id="e1", text="kept"), message(id="e2", skip_push=True, channel="other"))
    channel.run()
    [document] = recent.documents(channel.partition, "demo", now=channel.now)
    assert ev.decode(document).id == "e1"
    recent.forget(channel.partition, "demo", now=channel.now)
    channel.save_app(keep_recent=False)
    channel.publish(message(id="e3"))
    channel.run()
    assert recent.documents(channel.partition, "demo", now=channel.now) == []


def test_recent_messages_are_bounded_in_number_size_and_time(redis_url, pipeline):
    documents = [("demo", f"c{n}", b"x" * 10) for n in range(3 * recent.BUCKETS)]
    recent.keep(pipeline.partition, [*documents, ("demo", "large", b"x" * 5000)], now=pipeline.now)
    kept = recent.documents(pipeline.partition, "demo", now=pipeline.now)
    assert len(kept) <= recent.BUCKETS
    assert {len(one) for one in kept} == {10}
    assert recent.documents(pipeline.partition, "demo", now=pipeline.now + 2 * recent.DAY) == []
    [key] = pipeline.redis.keys("carillon:recent:*")
    assert 0 < pipeline.redis.ttl(key) <= 2 * recent.DAY


def test_S13_a_provider_with_a_certificate_delivers(channel, tmp_path):
    days = (datetime.now(UTC) - NOW).days + 300
    certificate, key = push_certificate(uid="io.carillon.demo", days=days)
    (trusted := tmp_path / "client.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    with SimulatorThread(Settings(topics=("io.carillon.demo",), client_ca=str(trusted))) as simulator:
        credential = P12(p12((certificate, key), BestAvailableEncryption(b"secret")), "secret")
        settings = ApnsSettings("io.carillon.demo", credential, "localhost", simulator.port, simulator.ca_pem)
        channel.registry.save_provider(Provider(channel.provider.id, "demo", "apns", "production", settings))
        sender = ApnsSender()
        channel.clients["apns"] = ApnsClient(sender, cast("Any", Tokens()))
        channel.publish(message())
        channel.run()
        sender.close()
        assert sorted(entry.token for entry in simulator.accepted) == sorted(token(u) for u in ("han", "luke", "rey"))


def test_one_credential_that_cannot_be_read_stops_no_other(pipeline, caplog):
    lost, kept = (ApnsSettings(topic, Key("T", "K", "pem")) for topic in ("io.lost", "io.found"))
    pipeline.registry.save_provider(Provider(0, "demo", "lost", "production", lost))
    keys = [Fernet.generate_key().decode()]
    other = Registry(pipeline.pool, keys, kinds)
    other.save_provider(Provider(0, "demo", "found", "production", kept))
    found = {p.name: p.settings.credential.pem for p in other.providers().values()}
    assert found == {"apns": "", "lost": "", "found": "pem"}
    assert sorted(other.unreadable()) == [("demo", "apns"), ("demo", "lost")]
    assert caplog.text.count("provider cannot be used") == 2
    with pytest.raises(CredentialError, match="'apns' of app 'demo'"):
        other.rotate()


def test_S18_a_running_process_sees_a_new_app_and_provider_at_once_and_a_change_within_its_patience(pipeline):
    apps = Apps(pipeline.registry, ttl=3600)
    assert apps.app("demo") == AppSettings("demo")
    made = pipeline.add_provider("second")
    assert apps.provider(made.id) == made, "somebody knows it already, so it is looked for"
    pipeline.save_app(member_cap=7)
    assert apps.app("demo") == AppSettings("demo"), "a change is seen when what is known is too old"
    assert Apps(pipeline.registry, ttl=0).app("demo") == AppSettings("demo", member_cap=7)


class Counted(Registry):
    looks = 0

    def snapshot(self, since: int | None = None) -> Any:
        self.looks += 1
        return super().snapshot(since)


def test_nothing_is_refused_for_an_app_or_provider_that_was_stored_before_it_was_published(pipeline):
    registry = Counted(pipeline.pool, [pipeline.secret_key], kinds)
    # What it knows does not become too old during this test.
    pipeline.intake._apps = Apps(registry, ttl=3600)
    device(pipeline, "han")
    pipeline.take()
    pipeline.add_provider("second", topic="io.second")
    device(pipeline, "luke", provider="second")
    pipeline.registry.save_app(AppSettings("new"))
    pipeline.publish(ev.MemberAdded(**stamp() | {"app": "new"}, channel=ev.ChannelId(id="c"), users=["rey"]))
    pipeline.take()
    assert pipeline.ledger.dead_letters() == []
    looks = registry.looks
    for _ in range(20):
        device(pipeline, "leia", provider="third")
    pipeline.take()
    assert len(pipeline.ledger.dead_letters()) == 20
    assert registry.looks - looks <= 2, "refusals of one step share a look"


def many(pipeline: Pipeline, apps: int) -> None:
    with pipeline.pool.connection() as db:
        db.execute("INSERT INTO carillon.apps (name) SELECT 'app-' || n FROM generate_series(1, %s) n", (apps,))
        db.execute(
            "INSERT INTO carillon.providers (app, name, environment, topic, team_id, key_id, credential, host, port)"
            " SELECT a.name, 'apns', 'production', topic, team_id, key_id, credential, host, port"
            " FROM carillon.providers, carillon.apps a WHERE app = 'demo' AND a.name LIKE 'app-%'"
        )
        db.execute(
            "INSERT INTO carillon.templates (provider_id, kind, locale, document)"
            " SELECT id, '', l, %s FROM carillon.providers, unnest(ARRAY['', 'fr']) l WHERE app LIKE 'app-%%'",
            ('{"aps": {"alert": "{{ message.text }}"}}',),
        )


def test_a_change_costs_what_it_is_about_however_many_apps_there_are(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    many(pipeline, 500)
    parsed, read = Counter[str](), []
    parse, snapshot = Template.parse, Registry._snapshot

    def counted(document: Any, form: TemplateForm, *, locale: str = "") -> Template:
        parsed[locale] += 1
        return parse(document, form, locale=locale)

    def noted(registry: Registry, db: Any, version: int, changed: frozenset[str] | None) -> Any:
        read.append(changed)
        return snapshot(registry, db, version, changed)

    monkeypatch.setattr(Template, "parse", counted)
    monkeypatch.setattr(Registry, "_snapshot", noted)
    apps = Apps(pipeline.registry, ttl=0.0)
    assert [apps.app(f"app-{n}") is not None for n in range(502)].count(True) == 500
    assert read == [None], "everything once, then nothing"
    assert not parsed, "a template is compiled when its app needs it"
    for _ in range(3):
        assert len(apps.templates_of("app-7")) == 1
    assert parsed == {"": 1, "fr": 1}
    provider = apps.providers_of("app-7")["apns"]
    pipeline.registry.save_template(StoredTemplate(provider.id, "", "fr", '{"aps": {"alert": "salut"}}'))
    pipeline.registry.save_app(AppSettings("app-9", push_enabled=False))
    assert len(apps.templates_of("app-7")) == 1
    assert apps.app("app-9") == AppSettings("app-9", push_enabled=False)
    assert parsed == {"": 1, "fr": 2}, "what stayed as it is stays compiled"
    assert read == [None, {"app-7", "app-9"}]
    assert pipeline.registry.remove_provider("app-7", "apns")
    assert apps.provider(provider.id) is None
    assert (apps.providers_of("app-7"), apps.templates_of("app-7")) == ({}, {})
    assert len(apps.providers()) == 500
    with pipeline.pool.connection() as db:
        db.execute(
            "DELETE FROM carillon.templates WHERE provider_id IN (SELECT id FROM carillon.providers WHERE app = 'app-8')"
        )
        db.execute("DELETE FROM carillon.providers WHERE app = 'app-8'")
        db.execute("DELETE FROM carillon.apps WHERE name = 'app-8'")
    assert apps.app("app-8") is None
    assert apps.templates_of("app-8") == {}


def test_changes_that_overlap_are_all_seen(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that began first is committed last: by its number it would have been passed over."""
    monkeypatch.setattr("worker.pipeline.apps._UNKNOWN_APP", 0.0)
    apps = Apps(pipeline.registry, ttl=0.0)
    assert apps.app("demo") is not None
    with pipeline.pool.connection() as slow:
        with slow.transaction():
            slow.execute("INSERT INTO carillon.apps (name) VALUES ('slow')")
            assert apps.app("slow") is None
            quick = threading.Thread(target=pipeline.registry.save_app, args=(AppSettings("quick"),))
            quick.start()
            assert apps.app("quick") is None
        quick.join()
    assert apps.app("slow") is not None
    assert apps.app("quick") is not None


def test_a_server_that_lost_changes_is_read_anew(pipeline: Pipeline) -> None:
    apps = Apps(pipeline.registry, ttl=0.0)
    assert apps.app("demo") is not None
    pipeline.save_app(member_cap=7)
    assert apps.app("demo") == AppSettings("demo", member_cap=7)
    with pipeline.pool.connection() as db:
        db.execute("UPDATE carillon.apps SET member_cap = 5")
        db.execute("UPDATE carillon.registry_changes SET version = 0")
    assert apps.app("demo") == AppSettings("demo", member_cap=5)
