"""docs/fcm.md says what the code does."""

import json
import re
from pathlib import Path

from config.settings import Settings
from tests.unit.fcm.key_files import account
from worker.core.batch import Sending
from worker.providers.fcm.kind import KIND
from worker.providers.fcm.message import ANDROID_LIMIT, APNS_LIMIT, APPLE, Message, form
from worker.providers.fcm.outcome import LEAST_COOLDOWN, MAX_TRIES
from worker.providers.fcm.reasons import BY_CODE
from worker.providers.fcm.route import TIMING
from worker.providers.fcm.settings import FcmSettings

TEXT = (Path(__file__).parents[3] / "docs" / "fcm.md").read_text()


def test_every_key_of_data_is_in_its_table() -> None:
    alert = {"title": "t", "subtitle": "s", "body": "b", "title-loc-key": "k", "title-loc-args": ["a"], "loc-key": "k",
             "loc-args": ["a"]}  # fmt: skip
    sender = {"id": "i", "name": "n", "image": "m"}
    carillon = {
        "channel": "c",
        "message": "m",
        "parent": "p",
        "sender": sender,
        "count": 2,
        "truncated": True,
        "data": {"a": 1},
    }
    document = {
        "aps": {"alert": alert, "sound": "default", "category": "c", "thread-id": "t", "badge": 1},
        "carillon": carillon,
    }
    sending = Sending("1-0", "e1", json.dumps(document), "", 0, "collapse", kind="regular")
    made = form(FcmSettings(account(), "app"), sending, "android")
    body = Message(made, "token", "id", None, 0, False).content(0)
    table = TEXT.partition("| key of `data` |")[2].partition("\n\n")[0]
    named = [name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(named) == sorted(json.loads(body)["message"]["android"]["data"])


def test_numbers_and_names_are_those_of_the_code() -> None:
    assert f"{ANDROID_LIMIT:,}" in TEXT and f"{APNS_LIMIT:,}" in TEXT
    assert f"`CARILLON_FCM_CONNECTIONS` ({Settings().fcm_connections})" in TEXT
    assert (MAX_TRIES, LEAST_COOLDOWN, TIMING.ping_gap) == (8, 60.0, 300.0) and "eight tries" in TEXT
    assert [f"{most:,}" in TEXT for most, _ in KIND.device_rates] == [True, True]
    assert [platform for platform in APPLE if f"`{platform}`" not in TEXT] == []


def test_every_answer_with_an_outcome_of_its_own_is_in_the_table() -> None:
    internal = {"THIRD_PARTY_AUTH_ERROR_UNKNOWN_PLATFORM", "QUOTA_EXCEEDED_SEVERAL_DEVICES"}
    codes = {code for _, code in BY_CODE if code is not None} - internal
    assert [code for code in codes if f"`{code}`" not in TEXT] == []
