"""The simulator in a thread, as a process, and under its HTTP control."""

import json
import socket
import ssl
import subprocess
import sys
from typing import Any

import httpx
import msgspec
import pytest

from tests.integration.simulator.client import PAYLOAD
from tests.unit.simulator.credentials import TOPIC, provider_token
from worker.simulator import (
    Answer,
    FcmSettings,
    Rule,
    Script,
    Settings,
    Share,
    SimulatorProcess,
    SimulatorThread,
    WebSettings,
    faults,
)
from worker.simulator.kinds import read_settings
from worker.simulator.web.subscriptions import Wish

ENTRY = {"status", "token", "apns_id", "reason", "at", "topic", "payload", "connection", "accepted", "number"}


def send(simulator, *tokens: str) -> list[int]:
    context = ssl.create_default_context(cadata=simulator.ca_pem)
    headers = {"authorization": f"bearer {provider_token()}", "apns-topic": TOPIC}
    with httpx.Client(http2=True, verify=context, headers=headers) as client:
        base = f"https://localhost:{simulator.port}/3/device/"
        return [client.post(base + token, content=PAYLOAD).status_code for token in tokens]


@pytest.fixture(params=["asyncio", "uvloop"])
def thread(request, settings, monkeypatch):
    if request.param == "asyncio":
        monkeypatch.setitem(sys.modules, "uvloop", None)
    with SimulatorThread(msgspec.structs.replace(settings, control_port=0)) as simulator:
        yield simulator


def test_a_thread_serves_synchronous_code(thread):
    thread.set_tokens({"bb": Answer("Unregistered")})
    assert send(thread, "aa", "bb") == [200, 410]
    thread.wait_accepted(1)
    assert [entry.token for entry in thread.accepted] == ["aa"]
    assert [entry.token for entry in thread.refused] == ["bb"]
    thread.set_script(Script(shares=(Share(1.0, Answer("Shutdown")),)))
    assert send(thread, "aa") == [503]
    thread.reset()
    assert thread.counts["total"] == 0
    assert send(thread, "aa") == [200]
    thread.stop()
    assert len(thread.accepted) == 1


def test_waiting_for_what_does_not_come_ends(thread):
    with pytest.raises(TimeoutError):
        thread.wait_accepted(1, 0.05)


def test_a_thread_that_cannot_start_says_why(settings):
    broken = msgspec.structs.replace(settings, certificate="/nonexistent.pem")
    with pytest.raises(FileNotFoundError):
        SimulatorThread(broken).start()


def _control(thread, method, path, document=None):
    content = None if document is None else json.dumps(document)
    headers = {"authorization": f"bearer {thread.control_token}"}
    return httpx.request(method, f"http://127.0.0.1:{thread.control_port}{path}", content=content, headers=headers)


def test_the_control_gives_the_record_as_json(thread):
    thread.set_tokens({"bb": Answer("Unregistered")})
    send(thread, "aa", "bb", "cc")
    accepted = _control(thread, "GET", "/accepted").json()
    assert [entry["token"] for entry in accepted] == ["aa", "cc"]
    assert set(accepted[0]) >= ENTRY
    assert [entry["reason"] for entry in _control(thread, "GET", "/refused").json()] == ["Unregistered"]
    assert [entry["token"] for entry in _control(thread, "GET", "/requests?after=1&limit=1").json()] == ["bb"]
    assert [entry["token"] for entry in _control(thread, "GET", "/requests?limit=1&token=b").json()] == ["bb"]
    counts = _control(thread, "GET", "/counts").json()
    assert (counts["accepted"], counts["answers"]) == (2, {"200": 2, "Unregistered": 1})
    assert _control(thread, "GET", "/ca").json()["pem"] == thread.ca_pem


