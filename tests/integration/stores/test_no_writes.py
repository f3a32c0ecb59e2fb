"""A Redis that takes no writes for a while counts as away: what could not be written is tried again, and no message is blamed."""

import shutil
from pathlib import Path

import pytest
import redis

from config import credentials
from tests.processes import wait_until
from tests.valkey import Valkey
from worker.reports.faults import sentence
from worker.state.redis import Away, connect


@pytest.mark.parametrize("asks", [False, True], ids=["the URL's password", "a password that is asked for"])
def test_a_primary_without_the_replicas_that_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asks: bool
) -> None:
    server = Valkey(tmp_path, "--min-replicas-to-write", "1")
    server.start()
    if asks:
        monkeypatch.setitem(credentials._known, server.url, lambda: ("default", "any"))
    try:
        with connect(server.url) as client:
            with pytest.raises(Away, match="NOREPLICAS") as fault:
                client.set("a", 1)
            assert "see min-replicas-to-write" in sentence(fault.value)
            with pytest.raises(Away, match="NOREPLICAS"), client.pipeline(transaction=False) as pipe:
                pipe.set("a", 1).get("a").execute()
            client.config_set("min-replicas-to-write", 0)
            assert client.set("a", 1)
    finally:
        server.stop()


def test_a_server_that_cannot_write_to_its_disk(tmp_path: Path) -> None:
    home = tmp_path / "gone"
    home.mkdir()
    server = Valkey(home, "--save", "3600 1", "--appendonly", "no")
    server.start()
    try:
        with connect(server.url) as client:
            client.set("a", 1)
            shutil.rmtree(home)
            client.bgsave()
            wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
            with pytest.raises(Away, match="MISCONF") as fault:
                client.set("a", 2)
            assert "until it can write to its disk" in sentence(fault.value)
            assert client.get("a") == b"1"
            with pytest.raises(redis.ResponseError, match="wrong number"):
                client.execute_command("GET")
    finally:
        server.kill()  # it would not end before it has saved
