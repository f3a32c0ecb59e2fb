"""A function that is asked for the password of each connection: what it may do, and what is said of it where it fails."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from redis import exceptions

from producers.credentials import CredentialsError, Provider, ask


def failing() -> tuple[str, str]:
    raise RuntimeError("S3cret")


@pytest.mark.parametrize(
    ("credentials", "said"),
    [
        pytest.param(failing, "raised RuntimeError", id="it fails"),
        pytest.param(lambda: None, "no \\(user, password\\)", id="nothing"),
        pytest.param(lambda: ("S3cret",), "no \\(user, password\\)", id="one word"),
        pytest.param(lambda: ("user", ""), "no \\(user, password\\)", id="an empty password"),
    ],
)
def test_a_function_that_gives_no_password_is_a_fault_that_shows_nothing(credentials: Any, said: str) -> None:
    with pytest.raises(CredentialsError, match=said) as caught:
        ask(credentials)
    assert "S3cret" not in str(caught.value)
    with pytest.raises(exceptions.ConnectionError, match=said) as away:
        Provider(credentials).get_credentials()
    assert away.value.__suppress_context__


def test_a_function_that_does_not_return_keeps_nobody() -> None:
    ended = threading.Event()
    never: Callable[[], Any] = ended.wait
    try:
        with pytest.raises(CredentialsError, match="did not return within"):
            ask(never, 0.01)
    finally:
        ended.set()


def test_a_server_without_users_gets_the_password_alone() -> None:
    assert Provider(lambda: ("", "p")).get_credentials() == ("p",)
    assert Provider(lambda: ("u", "p")).get_credentials() == ("u", "p")
