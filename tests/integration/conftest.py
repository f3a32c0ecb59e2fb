from collections.abc import Iterator

import pytest

from tests.keys import PREAMBLE
from worker.state.scripts import Scripts


@pytest.fixture(scope="session", autouse=True)
def _keys_of_scripts_are_checked() -> Iterator[None]:
    """A script that touches a key of another partition fails, also where both lie on one server."""
    Scripts.preamble = PREAMBLE
    yield
    Scripts.preamble = ""
