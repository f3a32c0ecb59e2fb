import os
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from worker.core.batch import Sending
from worker.core.batch_run import BatchRun
from worker.core.outcome import Drop
from worker.core.privacy import NO_KEY, with_hidden_ids, with_record, without_seal
from worker.core.receiver_keys import Keys, unpack
from worker.core.sealing import CURVE, SALT, salts, seal
from worker.database.devices import Devices


@dataclass(frozen=True)
class SealPayloads:
    """Seals what is to be sealed, and hides what is to be hidden, for each device with the keys of its registration in force.

    A device that has lost its keys gets ids, or nothing where the app asks for that. `unseal` opens keys as they are stored;
    `random` gives so many octets, and `new_key` a key pair.
    """

    devices: Devices
    unseal: Callable[[str], str | None]
    random: Callable[[int], bytes] = os.urandom
    new_key: Callable[[], ec.EllipticCurvePrivateKey] = field(default=lambda: ec.generate_private_key(CURVE))

    def __call__(self, run: BatchRun) -> None:
        sealed = {number for number, sending in enumerate(run.batch.sendings) if sending.inside or sending.hides_ids}
        if not sealed:
            return
        indexes = [index for index in run.pending() if run.jobs[index].sending in sealed]
        keys = self.devices.keys(run.devices(indexes))
        for index, salt in zip(indexes, salts(self.random(SALT * len(indexes))), strict=True):
            job = run.jobs[index]
            sending = run.batch.sendings[job.sending]
            id, stored = keys.get(job.device, ("", ""))
            opened = self.unseal(stored) if stored else None
            if opened is not None:
                run.sealed[index] = self._kept(sending, id, unpack(opened), salt)
            elif run.app.attention.sealed_only:
                run.outcomes[index] = Drop(NO_KEY)
            elif sending.inside:
                run.sealed[index] = without_seal(sending)

    def _kept(self, sending: Sending, key: str, keys: Keys, salt: bytes) -> Sending:
        return self._sealed(sending, key, keys, salt) if sending.inside else with_hidden_ids(sending, keys)

    def _sealed(self, sending: Sending, key: str, keys: Keys, salt: bytes) -> Sending:
        record = seal(sending.inside.encode(), keys, self.new_key(), salt, sending.pad)
        text = urlsafe_b64encode(record).decode().rstrip("=")
        if sending.suffix:
            return msgspec.structs.replace(sending, suffix=with_record(sending.suffix, key, text))
        return msgspec.structs.replace(sending, prefix=with_record(sending.prefix, key, text))
