"""The `h2` library as the server: it judges every octet that our client writes, and writes what our client reads."""

from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import h2.settings
from h2.settings import SettingCodes

from worker.core.model import ACCEPTED, Answer
from worker.http2.client.batch import Batch
from worker.http2.client.core import ClientCore
from worker.providers.apns import answers
from worker.providers.apns.form import FORM


@dataclass
class Request:
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    complete: bool = False


class Judge:
    """A server that raises `h2.exceptions.ProtocolError` at the first fault of ours."""

    def __init__(self, settings: dict[SettingCodes, int] | None = None) -> None:
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        self.h2 = h2.connection.H2Connection(config=config)
        self.h2.local_settings = h2.settings.Settings(client=False, initial_values=settings)
        self.h2.initiate_connection()
        self.requests: dict[int, Request] = {}
        self.reset: set[int] = set()
        #: Our SETTINGS that the client has not acknowledged; `h2` tells them apart only one by one.
        self.unacknowledged = 1

    def announce(self, settings: dict[SettingCodes, int]) -> None:
        self.h2.update_settings(dict(settings.items()))
        self.unacknowledged += 1

    def take(self) -> bytes:
        return self.h2.data_to_send()

    def read(self, written: bytes, *, refill: bool = True) -> list[int]:
        """Streams whose request is complete now. With `refill` the windows are opened again at once."""
        complete = []
        for event in self.h2.receive_data(written):
            if isinstance(event, h2.events.RequestReceived):
                self.requests[event.stream_id] = Request([(str(name), str(value)) for name, value in event.headers])
            elif isinstance(event, h2.events.DataReceived):
                self.requests[event.stream_id].body += event.data
                if refill and event.flow_controlled_length and not event.stream_ended:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif refill and event.flow_controlled_length:
                    self.h2.increment_flow_control_window(event.flow_controlled_length)
            elif isinstance(event, h2.events.StreamEnded):
                self.requests[event.stream_id].complete = True
                complete.append(event.stream_id)
            elif isinstance(event, h2.events.SettingsAcknowledged):
                self.unacknowledged -= 1
            elif isinstance(event, h2.events.StreamReset):
                self.reset.add(event.stream_id)
        return complete

    def answer(self, stream_id: int, status: int, body: bytes = b"") -> None:
        headers = [(":status", str(status)), ("apns-id", "x" * 36)]
        self.h2.send_headers(stream_id, headers, end_stream=not body)
        if body:
            self.h2.send_data(stream_id, body, end_stream=True)


def number_of(request: Request) -> int:
    """Which notification of `wire.notification` this is."""
    path = dict(request.headers)[":path"]
    return int(path.removeprefix("/3/device/"), 16)


def answer_of(number: int, status: int) -> Answer:
    """The answer to notification `number`: each rejection has a reason of its own, so that a mix-up shows."""
    return ACCEPTED if status == 200 else Answer(status, f"Reason{chr(97 + number % 26)}{chr(97 + number // 26 % 26)}")


class Exchange:
    """Client and server that talk to each other about one batch."""

    def __init__(self, batch: Batch, statuses: list[int], settings: dict[SettingCodes, int] | None = None) -> None:
        self.batch = batch
        self.statuses = statuses
        self.judge = Judge(settings)
        self.core = ClientCore("api.push.apple.com", answers, FORM)
        self.waiting = list(range(len(batch.requests)))

    def expected(self, number: int) -> Answer:
        return answer_of(number, self.statuses[number % len(self.statuses)])

    def step(self) -> bool:
        """One round trip; false when neither side had anything to say."""
        if self.waiting and (room := self.core.room()):
            del self.waiting[: self.core.write(self.batch, self.waiting[:room])]
        written = self.core.take()
        for stream_id in self.judge.read(written):
            wanted = self.expected(number_of(self.judge.requests[stream_id]))
            body = b"" if wanted == ACCEPTED else b'{"reason":"%s"}' % str(wanted.reason).encode()
            self.judge.answer(stream_id, wanted.status, body)
        reply = self.judge.take()
        self.core.receive(reply, 0.0)
        return bool(written or reply)

    def announce(self, settings: dict[SettingCodes, int]) -> None:
        """The server changes its mind, while the client may be writing."""
        while self.judge.unacknowledged:
            self.step()
        self.judge.announce(settings)

    def run(self) -> None:
        """Until nothing moves any more."""
        while self.step():
            pass
