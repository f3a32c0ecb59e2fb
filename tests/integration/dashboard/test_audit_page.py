"""The page of the audit log: what people did, by person, act and app, page by page."""

import re

import pytest

from tests.integration.dashboard.conftest import Site, Visitor
from worker.core.model import AppSettings
from worker.process.by_hand import by_hand
from worker.reports.acts import By

HOSTILE = '"><svg onload=alert(1)>\u202e'


@pytest.fixture(scope="module")
def viewer(site: Site) -> Visitor:
    """Someone who looks at 60 acts of mira's and one of jo's."""
    for n in range(60):
        with by_hand(site.runtime, By("mira", "ops-1")) as hand:
            hand.record("push tested", app="chat", target=f"user{n}", detail={"devices": n})
    with by_hand(site.runtime, By("jo", HOSTILE)) as hand:
        hand.create_app(AppSettings("other", max_age=60))
        hand.change_app(AppSettings("other", max_age=60), AppSettings("other", max_age=90))
        hand.record("provider paused", app=HOSTILE, provider="apns", note=HOSTILE)
    return site.visitor("vera")


def shown(viewer: Visitor, query: str = "") -> list[str]:
    """The cells of the column of acts."""
    page = viewer.get(f"/audit{query}")
    assert page.status_code == 200
    return re.findall(r"<td class=\"w nw\">(push tested|app created|app changed|provider paused)</td>", page.text)


def test_the_newest_acts_are_shown_and_the_older_ones_by_pages(viewer: Visitor) -> None:
    first = viewer.get("/audit").text
    assert shown(viewer)[:3] == ["provider paused", "app changed", "app created"]
    [older] = re.findall(r'href="(/audit\?after=[^"]+)" rel="next"', first)
    assert (len(shown(viewer)), len(shown(viewer, older.removeprefix("/audit")))) == (50, 13)
    assert "max_age 60 -&gt; 90" in first


def test_it_is_filtered_by_person_act_and_app(viewer: Visitor) -> None:
    assert shown(viewer, "?who=jo") == ["provider paused", "app changed", "app created"]
    assert shown(viewer, "?app=other") == ["app changed", "app created"]
    assert shown(viewer, "?act=app+created&who=") == ["app created"]
    assert "Remove the filters" in viewer.get("/audit?who=nobody").text
    [older] = re.findall(r'href="(/audit\?[^"]+)" rel="next"', viewer.get("/audit?who=mira").text)
    assert "who=mira" in older


def test_names_and_notes_of_others_are_shown_as_text(viewer: Visitor) -> None:
    page = viewer.get("/audit?who=jo").text
    assert "<svg onload" not in page and "\u202e" not in page
    assert "&#34;&gt;&lt;svg onload=alert(1)&gt;\\u202e" in page


@pytest.mark.parametrize("position", ["x", "W10=", "WyJ4Il0=", "WzEsMl0="])
def test_a_page_that_is_none_is_refused(viewer: Visitor, position: str) -> None:
    """Not JSON; an empty position; a text; two numbers."""
    assert "This page of the table is unknown" in viewer.get(f"/audit?after={position}").text