def test_the_control_changes_what_it_does(thread):
    assert _control(thread, "POST", "/tokens", {"AA": {"reason": "BadDeviceToken"}}).json() == {"done": True}
    assert send(thread, "aa") == [400]
    assert _control(thread, "POST", "/script", {"rules": [{"answer": {"reason": "Shutdown"}}]}).status_code == 200
    assert send(thread, "aa") == [503]
    assert _control(thread, "POST", "/inflict", {"fault": {"kind": "ping"}}).status_code == 200
    assert _control(thread, "POST", "/reset").status_code == 200
    assert send(thread, "aa") == [200]


@pytest.mark.parametrize(
    ("method", "path", "document", "status", "says"),
    [
        pytest.param("GET", "/nothing", None, 404, "/nothing", id="unknown path"),
        pytest.param("POST", "/counts", {}, 404, "/counts", id="unknown method"),
        pytest.param("POST", "/script", {"rules": [{"fault": {"kind": "x"}}]}, 400, "fault.kind", id="bad script"),
        pytest.param("POST", "/tokens", {"aa": {"reason": "Gone"}}, 400, "status", id="bad answer"),
        pytest.param("GET", "/accepted?limit=x", None, 400, "x", id="bad query"),
    ],
)
def test_the_control_names_what_is_wrong(thread, method, path, document, status, says):
    answer = _control(thread, method, path, document)
    assert answer.status_code == status
    assert says in answer.json()["error"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({}, 401, id="no token"),
        pytest.param({"authorization": "bearer wrong"}, 401, id="a wrong token"),
        pytest.param({"authorization": "TOKEN"}, 401, id="no scheme"),
        pytest.param({"authorization": "bearer TOKEN", "host": "evil.example"}, 403, id="the host of a page elsewhere"),
        pytest.param({"authorization": "bearer TOKEN", "host": "evil.example:80"}, 403, id="such a host with a port"),
        pytest.param({"authorization": "Bearer TOKEN", "host": "localhost:1"}, 200, id="localhost"),
        pytest.param({"authorization": "bearer TOKEN", "host": "[::1]:1"}, 200, id="an address"),
    ],
)
@pytest.mark.parametrize(("method", "path"), [("GET", "/requests"), ("POST", "/reset"), ("GET", "/nothing")])
def test_the_control_serves_nobody_without_its_token(thread, headers, status, method, path):
    shown = {name: value.replace("TOKEN", thread.control_token) for name, value in headers.items()}
    answer = httpx.request(method, f"http://127.0.0.1:{thread.control_port}{path}", headers=shown)
    assert answer.status_code == (404 if status == 200 and path == "/nothing" else status)
    assert thread.control_token not in answer.text


def test_the_control_is_on_loopback_whatever_the_simulator_listens_on(settings):
    everywhere = msgspec.structs.replace(settings, host="0.0.0.0", control_port=0)
    with SimulatorThread(everywhere) as simulator:
        control = simulator._simulator._control
        assert control is not None
        server: Any = control._server
        assert [listener.getsockname()[0] for listener in server.sockets] == ["127.0.0.1"]


def test_a_client_without_alpn_is_taken_as_apple_takes_it_and_one_line_says_so(settings):
    said: list[str] = []
    for strict in (False, True):
        with SimulatorThread(msgspec.structs.replace(settings, require_alpn=strict)) as simulator:
            simulator._simulator.service.say = said.append
            context = ssl.create_default_context(cadata=simulator.ca_pem)
            for _ in range(2):
                with (
                    socket.create_connection((simulator.host, simulator.port)) as sock,
                    context.wrap_socket(sock, server_hostname="localhost") as secured,
                ):
                    secured.settimeout(10)
                    assert bool(secured.recv(9)) is not strict
    assert ["--strict-alpn refuses it" in said[0], "which --strict-alpn asks for" in said[1]] == [True, True]
    assert len(said) == 2


