"""Whether every package of a lock has a wheel on every platform. Asks the index: `python tests/system/environments/platforms.py`.

Nothing is installed or run. Markers are evaluated for the platform that is asked about, which pip alone would not do.
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[3]
PYTHONS = ("3.11.2", "3.12.0", "3.13.0", "3.14.0")
LINUX = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}
MACOS = {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix"}
#: By name: the platform's markers, and the tags of wheels that it takes.
PLATFORMS = {
    "Linux x86_64": (LINUX | {"platform_machine": "x86_64"}, ["manylinux_2_28_x86_64", "manylinux2014_x86_64"]),
    "Linux arm64": (LINUX | {"platform_machine": "aarch64"}, ["manylinux_2_28_aarch64", "manylinux2014_aarch64"]),
    "macOS arm64": (MACOS | {"platform_machine": "arm64"}, [f"macosx_{n}_0_arm64" for n in range(14, 10, -1)]),
    "macOS x86_64": (
        MACOS | {"platform_machine": "x86_64"},
        [*(f"macosx_{n}_0_x86_64" for n in range(14, 10, -1)), *(f"macosx_10_{n}_x86_64" for n in range(15, 8, -1))],
    ),
    "Alpine x86_64": (LINUX | {"platform_machine": "x86_64"}, ["musllinux_1_2_x86_64", "musllinux_1_1_x86_64"]),
}
LOCKS = ("requirements-worker.lock", "requirements-runtime.lock", "requirements.lock", "requirements-docs.lock")


def wanted(lock: str, markers: dict[str, str]) -> Iterator[str]:
    """The lock's lines that count where these markers do, with their hashes and without their markers."""
    entries = re.sub(r"\\\n\s*", "", (ROOT / lock).read_text()).splitlines()
    for entry in entries:
        text, *hashes = re.split(r"\s+(?=--hash)", entry.strip())
        if not text or text.startswith(("#", "-")):
            continue
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate(markers):
            yield " ".join([f"{requirement.name}{requirement.specifier}", *hashes])


def missing(lock: str, python: str, platform: str) -> str | None:
    """What has no wheel there, as pip says it; None where everything has."""
    markers, tags = PLATFORMS[platform]
    version = {"python_full_version": python, "python_version": python.rpartition(".")[0]}
    implementation = {"platform_python_implementation": "CPython", "implementation_name": "cpython"}
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "requirements.txt"
        file.write_text("\n".join(wanted(lock, markers | version | implementation)))
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--require-hashes", "--quiet"]
        command += [
            "--disable-pip-version-check",
            "--only-binary=:all:",
            f"--python-version={version['python_version']}",
        ]
        command += ["--target", f"{directory}/t", *(f"--platform={tag}" for tag in tags), "--requirement", str(file)]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
        )
    found = re.findall(r"No matching distribution found for (\S+)", done.stderr)
    return None if done.returncode == 0 else ", ".join(found) or done.stderr.strip()


def main() -> None:
    """Print a line for each platform, lock and Python."""
    for platform in PLATFORMS:
        for lock in LOCKS:
            for python in PYTHONS:
                fault = missing(lock, python, platform)
                sys.stdout.write(f"{platform:14} {lock:27} {python:7} {fault or 'all have wheels'}\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
