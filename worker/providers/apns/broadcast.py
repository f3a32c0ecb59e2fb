"""A request to a broadcast channel, and its form.

Source: Apple, "Sending broadcast push notification requests to APNs".
"""

from typing import Final, NamedTuple

from worker.http2.client.fields import Field, Keep, field_value, path_value
from worker.http2.client.form import Form

PATH: Final = "/4/broadcasts/apps/"


class Broadcast(NamedTuple):
    """`topic` is the bundle id, `id` a canonical lower-case UUID, `expiration` UNIX seconds; 0: nothing is stored."""

    channel: str
    id: str
    payload: bytes
    topic: str
    priority: int
    expiration: int


class BroadcastForm(Form):
    """There is no topic: the path has the bundle id."""

    def key(self, request: Broadcast) -> tuple[str, int]:
        return request.topic, request.priority

    def shared(self, request: Broadcast, authorization: str | None) -> list[Field]:
        fields: list[Field] = [
            (b":path", path_value(PATH + request.topic, "topic"), Keep.VALUE),
            (b"apns-push-type", b"liveactivity", Keep.VALUE),
            (b"apns-priority", b"%d" % request.priority, Keep.VALUE),
        ]
        if authorization is not None:
            value = field_value(f"bearer {authorization}", "provider token")
            fields.insert(1, (b"authorization", value, Keep.SECRET))
        return fields

    def own(self, request: Broadcast) -> list[Field]:
        return [
            (b"apns-channel-id", field_value(request.channel, "channel id"), Keep.NAME),
            (b"apns-request-id", field_value(request.id, "request id"), Keep.NAME),
            (b"apns-expiration", b"%d" % request.expiration, Keep.NAME),
        ]


FORM: Final = BroadcastForm()
