"""Why there is no connection, as fixed phrases that a kind of provider may know. Imports nothing."""

from typing import Final

#: What the cause of a TLS alert from the server begins with; its name (RFC 8446 §6.2) follows.
ALERT: Final = "tls alert: "
#: Alerts by which a server refuses our certificate, or requires one.
CERTIFICATE_ALERTS: Final = frozenset(
    ALERT + name
    for name in (
        "bad_certificate",
        "unsupported_certificate",
        "certificate_revoked",
        "certificate_expired",
        "certificate_unknown",
        "unknown_ca",
        "access_denied",
        "certificate_required",
    )
)
#: The server took part in the TLS handshake and chose HTTP/1.1.
NO_HTTP2: Final = "connect: server does not speak HTTP/2"
#: The server did not answer a PING, or sent nothing for so long that it counts as gone.
SILENT: Final = "server is silent"


class ConnectError(Exception):
    """No connection was made. `cause` is a fixed phrase; `lasting` means that an immediate new try would fail as well."""

    def __init__(self, cause: str, *, lasting: bool = False) -> None:
        super().__init__(cause)
        self.cause = cause
        self.lasting = lasting
