"""What operators do: said before, confirmed, audited, done once, and only by who may."""

import json
import re
import time
from html import unescape
from types import SimpleNamespace
from typing import Any, cast

import pytest

from producers.events import FIELD, STREAM
from tests.integration.dashboard.conftest import HERE, Site, done, fields
from worker.core.model import AppSettings
from worker.core.way import way_of
from worker.dashboard import app as app_module
from worker.dashboard import text
from worker.dashboard.acts import ACTS
from worker.reports.watch import Watch
from worker.state.origins import Origins

PAUSE = "/apps/chat/providers/apns/pause"
RESUME = "/apps/chat/providers/apns/resume"
#: An address of each act, by its name.
PATHS = {
    "pause": PAUSE,
    "resume": RESUME,
    "probe": "/apps/chat/providers/apns/probe",
    "pause-app": "/apps/chat/pause",
    "resume-app": "/apps/chat/resume",
    "pause-everything": "/pause",
    "resume-everything": "/resume",
    "restore": "/apps/chat/devices/1/restore",
    "test-push": "/apps/chat/test?user=han",
    "take": "/conditions/take?key=x",
    "retry-letter": "/dead-letters/1/retry",
    "drop-letter": "/dead-letters/1/drop",
    "retry-letters": "/dead-letters/retry?upto=1",
    "drop-letters": "/dead-letters/drop?upto=1",
}


@pytest.fixture(autouse=True)
def providers(site: Site) -> dict[str, int]:
    """Two apps with a provider each, nothing paused, a device each of two users, one of them retired."""
    site.stores.redis.flushall()
    with site.runtime.pool.connection() as db:
        db.execute("DELETE FROM carillon.devices")
        db.execute("DELETE FROM carillon.providers")
        db.execute("TRUNCATE carillon.audit")
        for app in ("chat", "forum"):
            site.runtime.registry.save_app(AppSettings(app))
        rows = db.execute(
            "INSERT INTO carillon.providers (app, name, environment, kind, topic, team_id, key_id, host, port, credential)"
            " SELECT app, 'apns', 'production', 'key', 'io.example', 'TEAM', 'KEY', 'api.push.apple.com', 443, 'x'"
            " FROM unnest(ARRAY['chat', 'forum']) AS app RETURNING app, id"
        ).fetchall()
        found = dict(rows)
        db.execute(
            "INSERT INTO carillon.devices (app, provider_id, token, user_id, active, retired_reason, retired_at, registered_at)"
            " VALUES ('chat', %(p)s, 'aa', 'han', true, NULL, NULL, 1),"
            " ('chat', %(p)s, 'bb', 'leia', false, 'unregistered', now(), 1)",
            {"p": found["chat"]},
        )
    return found


def retired(site: Site) -> Any:
    with site.runtime.pool.connection() as db:
        return db.execute("SELECT id FROM carillon.devices WHERE NOT active").fetchall()[0][0]


def audit(site: Site) -> list[tuple[Any, ...]]:
    with site.runtime.pool.connection() as db:
        return db.execute("SELECT act, who, app, target, note FROM carillon.audit ORDER BY id").fetchall()


def test_a_pause_says_what_it_does_and_is_audited(site: Site, providers: dict[str, int]) -> None:
    page = site.visitor("otto").get(PAUSE).text
    assert "Pause provider apns of app chat?" in page
    assert "Nothing is sent through apns of app chat until somebody resumes it." in page
    answer = done(site, PAUSE)
    assert (answer.status_code, "apns of app chat is paused" in answer.text) == (200, True)
    stopped = site.stores.partitions[0].breaker.stopped(providers["chat"])
    assert stopped is not None
    assert (stopped.manual, stopped.reason) == (True, "receiver moves (otto)")
    assert audit(site) == [("provider paused", "otto", "chat", "apns", "receiver moves")]


