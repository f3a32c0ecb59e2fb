"""What the harness leaves out is left out knowingly."""

from typing import get_args

from tests.chaos.faults import ENGINES, FAULTS, PLANNED, faults_of
from tests.chaos.services import KINDS, RULES
from worker.simulator import faults

INFLICTED = {type(rule.fault) for rules in RULES.values() for rule in rules}


def test_every_fault_of_the_simulator_is_inflicted():
    # Refusing connections is done to the listener, not by a rule.
    assert set(get_args(faults.Fault)) - INFLICTED <= {faults.Refuse}
    assert {f"{kind}_refuses" for kind in KINDS} <= FAULTS.keys()


def test_every_set_of_rules_is_a_fault():
    assert RULES.keys() <= FAULTS.keys()


def test_what_is_done_to_several_servers_does_not_befall_one():
    assert set(faults_of("single")) == FAULTS.keys() - ENGINES.keys()
    assert set(faults_of("sentinel")) == FAULTS.keys() - {"redis_slot_moved"}
    assert set(faults_of("cluster")) == FAULTS.keys()
    assert set(PLANNED) <= ENGINES.keys()
