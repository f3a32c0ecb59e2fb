"""What a request to APNs looks like, and the fast way to write many. A `Form`."""

import re
from collections.abc import Sequence
from typing import Any, Final

from worker.core.model import Notification
from worker.http2.client.encoder import ENTRY_OVERHEAD, RequestEncoder, encode_integer, encode_string
from worker.http2.client.fields import BadFieldError, Field, Keep, field_value
from worker.http2.client.form import DATA_TAIL, HEADERS_TAIL, Form, Space, Written, stream_ids

#: The longest device token of the fast path: with `/3/device/` its length still fits into one octet.
LONGEST_FAST_TOKEN: Final = 116
_PATH: Final = b"/3/device/"
_ID: Final = b"apns-id"
_EXPIRATION: Final = b"apns-expiration"
_COLLAPSE_ID: Final = b"apns-collapse-id"
_TOKEN: Final = re.compile(r"[0-9A-Za-z._~-]*")
_ID_LENGTH: Final = 36
#: What the path and the id of a notification count in a header list, without their values.
_OWN_SIZE: Final = 2 * ENTRY_OVERHEAD + len(b":path") + len(_PATH) + len(_ID)
#: Leaves room for the rest of the block within the smallest frame size a server may choose.
_LONGEST_FAST_TAIL: Final = 8_192

_Key = tuple[str, str, int]


