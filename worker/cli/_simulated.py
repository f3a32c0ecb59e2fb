"""Simulators within this process, in place of Apple and Google and the browsers' services: for a push that reaches nobody."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from worker.providers.base import Simulated


@contextmanager
def simulated(*, asked: bool) -> Iterator[Simulated | None]:
    """A simulator of each kind for as long as the block runs, where it was asked for."""
    if not asked:
        yield None
        return
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    from worker.simulator import FcmSettings, Settings, SimulatorThread, WebSettings

    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with ExitStack() as stack:
        found = {
            kind: stack.enter_context(SimulatorThread(settings))
            for kind, settings in (
                ("apns", Settings()),
                ("fcm", FcmSettings()),
                ("web", WebSettings(strangers=True, decrypt_every=0)),
            )
        }
        ports = {kind: simulator.port for kind, simulator in found.items()}
        ca = "".join(simulator.ca_pem for simulator in found.values())
        yield Simulated(found["apns"].host, ports, ca, key.decode())
