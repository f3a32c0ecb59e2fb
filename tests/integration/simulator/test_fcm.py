"""The FCM: the token endpoint, the rules of a message and Google's envelopes, to clients of HTTP/2 and of HTTP/1.1."""

import contextlib
import json
import socket
import ssl
import time
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.integration.simulator.client import Peer
from worker.simulator import Answer, FcmSettings, Rule, Script, SimulatorThread, faults
from worker.simulator.fcm.settings import Account
from worker.simulator.reasons import FCM, OAUTH

EMAIL, KEY_ID, PROJECT = "push@chat.iam.gserviceaccount.com", "key1", "chat"
TOKEN = "abc:APA91b" + "x" * 130
PATH = f"/v1/projects/{PROJECT}/messages:send"
BODY = json.dumps({"message": {"token": TOKEN}}).encode()


def _pem() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


PEM, OTHER = _pem(), _pem()
SETTINGS = FcmSettings(accounts=(Account(EMAIL, KEY_ID, PEM, PROJECT),), bearers=("known",), control_port=0)


class Sender:
    """Asks for tokens and sends messages."""

    opened: ClassVar[list["Sender"]] = []

    def __init__(self, simulator: SimulatorThread, *, http2: bool = True) -> None:
        context = ssl.create_default_context(cadata=simulator.ca_pem)
        self.http = httpx.Client(http2=http2, verify=context, base_url=f"https://localhost:{simulator.port}")
        self.opened.append(self)

    def ask(self, *, pem: str = PEM, kid: str = KEY_ID, grant: str | None = None, **claims: object) -> httpx.Response:
        now = int(time.time())
        plain = {
            "iss": EMAIL,
            "scope": "https://www.googleapis.com/auth/firebase.messaging",
            "iat": now,
            "exp": now + 3600,
        }
        plain["aud"] = "https://oauth2.googleapis.com/token"
        assertion = jwt.encode(plain | claims, pem, algorithm="RS256", headers={"kid": kid})
        grant = grant or "urn:ietf:params:oauth:grant-type:jwt-bearer"
        return self.http.post("/token", data={"grant_type": grant, "assertion": assertion})

    def send(self, message: object = None, bearer: str = "known", path: str = PATH, **more: object) -> httpx.Response:
        document = {"message": {"token": TOKEN} if message is None else message} | more
        return self.http.post(path, json=document, headers={"authorization": f"Bearer {bearer}"})


@pytest.fixture(autouse=True)
def _close_senders():
    yield
    while Sender.opened:
        Sender.opened.pop().http.close()


@pytest.fixture
def simulator():
    with SimulatorThread(SETTINGS) as simulator:
        yield simulator


@pytest.fixture(params=[True, False], ids=["HTTP/2", "HTTP/1.1"])
def sender(simulator, request):
    return Sender(simulator, http2=request.param)


def test_a_token_of_the_endpoint_sends_until_its_hour_is_over(simulator, sender):
    granted = sender.ask().json()
    assert (granted["expires_in"], granted["token_type"]) == (3599, "Bearer")
    answer = sender.send(bearer=granted["access_token"])
    assert answer.status_code == 200
    assert answer.json()["name"].startswith(f"projects/{PROJECT}/messages/0:")
    [entry] = simulator.accepted
    assert (entry.token, entry.project, json.loads(entry.payload)) == (TOKEN, PROJECT, {"message": {"token": TOKEN}})
    assert simulator.counts["token_requests"] == 1


def test_a_token_that_lived_is_expired_and_one_that_never_was_is_nobodys():
    with SimulatorThread(FcmSettings(token_life=0, life_as_text=True)) as simulator:
        sender = Sender(simulator)
        granted = sender.ask().json()
        assert isinstance(granted["expires_in"], str)
        expired, unknown = sender.send(bearer=granted["access_token"]), sender.send(bearer="unknown")
    assert (expired.status_code, unknown.status_code) == (401, 401)
    assert expired.json()["error"]["details"][0]["reason"] == "ACCESS_TOKEN_EXPIRED"
    assert "details" not in unknown.json()["error"]


