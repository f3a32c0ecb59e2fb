"""An APNs of this process alone, in place of Apple: for a push that is to reach nobody's phone."""

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from worker.core.model import Provider

if TYPE_CHECKING:
    from worker.simulator import SimulatorThread

#: Ids of a key that Apple never gave out.
_KEY_ID: Final = "SIMULATED1"


class Instead(NamedTuple):
    """Where a push goes in place of Apple, and the token that proves who sends it."""

    provider: Provider
    authorization: str


class Simulated:
    """A running simulator. It takes any topic and any signer, so no credential of the provider is needed."""

    def __init__(self, simulator: "SimulatorThread", key: str) -> None:
        from worker.providers.apns.token import mint

        self._simulator, self._key = simulator, key
        # One for all: Apple, and so the simulator, refuses who renews it often.
        self._token = mint(_KEY_ID, _KEY_ID, key, time.time())

    def of(self, provider: Provider) -> Instead:
        """The provider as it is, but at the simulator."""
        there = dataclasses.replace(
            provider,
            host=self._simulator.host,
            port=self._simulator.port,
            ca=self._simulator.ca_pem,
            key_id=_KEY_ID,
            team_id=_KEY_ID,
            key=self._key,
            certificate=None,
            certificate_password=None,
        )
        return Instead(there, self._token)


@contextmanager
def simulated(*, asked: bool) -> Iterator[Simulated | None]:
    """A simulator for as long as the block runs, where it was asked for."""
    if not asked:
        yield None
        return
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    from worker.simulator import SimulatorThread

    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with SimulatorThread() as simulator:
        yield Simulated(simulator, key.decode())
