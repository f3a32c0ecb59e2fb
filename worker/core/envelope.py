"""As much of a refused document as tells whose it is, whatever else is wrong with it."""

import re
from typing import Final

import msgspec

#: Longest app or id that an event may have, and octets of a broken document in which they are looked for.
_LONGEST: Final = 255
_LOOKED_AT: Final = 4096
_decode: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_text: Final = msgspec.json.Decoder(str).decode
#: A member of the outermost object: what stands before it opens and closes no other.
_MEMBER: Final = r'\A\s*\{(?:[^{}\[\]"]|"(?:[^"\\]|\\.)*")*?"%s"\s*:\s*("(?:[^"\\]|\\.)*")'
_APP, _ID = (re.compile((_MEMBER % name).encode(), re.DOTALL) for name in ("app", "id"))


def identify(document: bytes) -> tuple[str | None, str | None]:
    """App and id of a document, each None where it has none that can be read. Never raises for what a document holds."""
    try:
        members = _decode(document)
        app, id = members.get("app"), members.get("id")
        return _text(None if app is None else bytes(app)), _text(None if id is None else bytes(id))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        head = document[:_LOOKED_AT]
        app_found, id_found = _APP.match(head), _ID.match(head)
        return _text(app_found and app_found[1]), _text(id_found and id_found[1])


def _text(raw: bytes | None) -> str | None:
    if raw is None:
        return None
    try:
        text = _decode_text(raw)
        text.encode()
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    return text if 0 < len(text) <= _LONGEST and "\0" not in text else None
