"""How long a transport waits, in seconds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """The defaults suit APNs. With `math.inf` a PING is never sent."""

    #: From the look-up of the host to the end of the TLS handshake.
    connect: float = 10.0
    #: How long the server may take for its settings. After this time the limits in them count as lasting.
    greeting: float = 10.0
    #: Silence with streams in flight after which a PING is sent.
    probe_after: float = 10.0
    #: How long a PING may stay unanswered before the connection counts as dead.
    ping_timeout: float = 5.0
    #: Between two PINGs of a connection, at least. A silent connection that may get no PING yet takes nothing new.
    ping_gap: float = 0.0
    #: Silence of an idle connection after which its next request waits for the answer to a PING, and for how long: a
    #: firewall may have forgotten the connection, and then another one is opened.
    check_after: float = 60.0
    check_timeout: float = 1.5
    #: Silence of an idle connection after which a keep-alive PING is sent (Apple: about an hour).
    idle_ping: float = 3_300.0
    #: How long every connection must have been full before another is opened.
    grow_after: float = 0.1
    #: The first pause after a connection that failed or had no answer; it doubles up to `backoff_cap`.
    backoff: float = 0.1
    backoff_cap: float = 8.0
    #: A connection that ended sooner than this is not replaced at once. If it also had fewer answers than this, the next pause is
    #: longer each time: Apple treats frequent short connections as an attack.
    short_life: float = 5.0
    worth: int = 100
    #: For the TLS goodbye.
    goodbye: float = 2.0