def test_the_record_is_bounded_by_the_memory_of_its_payloads(settings):
    with SimulatorThread(msgspec.structs.replace(settings, record_octets=10_000)) as simulator:
        send(simulator, *[f"{n:04x}" for n in range(250)])
        assert simulator.counts["accepted"] == 250
        kept = simulator.accepted
        assert 0 < len(kept) < 250
        assert sum(len(entry.payload or "") for entry in kept) < 10_000
        assert kept[-1].token == "00f9"


def test_a_process_serves_is_controlled_and_ends_cleanly(settings):
    script = Script(rules=(Rule(token="bb", answer=Answer("Unregistered")),))
    process = SimulatorProcess(msgspec.structs.replace(settings, control_port=0, script=script))
    with process:
        assert send(process, "aa", "bb") == [200, 410]
        assert [entry["token"] for entry in process.control.accepted()] == ["aa"]
        assert [entry["status"] for entry in process.control.requests()] == [200, 410]
        process.control.set_tokens({"cc": Answer("TooManyRequests")})
        assert send(process, "cc") == [429]
        process.control.inflict(faults.Close())
        process.control.reset()
        process.control.set_script(Script())
        assert send(process, "bb") == [200]
        assert process.control.counts()["accepted"] == 1
        with pytest.raises(ValueError, match="needs a status"):
            process.control._ask("POST", "/tokens", {"aa": {"reason": "Gone"}})
        directory = process.ca_path.parent
        assert process.stop() == 0
    assert not directory.exists()


def test_a_process_that_cannot_start_is_reported(settings):
    broken = msgspec.structs.replace(settings, certificate="/nonexistent.pem")
    with pytest.raises(RuntimeError, match="ended with status 1"):
        SimulatorProcess(broken).start()


def test_settings_are_a_file_too(tmp_path):
    (tmp_path / "settings.json").write_text('{"topics": ["org.example.chat"], "control_port": null}')
    command = [sys.executable, "-m", "worker.simulator", str(tmp_path / "settings.json")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        where = json.loads(process.stdout.readline())
        process.terminate()
    assert where["port"]
    assert where["control_port"] is None
    assert process.returncode == 0


def test_a_process_runs_all_kinds_with_one_certificate_and_one_control():
    with SimulatorProcess(Settings(), FcmSettings(bearers=("known",)), WebSettings()) as process:
        assert list(process.ports) == ["apns", "fcm", "web"]
        assert send(process, "aa") == [200]
        context = ssl.create_default_context(cadata=process.ca_pem)
        with httpx.Client(http2=True, verify=context) as client:
            document = {"message": {"token": "abc:APA91b" + "x" * 130}}
            path = f"https://localhost:{process.ports['fcm']}/v1/projects/p/messages:send"
            assert client.post(path, json=document, headers={"authorization": "Bearer known"}).status_code == 200
            assert client.post(f"https://localhost:{process.ports['web']}/mozilla/x").status_code == 404
        counts = {kind: control.counts() for kind, control in process.controls.items()}
        assert [counts[kind]["accepted"] for kind in ("apns", "fcm", "web")] == [1, 1, 0]
        assert process.control.counts() == counts["apns"]
        process.controls["fcm"].set_script(Script(shares=(Share(1.0, Answer("UNAVAILABLE")),)))
        process.controls["fcm"].set_oauth(Script(rules=(Rule(answer=Answer("temporarily_unavailable")),)))
        [subscription] = process.controls["web"].subscriptions(Wish(service="apple"))
        assert subscription["endpoint"].startswith("https://web.push.apple.com/")
        assert process.controls["web"].surviving() == []
        with pytest.raises(ValueError, match="there is no GET /surviving"):
            process.control.surviving()


def test_settings_of_several_simulators_are_a_list():
    found = read_settings('[{"kind": "web", "seed": 3}, {"topics": ["a.b"]}, {"kind": "fcm", "accounts": []}]')
    assert [type(one) for one in found] == [WebSettings, Settings, FcmSettings]
    with pytest.raises(msgspec.ValidationError, match="sms"):
        read_settings('{"kind": "sms"}')
