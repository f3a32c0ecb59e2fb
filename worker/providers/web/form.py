"""What a request to a push service looks like over HTTP/2. A `Form`."""

from typing import Final, NamedTuple

from worker.http2.client.fields import Field, Keep, field_value, path_value
from worker.http2.client.form import Form


class Encrypted(NamedTuple):
    """A request that is ready to go. `repr` shows neither where to nor what."""

    #: Path and query of the endpoint.
    path: str
    payload: bytes
    #: Header fields, without that which says who sends.
    fields: dict[str, str]

    @property
    def id(self) -> str:
        """As of `http2.client.batch.Request`."""
        return self.path + self.fields["topic"]

    def __repr__(self) -> str:
        return f"Encrypted({len(self.payload)} octets)"


#: Fields of which each request has values of its own.
_OWN: Final = ("ttl", "topic")


class WebForm(Form):
    """All but life and topic is shared, with the proof of the sender."""

    def key(self, request: Encrypted) -> tuple[tuple[str, str], ...]:
        return tuple((name, value) for name, value in request.fields.items() if name not in _OWN)

    def shared(self, request: Encrypted, authorization: str | None) -> list[Field]:
        fields: list[Field] = [
            (name.encode(), field_value(value, name), Keep.VALUE) for name, value in self.key(request)
        ]
        if authorization is not None:
            fields.insert(0, (b"authorization", field_value(authorization, "proof of sender"), Keep.SECRET))
        return fields

    def own(self, request: Encrypted) -> list[Field]:
        fields: list[Field] = [
            (b":path", path_value(request.path, "endpoint"), Keep.NOTHING),
            (b"content-length", b"%d" % len(request.payload), Keep.NAME),
        ]
        fields += [(name.encode(), field_value(request.fields[name], name), Keep.NAME) for name in _OWN]
        return fields


FORM: Final = WebForm()
