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
#: Expirations, with lengths of collapse ids, that a connection remembers as they are written.
_REMEMBERED: Final = 1_024
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
        key: _Key | None = None
        token_length = tail_length = own_size = -1
        tokens, ids, owns, headings = zip(*chunk, strict=True) if chunk else ((), (), (), ())
        written = zip(map(str.encode, tokens), map(str.encode, ids), strict=True)
        streams = stream_ids(space.stream_id, len(chunk))
        for (token, apns_id), own, its_heading, (stream,) in zip(written, owns, headings, streams, strict=True):
            if its_heading is not heading:
                if its_heading[:3] != key:
                    key, tail_length = its_heading[:3], -1
                    shape = encoder.notes.get((authorization, key)) or _shape(encoder, key, authorization)
                expiration, collapse_id, before, behind = its_heading[3:]
                if shape is None or (its_tail := shape.tail(expiration, collapse_id)) is None:
                    break
                if len(its_tail) != tail_length:  # else the next frame begins as the last one did
                    if not shape.allows(its_tail, header_list):
                        break
                    middle, token_length, tail_length = shape.middle, -1, len(its_tail)
                heading, tail, own_size = its_heading, its_tail, -1
            if len(token) != token_length:
                token_length = len(token)
                assert shape is not None
                head = shape.heads.get(token_length) or shape.head(token_length)
                length = len(head) + token_length + len(middle) + _ID_LENGTH + len(tail)
                frame_head = length.to_bytes(3, "big") + HEADERS_TAIL
            if len(own) != own_size:
                own_size = len(own)
                size = len(before) + own_size + len(behind)
                ending = tail + size.to_bytes(3, "big") + DATA_TAIL
            if size > window or size > largest:
                break
            window -= size
            pieces += (frame_head, stream, head, token, middle, apns_id, ending, stream, before, own, behind)
        return Written(pieces, len(pieces) // 11, space.window - window)


class _Shape:
    """The parts of a header block that many notifications share; the token and the id go between them."""

    __slots__ = ("_encoder", "_ends", "_front", "heads", "list_size", "middle")

    def __init__(self, encoder: RequestEncoder, front: bytes, middle: bytes, list_size: int) -> None:
        self._encoder, self._front = encoder, front
        #: Between the device token and a 36-octet `apns-id`.
        self.middle = middle
        #: The size of the header list without token, expiration and collapse id, as the server counts it.
        self.list_size = list_size
        #: By length of the token: `front` with the length of the path and its fixed part.
        self.heads: dict[int, bytes] = {}
        #: By expiration and length of the collapse id, None without one: what is between the id and the collapse id's value. The
        #: messages of a second have one or two.
        self._ends: dict[tuple[int | None, int | None], bytes] = {}

    def head(self, token_length: int) -> bytes:
        """Everything before a token of this length."""
        head = self.heads[token_length] = self._front + encode_integer(len(_PATH) + token_length, 7, 0) + _PATH
        return head

    def tail(self, expiration: int | None, collapse_id: str | None) -> bytes | None:
        """What follows the id; None where only the encoder can tell."""
        length = None if collapse_id is None else len(collapse_id)
        end = self._ends.get((expiration, length))
        if end is None and (end := self._end(expiration, length)) is None:
            return None
        if collapse_id is None:
            return end
        # What is not plain ASCII gets its second look, and its error, from `own`.
        if not collapse_id.isascii():
            return None
        if not collapse_id.isalnum():
            try:
                field_value(collapse_id, "collapse id")
            except BadFieldError:
                return None
        return end + collapse_id.encode()

    def allows(self, tail: bytes, header_list: int | None) -> bool:
        """Whether a block with such a tail is short enough, whatever its token. `header_list` as of `Space`."""
        # The values are shorter than the tail that has them.
        fits = header_list is None or self.list_size + len(tail) + _LONGEST_OWN <= header_list
        return fits and len(tail) <= _LONGEST_FAST_TAIL

    def _end(self, expiration: int | None, length: int | None) -> bytes | None:
        expiring, collapsing = self._encoder.name_head(_EXPIRATION), self._encoder.name_head(_COLLAPSE_ID)
        if (expiring is None and expiration is not None) or (collapsing is None and length is not None):
            return None
        end = b""
        if expiring is not None and expiration is not None:
            end += expiring + encode_string(b"%d" % expiration)
        if collapsing is not None and length is not None:
            end += collapsing + encode_integer(length, 7, 0)
        if len(self._ends) >= _REMEMBERED:
            self._ends.clear()
        self._ends[expiration, length] = end
        return end


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
    if not notifications:
        return True
    tokens, ids, *_ = zip(*notifications, strict=True)
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