@pytest.mark.parametrize(
    ("wish", "error", "says"),
    [
        pytest.param({"exp": 7200}, "invalid_grant", "short-lived token", id="two hours"),
        pytest.param({"iat": -8000, "exp": -4400}, "invalid_grant", "short-lived token", id="a clock behind"),
        pytest.param({"iat": 600, "exp": 4200}, "invalid_grant", "short-lived token", id="a clock ahead"),
        pytest.param({"pem": OTHER}, "invalid_grant", "Invalid JWT Signature", id="another key"),
        pytest.param({"kid": "other"}, "invalid_grant", "Invalid JWT Signature", id="another key id"),
        pytest.param({"iss": "nobody@example.com"}, "invalid_grant", "account not found", id="another account"),
        pytest.param({"scope": "email"}, "invalid_scope", "scope", id="another scope"),
        pytest.param({"aud": "https://example.com"}, "invalid_scope", "audience", id="another audience"),
        pytest.param({"grant": "password"}, "unsupported_grant_type", "grant_type", id="another grant"),
    ],
)
def test_an_assertion_is_judged(simulator, wish, error, says):
    now = int(time.time())
    wish = {name: now + value if name in ("iat", "exp") else value for name, value in wish.items()}
    answer = Sender(simulator).ask(**wish)
    assert (answer.status_code, answer.json()["error"]) == (400, error)
    assert says in answer.json()["error_description"]


@pytest.mark.parametrize("reason", OAUTH)
def test_the_token_endpoint_answers_on_demand_and_sending_goes_on(simulator, reason):
    simulator._simulator.service.set_oauth(Script(rules=(Rule(count=1, answer=Answer(reason)),)))
    sender = Sender(simulator)
    answer = sender.ask()
    error = "invalid_grant" if reason.startswith("invalid_grant") else reason
    assert (answer.status_code, answer.json()["error"]) == (OAUTH[reason], error)
    assert sender.send().status_code == 200
    assert sender.ask().status_code == 200


FCM_ERROR, BAD_REQUEST = "FcmError", "BadRequest"


@pytest.mark.parametrize(
    ("message", "text", "kinds", "field"),
    [
        pytest.param(
            {"token": "carillon-doctor"}, "registration token", [FCM_ERROR, BAD_REQUEST], "message.token", id="token"
        ),
        pytest.param({"data": {}}, "Recipient", [BAD_REQUEST, FCM_ERROR], "message", id="no recipient"),
        pytest.param({"topic": "a b"}, "Topic name", [BAD_REQUEST, FCM_ERROR], "message", id="topic"),
        pytest.param({"condition": "x"}, "Request contains an invalid argument.", [], None, id="condition"),
        pytest.param(
            {"token": TOKEN, "data": {"k": "v" * 4506}},
            "Message is too large",
            [BAD_REQUEST, FCM_ERROR],
            None,
            id="size",
        ),
        pytest.param(
            {"token": TOKEN, "webpush": {"headers": {"TTL": "-1"}}},
            "TTL must be",
            [BAD_REQUEST, FCM_ERROR],
            "message.webpush.headers.TTL",
            id="life time of the web",
        ),
        pytest.param(
            {"token": TOKEN, "data": {"a": "b", "k": 12}},
            "Invalid value at 'message.data[1].value' (TYPE_STRING), 12",
            [BAD_REQUEST],
            "message.data[1].value",
            id="a number in data",
        ),
        pytest.param(
            {"token": TOKEN, "android": {"prio": "HIGH"}},
            'Unknown name "prio"',
            [BAD_REQUEST],
            "message.android",
            id="field",
        ),
        pytest.param(
            {"token": TOKEN, "android": {"ttl": "3600"}},
            "protobuf.Duration",
            [BAD_REQUEST],
            "message.android.ttl",
            id="ttl",
        ),
        pytest.param(
            {"token": TOKEN, "apns": {"payload": {"aps": {"badge": "1"}}}},
            "APS key [badge] is a number",
            [BAD_REQUEST],
            "message.apns.payload.aps.badge",
            id="badge",
        ),
    ],
)
@pytest.mark.parametrize("validate_only", [False, True])
def test_a_message_is_refused_with_the_envelope_of_its_fault(simulator, message, text, kinds, field, validate_only):
    answer = Sender(simulator).send(message, validate_only=validate_only)
    error = answer.json()["error"]
    assert (error["code"], error["status"]) == (answer.status_code, "INVALID_ARGUMENT") == (400, "INVALID_ARGUMENT")
    assert text in error["message"]
    details = error.get("details", [])
    assert [one["@type"].rpartition(".")[2] for one in details] == kinds
    violations = [one for detail in details for one in detail.get("fieldViolations", [])]
    assert [one["field"] for one in violations] == ([] if field is None else [field])
    assert simulator.accepted == []


def test_what_fits_is_taken_in_either_spelling(simulator, sender):
    assert sender.send({"token": TOKEN, "data": {"k": "v" * 4505}}).status_code == 200
    assert sender.send({"token": TOKEN, "android": {"collapseKey": "k", "ttl": "1.5s"}}).status_code == 200
    assert [entry.collapse_key for entry in simulator.accepted] == [None, "k"]