def test_a_pause_says_how_much_it_holds_back_and_when_the_first_is_lost(
    site: Site, providers: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr(app_module, "time", SimpleNamespace(time=lambda: now))
    with site.runtime.pool.connection() as db:
        db.execute("UPDATE carillon.apps SET max_age = CASE name WHEN 'chat' THEN 3600 ELSE 600 END")
    late = {
        age: f"at {text.clock(now + age)} UTC, {words} after the pause"
        for age, words in ((3600, "1 h"), (600, "10 min"))
    }
    sentences = {PAUSE: late[3600], "/apps/forum/pause": late[600], "/pause": late[600]}
    for path, lost in sentences.items():
        page = said(site, path)
        assert "nothing was counted in the last 5 minutes" in page
        assert f"The first would be lost {lost} (max_age)." in page
    # Of both apps 30 and 4 a second, and the total; what is older than five minutes does not count.
    with site.runtime.pool.connection() as db:
        db.execute(
            "INSERT INTO carillon.history (step, at, app, provider, seconds, counts, peaks)"
            " SELECT 30, s, app, provider, 30, jsonb_build_object('accepted', 30 * n * CASE WHEN s > %(old)s"
            " THEN 1 ELSE 9 END), '{}'"
            " FROM generate_series(%(now)s - 900, %(now)s, 30) AS s,"
            " (VALUES ('', 0, 34), ('chat', %(chat)s, 30), ('forum', %(forum)s, 4)) AS of (app, provider, n)",
            providers | {"now": int(now) // 30 * 30, "old": int(now) - 345},
        )
    for path, much in {PAUSE: "30", "/apps/chat/pause": "30", "/apps/forum/pause": "4.0", "/pause": "34"}.items():
        assert f"{much} notifications a second, as in the last 5 minutes, will be held back." in said(site, path)
    with site.runtime.pool.connection() as db:
        db.execute("DELETE FROM carillon.history WHERE app = 'chat'")
    assert "Nothing was accepted there in the last 5 minutes." in said(site, PAUSE)
    with site.runtime.pool.connection() as db:
        db.execute("DELETE FROM carillon.history")


def said(site: Site, path: str) -> str:
    """The page's words."""
    return unescape(re.sub("<[^>]*>", "", site.visitor("otto").get(path).text))


def test_a_resume_lets_it_flow(site: Site, providers: dict[str, int]) -> None:
    done(site, PAUSE)
    assert done(site, RESUME, "ada").status_code == 200
    assert site.stores.partitions[0].breaker.stopped(providers["chat"]) is None
    assert [row[:2] for row in audit(site)] == [("provider paused", "otto"), ("provider resumed", "ada")]


def test_a_form_of_what_was_before_changes_nothing(site: Site, providers: dict[str, int]) -> None:
    done(site, PAUSE)
    visitor = site.visitor("otto")
    form = fields(visitor.get(RESUME).text) | {"note": "moved"}
    done(site, RESUME, "ada")
    answer = visitor.post(RESUME, data=form, headers=HERE)
    assert answer.status_code == 409
    assert "Nothing was changed" in answer.text
    assert re.search(r"provider resumed by ada, [^.]+ ms ago|provider resumed by ada, [\d.]+ s ago", answer.text)
    assert len(audit(site)) == 2


def test_a_resume_that_comes_too_late_leaves_no_row(site: Site) -> None:
    assert done(site, RESUME).status_code == 409
    assert audit(site) == []


@pytest.mark.parametrize("other", [{"note": ""}, {"note": " "}, {"note": "x" * 201}])
def test_an_act_wants_a_note(site: Site, other: dict[str, str]) -> None:
    assert done(site, PAUSE, **other).status_code == 400
    assert audit(site) == []


def test_a_pause_of_everything_wants_the_word(site: Site, providers: dict[str, int]) -> None:
    assert done(site, "/pause").status_code == 400
    assert done(site, "/pause", typed="everything").status_code == 200
    assert {id for id in providers.values() if site.stores.partitions[0].breaker.stopped(id)} == set(providers.values())
    assert audit(site) == [("everything paused", "otto", None, None, "receiver moves")]


def test_a_resume_of_everything_leaves_what_was_paused_before(site: Site, providers: dict[str, int]) -> None:
    done(site, PAUSE)
    done(site, "/pause", typed="everything")
    assert done(site, "/resume").status_code == 200
    assert site.stores.partitions[0].breaker.stopped(providers["chat"]) is not None
    assert site.stores.partitions[0].breaker.stopped(providers["forum"]) is None


def test_a_pause_of_an_app_is_of_that_app(site: Site, providers: dict[str, int]) -> None:
    done(site, "/apps/chat/pause")
    assert site.stores.partitions[0].breaker.stopped(providers["chat"]) is not None
    assert site.stores.partitions[0].breaker.stopped(providers["forum"]) is None
    done(site, "/apps/chat/resume")
    assert site.stores.partitions[0].breaker.stopped(providers["chat"]) is None


def test_a_probe_is_sent_at_once(site: Site, providers: dict[str, int]) -> None:
    """Of all origins, however many they are."""
    origins = [f"https://{n}.example.org" for n in range(20)]
    Origins(site.stores.keyspace.partitions[0]).note(providers["chat"], origins)
    for way in (providers["chat"], *(way_of(providers["chat"], origin) for origin in origins)):
        site.stores.partitions[0].breaker.stop(way, "unreachable", 1.0)
    assert site.stores.redis.keys("*probe*")
    assert done(site, PATHS["probe"]).status_code == 200
    assert not site.stores.redis.keys("*probe*")
    assert audit(site)[0][0] == "provider probed"


def test_a_device_is_restored(site: Site) -> None:
    path = f"/apps/chat/devices/{retired(site)}/restore"
    assert "unregistered" in site.visitor("otto").get(path).text
    assert done(site, path).status_code == 200
    assert site.visitor("otto").get(path).status_code == 400
    with site.runtime.pool.connection() as db:
        assert db.execute("SELECT bool_and(active) FROM carillon.devices").fetchall() == [(True,)]
    assert len(audit(site)) == 1


def test_a_test_push_is_published(site: Site) -> None:
    assert done(site, PATHS["test-push"]).status_code == 200
    entries: Any = site.stores.redis.xrange(STREAM)
    assert b'"where":{"user":"han"}' in entries[0][1][FIELD.encode()]
    assert audit(site) == [("push tested", "otto", "chat", "han", "receiver moves")]


def test_a_test_push_to_one_device(site: Site) -> None:
    with site.runtime.pool.connection() as db:
        [(device,)] = db.execute("SELECT id FROM carillon.devices WHERE active").fetchall()
    [link] = re.findall(
        r'href="([^"]*/test[^"]*device=[^"]*)"', site.visitor("otto").get("/apps/chat/user?user=han&1").text
    )
    assert f"Device {device} of han in app chat" in site.visitor("otto").get(unescape(link)).text
    assert done(site, unescape(link)).status_code == 200
    [(_, entry)] = cast("list[Any]", site.stores.redis.xrange(STREAM))
    assert json.loads(entry[FIELD.encode()])["where"] == {"user": "han", "device": device}
    for wrong in (device + 1, "x", "-1"):
        assert site.visitor("otto").get(f"/apps/chat/test?user=han&device={wrong}").status_code in (400, 404)


def test_a_person_sends_one_test_push_a_second(site: Site) -> None:
    assert done(site, PATHS["test-push"]).status_code == 200
    again = done(site, PATHS["test-push"])
    assert (again.status_code, "you have just sent one" in again.text) == (409, True)
    assert done(site, PATHS["test-push"], "ada").status_code == 200, "another person"
    with site.runtime.pool.connection() as db:
        db.execute("TRUNCATE carillon.audit")
    assert done(site, PATHS["test-push"]).status_code == 200, "a second later"


@pytest.mark.parametrize("act", [act.name for act in ACTS if act.name in PATHS])
def test_each_act_needs_its_role_and_a_token_of_the_session(site: Site, act: str) -> None:
    path = PATHS[act]
    role = next(one.role for one in ACTS if one.name == act)
    below = {"operator": ["vera"], "admin": ["vera", "otto"]}[role]
    token = fields(site.visitor("ada").get(PAUSE).text)["token"]
    for name in below:
        assert site.visitor(name).get(path).status_code == 403
        assert site.visitor(name).post(path, data={"note": "x", "token": token}, headers=HERE).status_code == 403
    for form in ({}, {"token": ""}, {"token": token}, {"token": token[:-1]}):
        answer = site.visitor("ada").post(path, data={"note": "x", "typed": "everything"} | form, headers=HERE)
        assert answer.status_code == 403
    assert audit(site) == []
    assert not site.stores.redis.keys("*breaker*")


def test_every_act_is_tried_above() -> None:
    assert {act.name for act in ACTS} == {*PATHS}


def test_who_is_on_a_condition_is_shown_with_it(site: Site, providers: dict[str, int]) -> None:
    site.stores.partitions[0].breaker.stop(providers["chat"], "silent", time.time() - 60)
    Watch(site.stores.keyspace, site.runtime.pool).look()
    visitor = site.visitor("otto")
    [path] = set(re.findall(r'href="(/conditions/take[^"]*silent[^"]*)"', visitor.get("/conditions?1").text))
    assert done(site, unescape(path)).status_code == 200
    page = visitor.get("/conditions?2").text
    assert "otto is on it since" in page
    assert "receiver moves" in page
    assert path not in page


def test_the_way_back_is_a_page_of_ours(site: Site) -> None:
    visitor = site.visitor("otto")
    long = f"/apps?a={'1' * 400}"
    assert f'href="{long}"' in visitor.get(PAUSE, params={"back": long}).text
    assert "evil" not in re.sub(r"<title>.*", "", visitor.get(PAUSE, params={"back": "//evil.example/x"}).text)
