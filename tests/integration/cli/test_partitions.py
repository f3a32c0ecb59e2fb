"""`carillon partitions`."""

from tests.integration.cli.conftest import Cli, redis_of
from worker.reports import signs
from worker.state.partition import Keyspace


def test_the_number_is_changed_and_shown(cli: Cli) -> None:
    for app in ("demo", "acme", "a"):
        assert cli.run("app", "create", app).exit_code == 0
    [only] = cli.json("partitions", "status")
    assert (only["partition"], only["tag"], only["apps"]) == (0, None, 3)
    done = cli.json("partitions", "set", "4")
    assert (done["before"], done["partitions"], done["generation"]) == (1, 4, 2)
    assert {row["partition"]: row["apps"] for row in cli.json("partitions", "status")} == {0: 1, 1: 1, 2: 1, 3: 0}
    assert {row["app"]: row["partition"] for row in cli.json("partitions", "status", "--apps")} == {
        "a": 2, "acme": 1, "demo": 0,
    }  # fmt: skip
    act = cli.json("audit", "--limit", "1")[0]
    assert act["act"] == "partitions changed"
    assert act["detail"] == {"before": {"partitions": 1}, "after": {"partitions": 4}}


def test_what_cannot_be_is_refused(cli: Cli) -> None:
    refused = cli.run("partitions", "set", "1")
    assert refused.exit_code == 2 and "there is one partition already" in refused.output
    fleet = Keyspace(redis_of(cli)).fleet
    signs.give(fleet, "host:7", ["urgent"])
    refused = cli.run("partitions", "set", "4")
    assert refused.exit_code == 2 and "workers run: host:7. Stop them all" in refused.output
    signs.withdraw(fleet, "host:7")
