"""Sentinels and servers that speak TLS, with users and passwords: Debian's Redis, for the wheel's Valkey has no TLS."""

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

from tests.programs import needs
from tests.valkey import DOWN, Sentinel, Valkey, free_port, wait_until
from worker.simulator.certificates import Identity

#: The user of the servers, and that of the Sentinels.
USER: Final = "chat"
LOOKER: Final = "look"
SECRET: Final = "s&cret"


def files_of(identity: Identity) -> dict[str, str]:
    """Options of a server for TLS, by name."""
    files = {"cert": identity.certificate, "key": identity.key, "ca-cert": identity.ca}
    return {f"tls-{name}-file": str(file) for name, file in files.items()} | {"tls-auth-clients": "no"}


class Secure:
    """A primary, a replica, and three Sentinels. All speak TLS with each other; a test asks them at a second port without it."""

    def __init__(self, home: Path, stack: ExitStack, identity: Identity, password: str) -> None:
        self._program, self._files, self._stack = needs("redis-server"), files_of(identity), stack
        self.servers = {port: self._server(home / f"server-{port}", port) for port in (free_port(), free_port())}
        first, second = self.servers
        self.servers[second].ask("REPLICAOF", "127.0.0.1", first)
        for server in self.servers.values():
            self.rotate(server, password)
        wait_until(lambda: self.servers[second].ask("ROLE")[3] == b"connected", "the replica does not follow")
        ports = [free_port() for _ in range(3)]
        self.sentinels = [self._sentinel(home / f"sentinel-{port}", port, first) for port in ports]
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
        more = f"service=bell&sentinel_user={LOOKER}&sentinel_password=s%26cret&ssl_ca_certs={identity.ca}"
        #: Without the servers' user.
        self.url = f"rediss+sentinel://{hosts}/0?{more}"
        wait_until(self._known, "the Sentinels do not know each other")

    def url_as(self, password: str) -> str:
        return self.url.replace("://", f"://{USER}:{password}@", 1)

    def rotate(self, server: Valkey, password: str) -> None:
        """The user has this password from now on, and none of its connections."""
        server.ask("ACL", "SETUSER", USER, "on", "resetpass", f">{password}", "~*", "&*", "+@all")
        server.ask("CLIENT", "KILL", "USER", USER)

    def primary(self) -> Valkey:
        """The one that the Sentinels name."""
        return self.servers[int(self.sentinels[0].ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "bell")[1])]

    def _known(self) -> bool:
        about = [one.ask("SENTINEL", "MASTER", "bell") for one in self.sentinels]
        found = [dict(zip(one[::2], one[1::2], strict=True)) for one in about]
        return all((one[b"num-slaves"], one[b"num-other-sentinels"]) == (b"1", b"2") for one in found)

    def _server(self, home: Path, port: int) -> Valkey:
        home.mkdir()
        options = {"tls-port": str(port), "tls-replication": "yes", **self._files}
        server = Valkey(
            home, *(part for name, value in options.items() for part in (f"--{name}", value)), program=self._program
        )
        return self._begun(server)

    def _sentinel(self, home: Path, port: int, primary: int) -> Valkey:
        home.mkdir()
        sentinel = Sentinel(home, program=self._program)
        options = {
            "port": str(sentinel.port),
            "bind": "127.0.0.1",
            "dir": str(home),
            "tls-port": str(port),
            "tls-replication": "yes",
            **self._files,
            "user": f"{LOOKER} on >{SECRET} -@all +@connection +sentinel|master +sentinel|masters",
        }
        lines = [f"{name} {value}" for name, value in options.items()]
        lines += [
            f"sentinel monitor bell 127.0.0.1 {primary} 2",
            f"sentinel down-after-milliseconds bell {DOWN}",
            "sentinel failover-timeout bell 6000",
        ]
        (home / "sentinel.conf").write_text("\n".join([*lines, ""]))
        return self._begun(sentinel)

    def _begun(self, server: Valkey) -> Valkey:
        server.start()
        self._stack.callback(partial(server.stop))
        return server
