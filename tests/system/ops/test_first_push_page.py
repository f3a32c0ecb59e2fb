"""README's beginning and docs/first-push.md, typed line by line into terminals in a fresh clone."""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema  # type: ignore[import-untyped]
import pytest
import redis

from tests.integration.pipeline.keys import new_key
from tests.processes import PATIENCE, environ, until, using
from tests.programs import NODE_PATH, needs, needs_library
from tests.system.ops.environments import ROOT, Environment, pip, runtime
from tests.system.ops.terminal import Terminal
from worker.simulator import Key, Settings, SimulatorThread

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "first-push.md").read_text()
README = (ROOT / "README.md").read_text()
SCHEMA = json.loads((ROOT / "docs" / "event.schema.json").read_text())


def section(title: str) -> str:
    """The text from a heading to the next of its level or above."""
    level, rest = len(title.split(" ", maxsplit=1)[0]), PAGE.split(f"\n{title}\n", 1)[1]
    return re.split(rf"^#{{1,{level}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def lines(text: str) -> list[str]:
    return [line for block in blocks(text, "sh") for line in block.splitlines()]


class System(NamedTuple):
    """A clone in which `make up` runs, and a second terminal there."""

    clone: Path
    typed: Terminal
    redis_url: str

    def does(self, line: str) -> str:
        """What a line shows that goes well."""
        code, shown = self.typed.type(line)
        assert code == 0, f"{line}\n{shown}"
        return shown

    def becomes(self, line: str, text: str) -> None:
        """A line that comes to show this: it tells of something that takes a moment."""
        until(f"{line} shows {text!r}", lambda: text in self.typed.type(line)[1])

    def save(self, title: str, language: str) -> None:
        """Saves a section's program under the name that it gives."""
        text = section(title)
        [name] = re.findall(r"Save as `(.+?)`", text)
        (self.clone / name).write_text(blocks(text, language)[0])

    def published(self, line: str, seconds: float = PATIENCE) -> tuple[str, Any]:
        """What a line shows that goes well, and the document that it puts on the stream, where it does not stay long."""
        with redis.Redis.from_url(self.redis_url, socket_timeout=None) as client, ThreadPoolExecutor(1) as reader:
            last = client.xinfo_stream("carillon:events")["last-generated-id"]
            read = reader.submit(client.xread, {"carillon:events": last}, 1, int(seconds * 1000))
            code, shown = self.typed.type(line, seconds)
            assert code == 0, shown
            [[_, [[_, fields]]]] = read.result(seconds)
        return shown, json.loads(fields[b"event"])


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What git has of this tree, with an environment as `make` makes it, but of links."""
    target = tmp_path_factory.mktemp("clone")
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z", "--", ".", ":!tests", ":!benchmarks"],
        cwd=ROOT, capture_output=True, check=True,
    ).stdout.decode()  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    Environment(target / ".venv", runtime("embedded") | {"setuptools"})
    editable = ("--no-deps", "--no-build-isolation", "--editable", "./producers", "--editable", ".")
    pip("--python", str(target / ".venv/bin/python"), "install", "--no-index", *editable, cwd=target)
    (target / ".venv" / ".runtime").touch()
    return target


@pytest.fixture(scope="module")
def system(clone: Path) -> Iterator[System]:
    """After the first two minutes: what README shows, which is what the page begins with."""
    kept = environ()
    kept["PATH"] = kept["PATH"].removeprefix(f"{Path(sys.executable).parent}{os.pathsep}")
    first, second = Terminal(clone, kept), Terminal(clone, kept | {"NODE_PATH": NODE_PATH, "HOME": str(clone)})
    try:
        up, *steps = lines(section("## In two minutes"))
        assert up == "make up"
        first.start(up)
        until("it says how to go on", lambda: "or all of it at once" in first.output)
        [url] = re.findall(r"Redis +(\S+)", first.output)
        here = System(clone, second, url)
        for line in steps[:-1]:
            shown = here.does(line)
            assert "warning" not in shown
            if line == "carillon first-push":
                assert '"body": "Hello, Han"' in shown
        here.becomes(steps[-1], "accepted by APNs")
        yield here
    finally:
        first.interrupt()
        until("everything has stopped", lambda: "nothing is left running" in first.output)
        first.close()
        second.close()
        until("nothing is left", lambda: using(clone / ".carillon") == [])


def test_readme_begins_as_the_page_does(system: System) -> None:
    beginning = lines(README)
    assert beginning[0] == "make up"
    assert lines(PAGE)[: len(beginning)] == beginning


def test_a_step_by_step_push_reaches_the_member(system: System) -> None:
    assert "han gets a push" in system.does('carillon why "$id" --app chat --user han')


def test_readme_s_publisher_reaches_the_member(system: System) -> None:
    [program] = blocks(README, "python")
    assert "redis://localhost" in program
    (system.clone / "readme.py").write_text(program.replace("redis://localhost", system.redis_url))
    _, document = system.published("python readme.py")
    system.becomes(f"carillon why {document['id']} --app chat", "han gets a push")


def test_one_s_own_phone_gets_a_push(system: System) -> None:
    """Apple is a simulator that knows the key; the phone's token is made up."""
    key = system.clone / "AuthKey_ABC123DEFG.p8"
    key.write_text(new_key())
    settings = Settings(
        topics=("io.team.App",), keys=(Key.read(f"ABC123DEFG:DEF123GHIJ:{key}"),), environment="sandbox"
    )
    store, doctor, token, *rest = lines(section("## To your own iPhone"))
    with SimulatorThread(settings) as apple:
        assert "apns-sandbox" in system.does(store)
        instead = f"--host 127.0.0.1 --port {apple.port} --ca {apple.ca_path}"
        system.does(f"carillon push apn --app chat --name apns-sandbox {instead}")
        system.becomes(doctor, "all is well")
        system.does(token.replace("paste the token here", secrets.token_hex(32)))
        for line in rest:
            shown = system.does(line)
            assert "warning" not in shown
        until("the phone has both", lambda: len(apple.accepted) == 2)
        texts = [json.loads(entry.payload or "{}")["aps"]["alert"]["body"] for entry in apple.accepted]
        assert texts == ["hello from Carillon", "hello, phone"]
        system.does("carillon push remove apns-sandbox --app chat --yes")


@pytest.fixture
def server(system: System) -> System:
    [line] = lines(section("## From your own server").split("\n### ")[0])
    system.does(re.sub(r'".*"', f"'{system.redis_url}'", line))
    return system


@pytest.mark.parametrize(
    ("title", "language", "program"),
    [
        ("### Node", "js", ("env", f"NODE_PATH={NODE_PATH}", "node", "-e", "require('redis')")),
        ("### PHP", "php", ("php", "-r", "new Redis();")),
    ],
    ids=["node", "php"],
)
def test_a_server_in_another_language_publishes(
    server: System, title: str, language: str, program: tuple[str, ...]
) -> None:
    needs_library(*program)
    server.save(title, language)
    publish, why = lines(section(title))
    _, document = server.published(publish)
    jsonschema.validate(document, SCHEMA)
    server.becomes(why, "han gets a push")


def test_a_server_in_go_publishes(server: System) -> None:
    needs("go")
    server.save("### Go", "go")
    [publish] = lines(section("### Go"))
    shown, document = server.published(publish, seconds=300)
    assert "1 accepted" in shown
    jsonschema.validate(document, SCHEMA)
