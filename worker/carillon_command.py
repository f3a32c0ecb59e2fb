"""`carillon`, before `worker`, `config` or `producers` is imported: another project's folder may have such a name.

It is installed beside the packages, as the module `carillon_command`, where no folder of these names hides it.
"""

import signal

#: Whether a Ctrl-C ends it at once, without a traceback of what is being imported; it is not heard where nohup says so.
_at_once = __name__ == "carillon_command" and signal.getsignal(signal.SIGINT) is signal.default_int_handler
if _at_once:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import sys  # noqa: E402
from importlib import import_module, metadata  # noqa: E402
from importlib.util import find_spec  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Final  # noqa: E402

#: Said where something is missing. No package index has Carillon.
INSTALL: Final = "run pip install ./producers . in Carillon's source tree"
_PACKAGES: Final = ("worker", "config", "producers")


def main() -> None:
    """The entry point. Ends with a sentence where a package of ours is hidden."""
    if (fault := hidden()) is not None:
        sys.exit(f"carillon: {fault}")
    command = import_module("worker.cli")
    if _at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    command.main()


def hidden() -> str | None:
    """Which package of another project Python finds in place of ours, and what to do; None where there is none."""
    for name in _PACKAGES:
        ours, found = _ours(name), _found(name)
        if found is None:
            return f"the package {name} is not installed: {INSTALL}"
        if ours is not None and found.resolve() != ours.resolve():
            return (
                f"{found} hides Carillon's own {ours}: take {found.parent} out of PYTHONPATH, or install Carillon in a"
                " virtual environment of its own"
            )
    return None


def _ours(name: str) -> Path | None:
    here = Path(__file__).parent
    root = here if (here / "worker" / "cli").is_dir() else here.parent
    if (root / name).is_dir():
        return root / name
    try:  # carillon-push may be installed elsewhere than carillon-push-worker
        elsewhere = Path(str(metadata.distribution("carillon-push").locate_file(name)))
    except metadata.PackageNotFoundError:
        return None
    return elsewhere if elsewhere.is_dir() else None


def _found(name: str) -> Path | None:
    spec = find_spec(name)
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return Path(spec.origin or name)