def test_what_is_only_validated_reaches_nobody(simulator, sender):
    assert sender.send(validate_only=True).json()["name"].startswith("projects/")
    assert (simulator.accepted, simulator.counts["answers"]["VALIDATED"]) == ([], 1)


@pytest.mark.parametrize("reason", [reason for reason, status in FCM.items() if status != 200])
def test_every_answer_can_be_had_for_one_token(simulator, reason):
    simulator.set_tokens({TOKEN: Answer(reason)})
    sender = Sender(simulator)
    answer = sender.send()
    assert answer.status_code == FCM[reason]
    assert sender.send({"token": TOKEN + "2"}).status_code == 200
    page = reason in ("WRONG_PATH", "BAD_GATEWAY")
    assert answer.headers["content-type"].startswith("text/html" if page else "application/json")
    if not page:
        assert answer.json()["error"]["code"] == FCM[reason]
    assert [entry.reason for entry in simulator.refused] == [reason]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", PATH), ("POST", PATH + "/x"), ("POST", "/fcm/send"), ("POST", "/v1/projects//messages:send")],
)
def test_another_path_or_method_is_a_page(simulator, sender, method, path):
    answer = sender.http.request(method, path, headers={"authorization": "Bearer known"})
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=UTF-8")


def test_a_token_of_one_project_does_not_send_for_another(simulator, sender):
    bearer = sender.ask().json()["access_token"]
    answer = sender.send(bearer=bearer, path="/v1/projects/other/messages:send")
    assert answer.status_code == 403
    assert "cloudmessaging.messages.create" in answer.json()["error"]["message"]


def test_a_device_dies_after_some_messages(simulator, sender):
    simulator.set_script(Script(rules=(Rule(token=TOKEN, skip=2, answer=Answer("UNREGISTERED")),)))
    assert [sender.send().status_code for _ in range(4)] == [200, 200, 404, 404]


def test_retry_after_is_seconds_or_a_date_or_missing(simulator, sender):
    answers = [
        Answer("RATE_LIMIT_EXCEEDED"),
        Answer("RATE_LIMIT_EXCEEDED", retry_after=30),
        Answer("QUOTA_EXCEEDED", retry_after=30, retry_at_date=True),
    ]
    found = []
    for answer in answers:
        simulator.set_tokens({TOKEN: answer})
        found.append(sender.send().headers.get("retry-after"))
    assert found[:2] == [None, "30"]
    assert 0 < parsedate_to_datetime(found[2]).timestamp() - time.time() <= 31


def test_bodies_may_be_empty_cut_slow_or_another(simulator, sender):
    simulator.set_tokens({TOKEN: Answer("UNAVAILABLE", body="")})
    assert sender.send().content == b""
    simulator.set_tokens({TOKEN: Answer("UNAVAILABLE", cut=20)})
    assert len(sender.send().content) == 20
    simulator.set_tokens({TOKEN: Answer("INTERNAL", body_after=0.01)})
    assert sender.send().json()["error"]["status"] == "INTERNAL"
    simulator.set_tokens({TOKEN: Answer(status=418, body="<p>tea</p>", headers={"X-Pot": "1"})})
    answer = sender.send()
    assert (answer.status_code, answer.text, answer.headers["x-pot"]) == (418, "<p>tea</p>", "1")


@pytest.mark.parametrize(
    ("limits", "tokens", "statuses", "says"),
    [
        ({"project_minute": 2}, ["a", "b", "c"], [200, 200, 429], "RATE_LIMIT_EXCEEDED"),
        ({"device_minute": 1}, ["a", "b", "a"], [200, 200, 429], "QUOTA_EXCEEDED"),
        ({"device_hour": 1}, ["a", "b", "a"], [200, 200, 429], "QUOTA_EXCEEDED"),
    ],
)
def test_rates_are_limited(limits, tokens, statuses, says):
    with SimulatorThread(FcmSettings(bearers=("known",), **limits)) as simulator:
        sender = Sender(simulator)
        answers = [sender.send({"token": TOKEN + token}) for token in tokens]
    assert [answer.status_code for answer in answers] == statuses
    assert says in answers[-1].text


