"""What a request to a push service looks like over HTTP/2. A `Form`."""

from typing import Final, NamedTuple

from worker.http2.client.fields import Field, Keep, field_value, path_value
from worker.http2.client.form import Form
from worker.providers.web.request import Fields


class Encrypted(NamedTuple):
    """A request that is ready to go. `repr` shows neither where to nor what."""

    #: Path and query of the endpoint.
    path: str
    payload: bytes
    #: Seconds.
    life: int
    topic: str
    #: As of `request.shared_fields`.
    shared: Fields

    @property
    def id(self) -> str:
        """As of `http2.client.batch.Request`."""
        return self.path + self.topic

    def __repr__(self) -> str:
        return f"Encrypted({len(self.payload)} octets)"


class WebForm(Form):
    """All but life and topic is shared, with the proof of the sender."""

    def key(self, request: Encrypted) -> Fields:
        return request.shared

    def shared(self, request: Encrypted, authorization: str | None) -> list[Field]:
        fields: list[Field] = [(name.encode(), field_value(value, name), Keep.VALUE) for name, value in request.shared]
        if authorization is not None:
            fields.insert(0, (b"authorization", field_value(authorization, "proof of sender"), Keep.SECRET))
        return fields

    def own(self, request: Encrypted) -> list[Field]:
        return [
            (b":path", path_value(request.path, "endpoint"), Keep.NOTHING),
            (b"content-length", b"%d" % len(request.payload), Keep.NAME),
            (b"ttl", b"%d" % request.life, Keep.NAME),
            (b"topic", field_value(request.topic, "topic"), Keep.NAME),
        ]


FORM: Final = WebForm()
