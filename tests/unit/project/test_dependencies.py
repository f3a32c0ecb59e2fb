"""What is installed is what is locked, by hash, under licences that allow it. Asks no network.

Whether a version has a known vulnerability only a database knows: `make audit` asks one.
"""

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.markers import Marker

ROOT = Path(__file__).parents[3]

Pin = tuple[str, str, str, str]


def pins(lock: str) -> list[Pin]:
    """Name, version, marker and hashes of each package."""
    entry = r"^([a-z0-9.-]+)==([^\s;\\]+)(?: ; ([^\\]+?))? \\\n((?:    --hash=\S+(?: \\)?\n?)+)"
    return re.findall(entry, (ROOT / lock).read_text(), re.MULTILINE)


LOCKS = {lock: pins(lock) for lock in ("requirements.lock", "requirements-docs.lock")}
#: What builds the documentation, which `make check` installs and `make test` does not need.
DOCS = [
    pin for pin in LOCKS["requirements-docs.lock"] if pin[0] not in {name for name, *_ in LOCKS["requirements.lock"]}
]
PINNED = [*LOCKS["requirements.lock"], *DOCS]

#: Free licences that ask for no more than to be named, or, with weak copyleft, for the source of changes to the package itself.
ALLOWED = {
    *("Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "PSF-2.0"),
    *("MPL-2.0", "LGPL-3.0-only"),
    "CNRI-Python",  # what Python 1.6 had: name it, and say what was changed
}
#: How packages without an SPDX expression put it.
SPELT = {
    **dict.fromkeys(["Apache Software License", "Apache License, Version 2.0", "Apache 2.0", "Apache"], "Apache-2.0"),
    **dict.fromkeys(["BSD License", "BSD", "New BSD", "3-Clause BSD License"], "BSD-3-Clause"),
    **dict.fromkeys(["MIT License", "The MIT License (MIT)"], "MIT"),
    **dict.fromkeys(["ISC License (ISCL)", "ISC License"], "ISC"),
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "DFSG approved": "",
}


def wanted_here(marker: str) -> bool:
    return not marker or Marker(marker).evaluate()


def licences(package: Distribution) -> set[str]:
    """The SPDX names of every licence a package names; one of two that it offers may do."""
    for expression in package.metadata.get_all("License-Expression", []):
        return set(re.split(r" (?:AND|OR) ", expression.strip("()")))
    named = [text.rpartition(" :: ")[2] for text in package.metadata.get_all("Classifier", []) if "License ::" in text]
    named = named or [package.metadata.get_all("License", ["none named"])[0].splitlines()[0]]
    return {SPELT.get(name, name) for name in named} - {""}


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_is_read_whole(lock: str) -> None:
    assert len(LOCKS[lock]) == len(re.findall(r"^[a-z0-9.-]+==", (ROOT / lock).read_text(), re.MULTILINE)) > 20


def wrong(pin: Pin) -> str | None:
    """What is wrong with a package, if anything."""
    name, version, marker, hashes = pin
    if not re.fullmatch(r"(    --hash=sha256:[0-9a-f]{64}(?: \\)?\n?)+", hashes):
        return "has no hash"
    if not wanted_here(marker):
        return None
    try:
        installed = distribution(name)
    except PackageNotFoundError:
        return "is not installed: run make install"
    if installed.version != version:
        return f"is {installed.version} here: run make install"
    unknown = licences(installed) - ALLOWED
    return f"is under {unknown}: judge the licence, then name it here" if unknown else None


def test_what_is_installed_is_what_is_locked_by_hash_under_licences_that_allow_it() -> None:
    # `make check` installs what builds the documentation.
    pins = PINNED if find_spec("mkdocs") else LOCKS["requirements.lock"]
    assert [f"{pin[0]} {pin[1]} {fault}" for pin in pins if (fault := wrong(pin))] == []
