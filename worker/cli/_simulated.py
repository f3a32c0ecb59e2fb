"""An APNs simulator within this process, in place of Apple: for a push that reaches no phone."""

from collections.abc import Iterator
from contextlib import contextmanager

from worker.providers.base import Simulated


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
        yield Simulated(simulator.host, simulator.port, simulator.ca_pem, key.decode())
