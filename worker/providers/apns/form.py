"""What a request to APNs looks like, and the fast way to write many. A `Form`."""

import re
from collections.abc import Sequence
from typing import Any, Final

from worker.core.model import Heading, Notification
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
#: What the longest token and an id count there, and an expiration and a collapse id without their values.
_LONGEST_OWN: Final = LONGEST_FAST_TOKEN + _ID_LENGTH + 2 * ENTRY_OVERHEAD + len(_EXPIRATION) + len(_COLLAPSE_ID)
#: Expirations that a connection remembers as they are written.
_EXPIRATIONS: Final = 1_024
#: Leaves room for the rest of the block within the smallest frame size a server may choose.
_LONGEST_FAST_TAIL: Final = 8_192

_Key = tuple[str, str, int]


class ApnsForm(Form):
    """Topic, push type and priority are shared, with the provider token; the rest is a notification's own."""

    def key(self, request: Notification) -> _Key:
        return request.heading[:3]

    def shared(self, request: Notification, authorization: str | None) -> list[Field]:
        topic, push_type, priority, *_ = request.heading
        fields: list[Field] = [
            (b"apns-topic", field_value(topic, "topic"), Keep.VALUE),
            (b"apns-push-type", field_value(push_type, "push type"), Keep.VALUE),
            (b"apns-priority", b"%d" % priority, Keep.VALUE),
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
        expiration, collapse_id = request.heading[3:5]
        if expiration is not None:
            fields.append((_EXPIRATION, b"%d" % expiration, Keep.NAME))
        if collapse_id is not None:
            fields.append((_COLLAPSE_ID, field_value(collapse_id, "collapse id"), Keep.NAME))
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
        heading: Heading | None = None
        shape: _Shape | None = None
        token_length = tail_length = own_size = -1
        for (token, apns_id, own, its_heading), (stream,) in zip(
            chunk, stream_ids(space.stream_id, len(chunk)), strict=True
        ):
            if its_heading is not heading:
                topic, push_type, priority, expiration, collapse_id, before, behind = its_heading
                key = topic, push_type, priority
                prepared = _prepared(encoder, authorization, header_list, key, expiration, collapse_id)
                if prepared is None:
                    break
                heading, (its_shape, tail), own_size = its_heading, prepared, -1
                if its_shape is not shape or len(tail) != tail_length:  # else the next frame begins as the last one did
                    shape, middle, token_length, tail_length = its_shape, its_shape.middle, -1, len(tail)
            if len(token) != token_length:
                token_length = len(token)
                head = its_shape.heads.get(token_length) or its_shape.head(token_length)
                length = len(head) + token_length + len(middle) + _ID_LENGTH + len(tail)
                frame_head = length.to_bytes(3, "big") + HEADERS_TAIL
            if len(own) != own_size:
                own_size = len(own)
                size = len(before) + own_size + len(behind)
                ending = tail + size.to_bytes(3, "big") + DATA_TAIL
            if size > window or size > largest:
                break
            window -= size
            pieces += (frame_head, stream, head, token.encode(), middle, apns_id.encode())
            pieces += (ending, stream, before, own, behind)
        return Written(pieces, len(pieces) // 11, space.window - window)


class _Shape:
    """The parts of a header block that many notifications share; the token and the id go between them."""

    __slots__ = ("_collapsing", "_encoder", "_expiring", "_front", "heads", "list_size", "middle")

    def __init__(self, encoder: RequestEncoder, front: bytes, middle: bytes, list_size: int) -> None:
        self._encoder, self._front = encoder, front
        #: Between the device token and a 36-octet `apns-id`.
        self.middle = middle
        #: The size of the header list without token, expiration and collapse id, as the server counts it.
        self.list_size = list_size
        #: By length of the token: `front` with the length of the path and its fixed part.
        self.heads: dict[int, bytes] = {}
        #: The expirations that came last, as fields. The messages of a second have one.
        self._expiring: dict[int | None, bytes] = {None: b""}
        #: What is before the value of a collapse id.
        self._collapsing = encoder.name_head(_COLLAPSE_ID)

    def head(self, token_length: int) -> bytes:
        """Everything before a token of this length."""
        head = self.heads[token_length] = self._front + encode_integer(len(_PATH) + token_length, 7, 0) + _PATH
        return head

    def tail(self, expiration: int | None, collapse_id: str | None) -> bytes | None:
        """What follows the id; None where only the encoder can tell."""
        expiring = self._expiring.get(expiration)
        if expiring is None and (expiring := self._expire(expiration)) is None:
            return None
        if collapse_id is None:
            return expiring
        # What is not plain ASCII gets its second look, and its error, from `own`.
        if self._collapsing is None or not collapse_id.isascii():
            return None
        if not collapse_id.isalnum():
            try:
                field_value(collapse_id, "collapse id")
            except BadFieldError:
                return None
        return expiring + self._collapsing + encode_string(collapse_id.encode())

    def _expire(self, expiration: int | None) -> bytes | None:
        head = self._encoder.name_head(_EXPIRATION)
        if head is None or expiration is None:
            return None
        if len(self._expiring) > _EXPIRATIONS:
            self._expiring = {None: b""}
        found = self._expiring[expiration] = head + encode_string(b"%d" % expiration)
        return found


def _prepared(
    encoder: RequestEncoder,
    authorization: str | None,
    header_list: int | None,
    key: _Key,
    expiration: int | None,
    collapse_id: str | None,
) -> tuple[_Shape, bytes] | None:
    """The shape of a notification and what ends its block; None: it has to be written whole."""
    shape: _Shape | None = encoder.notes.get((authorization, key)) or _shape(encoder, key, authorization)
    if shape is None or (tail := shape.tail(expiration, collapse_id)) is None:
        return None
    # The values are shorter than the tail that has them.
    if header_list is not None and shape.list_size + len(tail) + _LONGEST_OWN > header_list:
        return None
    return (shape, tail) if len(tail) <= _LONGEST_FAST_TAIL else None


def _shape(encoder: RequestEncoder, key: _Key, authorization: str | None) -> _Shape | None:
    shared, id_head = encoder.shared(key, authorization), encoder.name_head(_ID)
    if shared is None or id_head is None:
        return None
    middle = shared.fields + id_head + bytes((_ID_LENGTH,))
    shape = _Shape(encoder, shared.front + b"\x04", middle, shared.list_size + _OWN_SIZE)
    encoder.notes[authorization, key] = shape
    return shape


def _ordinary(notifications: Sequence[Notification]) -> int:
    """How many, from the first on, have a token and an id that need no second look; usually all."""
    if _all_ordinary(notifications):
        return len(notifications)
    return next(place for place, each in enumerate(notifications) if not _all_ordinary([each]))


def _all_ordinary(notifications: Sequence[Notification]) -> bool:
    tokens, ids = [each[0] for each in notifications], [each[1] for each in notifications]
    both = "".join((*tokens, *ids))
    return (
        both.isascii()
        and both.encode().replace(b"-", b"").isalnum()
        and max(map(len, tokens)) <= LONGEST_FAST_TOKEN
        and set(map(len, ids)) == {_ID_LENGTH}
    )


def _token(text: str) -> bytes:
    if not _TOKEN.fullmatch(text):
        raise BadFieldError("device token not allowed in a path")
    return text.encode()


FORM: Final = ApnsForm()
