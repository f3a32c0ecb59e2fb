"""What Flower shows of a task: apps, providers and counts, the most of them."""

from typing import Any

import pytest
from celery.worker.request import Request

from worker.process import celery_request
from worker.process.celery_request import QuietRequest
from worker.process.task_result import Work


def test_counts_are_added_by_app_and_provider():
    work = Work()
    work.add("chat", "apns", {"accepted": 480})
    work.add("chat", "apns", {"accepted": 20, "parked.status_403": 1})
    work.add("other", None, {"jobs": 7})
    assert work.result(None) == {"chat/apns": {"accepted": 500, "held_back.status_403": 1}, "other": {"jobs": 7}}


def test_a_wake_up_without_work_says_nothing():
    work = Work()
    assert (bool(work), work.result("1")) == (False, {})
    assert celery_request._arguments == {}


def test_the_most_are_shown_and_the_others_counted():
    work = Work()
    for n in range(17):
        work.add(f"app{n:02}", "apns", {f"refused.{reason}": 10 * n + 1 for reason in range(9)})
    result = work.result(None)
    assert list(result) == ["app16/apns", "app15/apns", "app14/apns", "app13/apns", "app12/apns", "and"]
    assert result["and"] == "12 more"
    assert (len(result["app16/apns"]), result["app16/apns"]["and"]) == (7, "3 more")


def test_long_names_are_cut():
    work = Work()
    work.add("a" * 255, "b" * 64, {"accepted": 1})
    [place] = work.result(None)
    assert place == "a" * 60 + "…/" + "b" * 60 + "…"


def test_flower_gets_them_as_the_arguments_of_the_task_that_ends(monkeypatch: pytest.MonkeyPatch):
    sent: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(Request, "send_event", lambda _, kind, **fields: sent.append((kind, fields)))
    request = QuietRequest.__new__(QuietRequest)
    request.id = "1"
    work = Work()
    work.add("chat", "apns", {"accepted": 1})
    request.send_event("task-started")
    work.result("1")
    request.send_event("task-succeeded", result="…")
    assert sent == [("task-started", {}), ("task-succeeded", {"result": "…", "args": "(chat/apns)"})]
    assert celery_request._arguments == {}
