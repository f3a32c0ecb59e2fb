"""The settings of every kind of simulator, in JSON or Python. A script says how it answers."""

import msgspec

from worker.simulator.record import Mode
from worker.simulator.script import Script


class CommonSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind"):
    """Where it listens, the limits of a connection, and the size of the record."""

    host: str = "127.0.0.1"
    #: 0: a free port.
    port: int = 0
    #: The port of the control API, plain HTTP on `control_host`; None: no control API.
    control_port: int | None = 0
    control_host: str = "127.0.0.1"
    #: The token that a control request needs in `authorization: bearer …`; None: a random one.
    control_token: str | None = None
    #: Streams at once on a connection.
    max_streams: int = 100
    #: Octets: initial window of a stream, and of the connection.
    stream_window: int = 65_535
    connection_window: int = 1 << 20
    #: Octets of the dynamic table for request headers, as announced at the start.
    header_table_size: int = 4096
    seed: int = 0
    script: Script = Script()
    record: Mode = "full"
    #: Entries kept, and octets of memory for the payloads in them.
    record_limit: int = 1_000_000
    record_octets: int = 256 << 20
    #: Paths of the server's own certificate chain and key in PEM; None: they are made, with a CA.
    certificate: str | None = None
    certificate_key: str | None = None
    #: Path of the CA of client certificates in PEM; None: none is asked for.
    client_ca: str | None = None
    #: Directory of the CA and certificate, which stay from one start to the next; None: a temporary one.
    directory: str | None = None
    #: Offered by ALPN, the preferred one first: `h2`, `http/1.1`.
    protocols: tuple[str, ...] = ("h2",)
    #: Closes connections that did not agree on `h2` by ALPN. Apple accepts clients that use HTTP/2 without ALPN.
    require_alpn: bool = False
    #: Names and addresses of the made certificate.
    names: tuple[str, ...] = ("localhost", "127.0.0.1", "::1")
    #: Seconds without a request after which a connection is ended with GOAWAY; None: never.
    idle: float | None = None
    #: PINGs in a minute, and refused streams, beyond which GOAWAY ends a connection; None: never.
    most_pings: int | None = None
    most_refused: int | None = None