class ApnsForm(Form):
    """Topic, push type and priority are shared, with the provider token; the rest is a notification's own."""

    def key(self, request: Notification) -> _Key:
        return request.topic, request.push_type, request.priority

    def shared(self, request: Notification, authorization: str | None) -> list[Field]:
        fields: list[Field] = [
            (b"apns-topic", field_value(request.topic, "topic"), Keep.VALUE),
            (b"apns-push-type", field_value(request.push_type, "push type"), Keep.VALUE),
            (b"apns-priority", b"%d" % request.priority, Keep.VALUE),
        ]
        if authorization is not None:
            value = field_value(f"bearer {authorization}", "provider token")
            fields.insert(0, (b"authorization", value, Keep.SECRET))
        return fields

    def own(self, request: Notification) -> list[Field]:
        fields: list[Field] = [
            (b":path", _PATH + _token(request.token), Keep.NOTHING),
            (_ID, field_value(request.id, "apns-id"), Keep.NAME),
        ]
        if request.expiration is not None:
            fields.append((_EXPIRATION, b"%d" % request.expiration, Keep.NAME))
        if request.collapse_id is not None:
            fields.append((_COLLAPSE_ID, field_value(request.collapse_id, "collapse id"), Keep.NAME))
        return fields

    def write(
        self, encoder: RequestEncoder, requests: Sequence[Any], authorization: str | None, space: Space
    ) -> Written:
        """Writes from the first on, up to a notification that is out of the ordinary.

        A sender spends its time in this loop: it is written flat, and what can be asked of all at once is asked before.
        """
        chunk = requests[: _ordinary(requests)]
        pieces: list[bytes] = []
        window, largest, header_list = space[1:]
        shared: list[Any] | None = None
        token_length = size = -1
        for (token, apns_id, payload, *rest), (stream,) in zip(
            chunk, stream_ids(space.stream_id, len(chunk)), strict=True
        ):
            if rest != shared:
                prepared = _prepared(encoder, authorization, header_list, *rest)
                if prepared is None:
                    break
                shape, tail = prepared
                shared, middle, token_length, size = rest, shape.middle, -1, -1
            if len(token) != token_length:
                token_length = len(token)
                head = shape.heads.get(token_length) or shape.head(token_length)
                length = len(head) + token_length + len(middle) + _ID_LENGTH + len(tail)
                frame_head = length.to_bytes(3, "big") + HEADERS_TAIL
            if len(payload) != size:
                size = len(payload)
                ending = tail + size.to_bytes(3, "big") + DATA_TAIL
            if size > window or size > largest:
                break
            window -= size
            pieces += (frame_head, stream, head, token.encode(), middle, apns_id.encode(), ending, stream, payload)
        return Written(pieces, len(pieces) // 9, space.window - window)


class _Shape:
    """The parts of a header block that many notifications share; the token and the id go between them."""

    __slots__ = ("_front", "heads", "list_size", "middle")

    def __init__(self, front: bytes, middle: bytes, list_size: int) -> None:
        self._front = front
        #: Between the device token and a 36-octet `apns-id`.
        self.middle = middle
        #: The size of the header list without token, expiration and collapse id, as the server counts it.
        self.list_size = list_size
        #: By length of the token: `front` with the length of the path and its fixed part.
        self.heads: dict[int, bytes] = {}

    def head(self, token_length: int) -> bytes:
        """Everything before a token of this length."""
        head = self.heads[token_length] = self._front + encode_integer(len(_PATH) + token_length, 7, 0) + _PATH
        return head


def _prepared(
    encoder: RequestEncoder,
    authorization: str | None,
    header_list: int | None,
    topic: str,
    push_type: str,
    priority: int,
    expiration: int | None,
    collapse_id: str | None,
) -> tuple[_Shape, bytes] | None:
    """The shape of a notification and what ends its block; None: it has to be written whole."""
    key = (topic, push_type, priority)
    shape: _Shape | None = encoder.notes.get((authorization, key)) or _shape(encoder, key, authorization)
    if shape is None or (extra := _tail(encoder, expiration, collapse_id)) is None:
        return None
    tail, size = extra
    if header_list is not None and shape.list_size + size + LONGEST_FAST_TOKEN + _ID_LENGTH > header_list:
        return None
    return (shape, tail) if len(tail) <= _LONGEST_FAST_TAIL else None


def _shape(encoder: RequestEncoder, key: _Key, authorization: str | None) -> _Shape | None:
    shared, id_head = encoder.shared(key, authorization), encoder.name_head(_ID)
    if shared is None or id_head is None:
        return None
    middle = shared.fields + id_head + bytes((_ID_LENGTH,))
    shape = encoder.notes[authorization, key] = _Shape(shared.front + b"\x04", middle, shared.list_size + _OWN_SIZE)
    return shape


def _tail(encoder: RequestEncoder, expiration: int | None, collapse_id: str | None) -> tuple[bytes, int] | None:
    """What follows the id, and its size in a header list; None where only the encoder can tell."""
    written, size = b"", 0
    if expiration is not None:
        head = encoder.name_head(_EXPIRATION)
        if head is None:
            return None
        value = b"%d" % expiration
        written, size = head + encode_string(value), len(_EXPIRATION) + len(value) + ENTRY_OVERHEAD
    if collapse_id is not None:
        head = encoder.name_head(_COLLAPSE_ID)
        # What is not plain ASCII gets its second look, and its error, from `own`.
        if head is None or not collapse_id.isascii():
            return None
        try:
            value = field_value(collapse_id, "collapse id")
        except BadFieldError:
            return None
        written += head + encode_string(value)
        size += len(_COLLAPSE_ID) + len(value) + ENTRY_OVERHEAD
    return written, size


def _ordinary(notifications: Sequence[Notification]) -> int:
    """How many, from the first on, have a token and an id that need no second look; usually all."""
    if _all_ordinary(notifications):
        return len(notifications)
    return next(place for place, each in enumerate(notifications) if not _all_ordinary([each]))


def _all_ordinary(notifications: Sequence[Notification]) -> bool:
    tokens = "".join([each[0] for each in notifications])
    ids = "".join([each[1] for each in notifications])
    return (
        tokens.isascii()
        and ids.isascii()
        and tokens.encode().isalnum()
        and ids.encode().replace(b"-", b"").isalnum()
        and all(len(each[0]) <= LONGEST_FAST_TOKEN and len(each[1]) == _ID_LENGTH for each in notifications)
    )


def _token(text: str) -> bytes:
    if not _TOKEN.fullmatch(text):
        raise BadFieldError("device token not allowed in a path")
    return text.encode()


FORM: Final = ApnsForm()
