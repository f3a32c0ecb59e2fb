"""The samples for Node and Go find an app's stream as the contract says, also when the partitions are changed."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from producers.events import STREAM
from producers.partitions import LAYOUT_KEY, Layout, encoded, parsed, tags
from tests.processes import PATIENCE, ROOT
from tests.programs import NODE_PATH, needs, needs_library

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
VECTORS = ROOT / "docs/partitions-vectors.json"
APP = "demo"


@contextmanager
def _running(*command: str | Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    with subprocess.Popen(command, env=os.environ | environment, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def node(redis_url: str, _directory: Path) -> Iterator[subprocess.Popen[str]]:
    needs_library("env", f"NODE_PATH={NODE_PATH}", "node", "-e", "require('redis')")
    with _running("node", HERE / "publish.mjs", redis_url, VECTORS, NODE_PATH=NODE_PATH) as process:
        yield process


@contextmanager
def go(redis_url: str, directory: Path) -> Iterator[subprocess.Popen[str]]:
    compiler, made = needs("go"), directory / "check"
    (directory / "layout").mkdir()
    (directory / "go.mod").write_text("module check\n\ngo 1.19\n")
    shutil.copy(ROOT / "docs/samples/layout.go", directory / "layout")
    shutil.copy(HERE / "publish.go", directory)
    cache = {"GOCACHE": str(directory / "cache"), "GOFLAGS": "-mod=mod", "GOPROXY": "off"}
    subprocess.run([compiler, "build", "-o", made, "."], cwd=directory, env=os.environ | cache, check=True, timeout=300)
    where = urlsplit(redis_url)
    with _running(made, f"{where.hostname}:{where.port}", VECTORS, where.password or "") as process:
        yield process


@pytest.mark.parametrize("program", [node, go], ids=["Node", "Go"])
def test_a_sample_publishes_to_the_app_s_partition(program: Any, redis_url: str, tmp_path: Path) -> None:
    four = parsed(json.dumps(json.loads(VECTORS.read_text())["layout"]).encode())
    with redis.Redis.from_url(redis_url) as client, program(redis_url, tmp_path) as process:
        client.flushdb()
        assert json.loads(process.stdout.readline())["wrong"] in ([], 0)

        def publish(id: str, **more: object) -> str:
            process.stdin.write(json.dumps({"app": APP, "id": id, **more}) + "\n")
            process.stdin.flush()
            return str(process.stdout.readline().rstrip("\n"))

        entry = publish("untagged")
        assert _on(client, STREAM) == {entry: "untagged"}
        with client.pipeline() as pipe:  # its layout is of before: it is refused, and reads the new one
            pipe.delete(STREAM).set(STREAM, "closed").set(LAYOUT_KEY, encoded(four)).execute()
        entry = publish("tagged")
        assert _on(client, four.stream(APP)) == {entry: "tagged"}
        spread = Layout(3, tags(4, 3), spread=frozenset({APP}))
        with client.pipeline() as pipe:
            pipe.delete(four.stream(APP)).set(four.stream(APP), "closed").set(LAYOUT_KEY, encoded(spread)).execute()
        entry = publish("spread", type="message.new", channel={"id": "lobby"})
        assert _on(client, spread.stream(APP, channel="lobby")) == {entry: "spread"}
        entry = publish("home", type="user.muted")
        assert _on(client, spread.stream(APP)) == {entry: "home"}
        for channel in ("lobby", None):
            stream = spread.stream(APP, channel=channel)
            client.pipeline().delete(stream).set(stream, "closed").execute()
        with client.pipeline() as pipe:
            pipe.set(LAYOUT_KEY, encoded(Layout(four.generation, four.tags, closed=True))).execute()
        assert publish("refused").startswith("fault: the partitions are being changed")
        process.stdin.close()
        assert process.wait(PATIENCE) == 0


def _on(client: Any, stream: str) -> dict[str, str]:
    return {id.decode(): json.loads(fields[b"event"])["id"] for id, fields in client.xrange(stream)}
