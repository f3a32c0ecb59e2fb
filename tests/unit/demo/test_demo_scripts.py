"""`carillon demo --script [KIND:]FILE`: each simulator gets its own script."""

from pathlib import Path

import pytest
import typer

from worker.cli.demo import _scripts
from worker.demo.services.apns import Apns
from worker.demo.services.fcm import Fcm
from worker.demo.services.web import Web
from worker.demo.world import Device
from worker.simulator import Rule, Script


def test_a_script_is_for_the_kind_that_it_names_and_else_for_apns(tmp_path: Path) -> None:
    file = tmp_path / "script.json"
    file.write_text('{"rules": [{"count": 1, "answer": {"status": 500}}]}')
    found = _scripts([str(file), f"web:{file}"])
    assert found.keys() == {"apns", "web"}
    assert found["web"].rules[0].count == 1


def test_a_script_that_is_not_there_is_named() -> None:
    with pytest.raises(typer.BadParameter, match=r"no file 'nothing\.json'"):
        _scripts(["fcm:nothing.json"])


def test_each_simulator_answers_for_its_own_devices_and_rules_of_a_script_come_first() -> None:
    devices = [
        Device("apns-gone", "han", "gone", 1_000, "apns"),
        Device("apns-returned", "han", "returned", 1_000, "apns"),
        Device("fcm-gone", "han", "gone", 1_000, "fcm"),
        Device("fcm-foreign", "han", "foreign", 1_000, "fcm"),
        Device("web-gone", "han", "gone", 1_000, "web"),
        Device("web-busy", "han", "busy", 1_000, "web"),
    ]
    extra = Script(rules=(Rule(token="x"),))
    apns, fcm, web = (service.script(devices, extra) for service in (Apns(), Fcm(), Web(7)))
    assert [rule.token for rule in apns.rules] == ["x", "apns-returned"]
    assert [rule.token for rule in web.rules] == ["x", "web-busy"]
    assert {token: answer.code for token, answer in apns.tokens.items()} == {"apns-gone": 410}
    assert {token: answer.code for token, answer in fcm.tokens.items()} == {"fcm-gone": 404, "fcm-foreign": 403}
    assert {token: answer.code for token, answer in web.tokens.items()} == {"web-gone": 410}
