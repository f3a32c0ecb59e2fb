"""`python -m worker.cli._child COMMAND…`: a command of `carillon up`, which ends when `up` does, however that ends.

`up` holds the other end of this process's standard input, and the kernel closes it with `up`.
"""

import os
import signal
import sys
import threading


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    from worker.cli import main

    main()
