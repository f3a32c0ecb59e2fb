"""Records the day of each device's last accepted push."""

from datetime import UTC, date, datetime
from typing import Final

from worker.database.postgres import Connection

#: Ids that the memory of one day can hold: 32 MB. Devices with larger ids are written at every push.
_IDS: Final = 1 << 28
#: Rows of one statement, and of its commit. What others commit meanwhile waits until all that was written before is on the disk.
ROWS: Final = 2_000


class Use:
    """Writes the day of each device's last accepted push, once a day. A bit for each device remembers that it was written."""

    def __init__(self) -> None:
        self._day = date.min
        self._noted = bytearray()

    def note(self, db: Connection, devices: set[int], today: date | None = None) -> int:
        """Writes the devices that were not written today (UTC); returns how many."""
        day = today or datetime.now(UTC).date()
        if day != self._day:
            self._day, self._noted = day, bytearray()
        fresh = sorted(id for id in devices if not self._has(id))
        for at in range(0, len(fresh), ROWS):
            some = fresh[at : at + ROWS]
            db.execute(
                "INSERT INTO carillon.device_use AS u (device, accepted) SELECT unnest(%s::bigint[]), %s"
                " ON CONFLICT (device) DO UPDATE SET accepted = excluded.accepted WHERE u.accepted < excluded.accepted",
                (some, day),
            )
            for id in some:
                self._add(id)
        return len(fresh)

    def _has(self, id: int) -> bool:
        place = id >> 3
        return place < len(self._noted) and bool(self._noted[place] >> (id & 7) & 1)

    def _add(self, id: int) -> None:
        if id >= _IDS:
            return
        place = id >> 3
        if place >= len(self._noted):
            self._noted.extend(bytes(max(place + 1 - len(self._noted), 4096)))
        self._noted[place] |= 1 << (id & 7)