FAULTS = [
    faults.Settings(max_concurrent_streams=5),
    faults.GoAway(then="close"),
    faults.GoAway(last_stream_id="zero"),
    faults.GoAway(),
    faults.Close(),
    faults.Close(abort=True),
    faults.Reset(),
    faults.BadHeaders(),
    faults.Raw(hex="00" * 9),
    faults.ClosedWindow(seconds=0.01),
    faults.PauseReading(seconds=0.01),
    faults.Trickle(octets=100),
    faults.Ping(),
]


@pytest.mark.parametrize("fault", FAULTS, ids=[str(fault) for fault in FAULTS])
def test_a_fault_befalls_an_http1_connection_and_the_next_one_is_well(simulator, fault):
    simulator.set_script(Script(rules=(Rule(count=1, fault=fault),)))
    sender = Sender(simulator, http2=False)
    with contextlib.suppress(httpx.TransportError):
        sender.send()
    assert Sender(simulator, http2=False).send().status_code == 200
    assert simulator.counts["total"] == 2


@pytest.mark.parametrize("fault", [faults.Never(), faults.HalfOpen()], ids=str)
def test_an_http1_connection_can_be_silent(simulator, fault):
    simulator.set_script(Script(rules=(Rule(count=1, fault=fault),)))
    with pytest.raises(httpx.ReadTimeout):
        Sender(simulator, http2=False).http.post(
            PATH, content=BODY, headers={"authorization": "Bearer known"}, timeout=httpx.Timeout(10, read=0.1)
        )
    assert Sender(simulator, http2=False).send().status_code == 200


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /token HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", b"411"),
        (b"POST /token HTTP/1.1\r\ncontent-length: 9999999\r\n\r\n", b"413"),
        (b"POST /token HTTP/1.1\r\ncontent-length: x\r\n\r\n", b"400"),
        (b"hello\r\n\r\n", b"400"),
        (b"x" * 70_000, b"431"),
    ],
)
def test_a_request_of_http1_that_cannot_be_read_ends_the_connection(simulator, head, status):
    context = ssl.create_default_context(cadata=simulator.ca_pem)
    with (
        socket.create_connection((simulator.host, simulator.port)) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        secured.settimeout(10)
        secured.sendall(head)
        answer = b"".join(iter(lambda: secured.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 " + status)


def _peer_headers(token: str = "known") -> list[tuple[str, str]]:
    pseudo = [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", PATH)]
    return [*pseudo, ("authorization", f"Bearer {token}"), ("content-type", "application/json; charset=UTF-8")]


def _with(**changes: Any) -> SimulatorThread:
    return SimulatorThread(FcmSettings(bearers=("known",), **changes))


def test_more_than_a_hundred_streams_end_the_connection(run):
    async def main():
        with _with(script=Script(latency=5.0)) as simulator:
            async with await Peer.open(simulator) as peer:
                await peer.until(lambda: peer.h2.remote_settings.max_concurrent_streams == 100)
                peer.h2.remote_settings.update({3: 1000})
                peer.h2.remote_settings.acknowledge()
                for _ in range(101):
                    peer.form(_peer_headers(), BODY)
                peer.flush()
                await peer.until(lambda: peer.goaways)
                return peer.goaways[0]

    goaway = run(main())
    assert (goaway.error_code, goaway.additional_data) == (1, b"exceeded_max_concurrent_streams")


def test_pings_in_a_row_end_the_connection(run):
    async def main():
        with _with() as simulator:
            async with await Peer.open(simulator) as peer:
                assert (await peer.answer(peer.send(_peer_headers(), BODY))).status == 200
                for _ in range(3):
                    peer.h2.ping(b"12345678")
                peer.flush()
                await peer.until(lambda: peer.goaways)
                return peer.goaways[0]

    goaway = run(main())
    assert (goaway.error_code, goaway.additional_data) == (11, b"too_many_pings")


def test_an_idle_connection_is_ended(run):
    async def main():
        with _with(idle=0.05) as simulator:
            async with await Peer.open(simulator) as peer:
                await peer.until(lambda: peer.eof)
                return peer.goaways[0]

    goaway = run(main())
    assert (goaway.error_code, goaway.additional_data) == (0, b"session_timed_out")


def test_an_account_is_read_from_its_file(tmp_path):
    path = tmp_path / "account.json"
    path.write_text(
        json.dumps({"client_email": EMAIL, "private_key_id": KEY_ID, "private_key": PEM, "project_id": PROJECT})
    )
    assert Account.read(str(path)) == SETTINGS.accounts[0]
    assert "PRIVATE" not in Account.read(str(path)).pem
    path.write_text(json.dumps({"project_info": {}}))
    with pytest.raises(ValueError, match="is not the file of a service account: it has no 'client_email'"):
        Account.read(str(path))
