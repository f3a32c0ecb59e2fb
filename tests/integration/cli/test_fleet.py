"""`carillon fleet`: whose database this is, and that a copy of it pushes to nobody."""

import pytest

from config import settings
from tests.integration.cli.conftest import Cli, rows


@pytest.fixture
def fleet(cli: Cli, monkeypatch: pytest.MonkeyPatch):
    """Makes the command run as that fleet."""

    def be(name: str) -> None:
        monkeypatch.setenv("CARILLON_FLEET", name)
        settings.get_settings.cache_clear()

    yield be
    monkeypatch.undo()
    settings.get_settings.cache_clear()


def test_a_database_without_a_fleet_is_everybodys(cli: Cli, fleet):
    assert cli.json("fleet") == {"fleet": None, "database": None, "pushes": True}
    fleet("staging")
    assert cli.json("fleet") == {"fleet": "staging", "database": None, "pushes": True}


def test_migrate_records_the_fleet_once_and_another_one_is_named(cli: Cli, fleet):
    cli.ok("app", "create", "chat")
    fleet("production")
    cli.ok("migrate")
    fleet("staging")
    cli.ok("migrate")
    assert cli.json("fleet") == {"fleet": "staging", "database": "production", "pushes": False}
    assert "carillon fleet --take-over" in cli.ok("fleet")
    assert "not_allowed_here" in cli.refused("push", "test", "han", "--app", "chat")
    cli.ok("app", "set", "chat", "--only-to", "han")
    assert "no device that could get a push" in cli.refused("push", "test", "han", "--app", "chat")
    assert cli.json("fleet", "--take-over")["pushes"] is True
    assert [row[-1] for row in rows(cli, "fleet")] == ["staging"]
