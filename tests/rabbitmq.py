"""A RabbitMQ that a test may stop, kill and start again, on the same port with the same data."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from kombu.connection import Connection
from kombu.exceptions import OperationalError

from tests.processes import free_port, until
from tests.programs import needs

#: Debian's script in PATH refuses users other than root and its own; this one starts the server and nothing else.
_SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


class RabbitMQ:
    """One node on 127.0.0.1 that shares nothing with another one of this machine."""

    def __init__(self) -> None:
        needs("rabbitmqctl")
        # Its user cannot come into pytest's directories.
        self._home = home = Path(tempfile.mkdtemp(prefix="carillon-rabbitmq-"))
        self.port = free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._environment = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(home),
            "RABBITMQ_NODENAME": f"carillon-{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_MNESIA_BASE": str(home),
            "RABBITMQ_LOG_BASE": str(home),
            "RABBITMQ_LOGS": "-",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(free_port()),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1",
        }

    def start(self) -> None:
        user = pwd.getpwnam("rabbitmq") if os.geteuid() == 0 else None
        if user is not None:
            shutil.chown(self._home, user.pw_uid, user.pw_gid)
        with (self._home / "output.log").open("ab") as output:
            self._process = subprocess.Popen(
                [str(_SERVER)],
                env=self._environment,
                cwd=self._home,
                stdout=output,
                stderr=subprocess.STDOUT,
                user=None if user is None else user.pw_uid,
                group=None if user is None else user.pw_gid,
                extra_groups=None if user is None else [],
                start_new_session=True,
            )
        until("RabbitMQ answers", self._answers)

    def stop(self) -> None:
        """Ends it in order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it at once, as a machine that fails."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        """Ends it, and the name server that it has started for itself; what it kept is gone."""
        self._end(signal.SIGTERM)
        subprocess.run(["epmd", "-kill"], env=self._environment, capture_output=True, check=False)
        shutil.rmtree(self._home, ignore_errors=True)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        # The script waits for the server, which is in the same session.
        os.killpg(self._process.pid, number)
        self._process.wait(60)
        self._process = None

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._home / "output.log").read_text()
        try:
            with Connection(self.url, connect_timeout=2) as connection:
                connection.connect()
        except (OSError, OperationalError):
            return False
        return True
