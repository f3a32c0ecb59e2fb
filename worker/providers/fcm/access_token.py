"""Access tokens of a service account: an assertion (JWT, RS256) is exchanged for one that every request shows for an hour.

Source: RFC 7523; Google, "Using OAuth 2.0 for server to server applications". No key file chooses the endpoint.
"""

import hashlib
import json
import logging
import ssl
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple

import httpx
import jwt

from worker.providers.base import SettingsError, TokenKey
from worker.providers.fcm.outcome import ACCESS_TOKEN
from worker.providers.fcm.service_account import TOKEN_URL, ServiceAccount, private_key
from worker.providers.fcm.settings import FcmSettings
from worker.providers.fleet_tokens import FleetToken

SCOPE: Final = "https://www.googleapis.com/auth/firebase.messaging"
GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
#: Seconds for which an assertion and its token are valid; Google refuses a longer time.
LIFE: Final = 3600
#: Seconds that `iat` lies in the past, for servers whose clock is behind ours.
ISSUED_BACK: Final = 10
#: A token is renewed at this age, or with this much left; it is used until this much is left. In seconds.
DUE_AGE: Final = 50 * 60
DUE_LEFT: Final = 5 * 60
LEAST_LEFT: Final = 30
#: Seconds that the whole exchange may take, and octets of its answer.
DEADLINE: Final = 10.0
LARGEST: Final = 64 * 1024
LONGEST_TOKEN: Final = 8192
#: Seconds by which the endpoint's clock may differ from ours before ours is called wrong.
CLOCK_DIFFERS: Final = 60.0

#: Errors of the endpoint that may end by themselves, whatever its status.
_PASSING: Final = frozenset(("internal_failure", "server_error", "temporarily_unavailable"))
_PASSING_STATUSES: Final = frozenset((408, 429))

log: Final = logging.getLogger(__name__)


class AccessTokenError(Exception):
    """There is no access token."""


class AccessTokenAwayError(AccessTokenError):
    """The endpoint is away or busy, which may end by itself. `cause` is a short fixed phrase."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = ACCESS_TOKEN + cause


class AccessTokenRefusedError(AccessTokenError, SettingsError):
    """The endpoint refuses the service account; the text says what to do."""

    reason = "access_token_refused"


class ClockError(AccessTokenRefusedError):
    """The endpoint refuses the assertion's times."""

    reason = "clock"


class TokenAnswer(NamedTuple):
    """What the endpoint answered. `repr` may hold a token: never log it."""

    status: int
    #: Its `date` header.
    date: str | None
    body: bytes


#: Posts a form and returns the answer. Raises `AccessTokenAwayError` where there is none.
Post = Callable[[str, dict[str, str]], TokenAnswer]


def assertion(account: ServiceAccount, now: float) -> str:
    """What the account signs to ask for a token at `now` (UNIX seconds). Raises `SettingsError` for a key that cannot sign."""
    issued = int(now) - ISSUED_BACK
    claims = {"iss": account.email, "scope": SCOPE, "aud": TOKEN_URL, "iat": issued, "exp": issued + LIFE}
    return jwt.encode(claims, private_key(account.key), algorithm="RS256", headers={"kid": account.key_id})


def shared_name(settings: FcmSettings) -> TokenKey:
    """The name under which the fleet shares the token of an account. Another key or endpoint gives another name."""
    account = settings.account
    secret = f"{settings.token_url} {account.email} {account.key.strip()}"
    return account.project, account.key_id, hashlib.sha256(secret.encode()).hexdigest()[:16]


class Maker(NamedTuple):
    """Makes the access tokens of a provider's account."""

    settings: FcmSettings
    post: Post

    @property
    def key(self) -> TokenKey:
        return shared_name(self.settings)

    def make(self, now: float) -> str:
        """Raises `AccessTokenAwayError` and `AccessTokenRefusedError`."""
        form = {"grant_type": GRANT, "assertion": assertion(self.settings.account, now)}
        answer = self.post(self.settings.token_url, form)
        return read_token(answer, self.settings.account, now)

    def read(self, text: str) -> FleetToken:
        issued, ends, bearer = text.split(" ", 2)
        issued_at, ends_at = float(issued), float(ends)
        due = min(issued_at + DUE_AGE, ends_at - DUE_LEFT)
        return FleetToken(text, bearer, issued_at, due, ends_at - LEAST_LEFT)


def read_token(answer: TokenAnswer, account: ServiceAccount, now: float) -> str:
    """`<issued> <ends> <token>`, times in UNIX seconds. Raises an `AccessTokenError` that says why there is none."""
    document = _document(answer.body)
    if answer.status == 200:
        token, seconds = document.get("access_token"), _seconds(document.get("expires_in"))
        if not isinstance(token, str) or not 0 < len(token) <= LONGEST_TOKEN or not _is_visible(token) or not seconds:
            raise AccessTokenAwayError("answer without a token")
        return f"{int(now)} {int(now) + min(seconds, LIFE)} {token}"
    raise _fault(answer, document, account, now)


def _fault(answer: TokenAnswer, document: dict[str, Any], account: ServiceAccount, now: float) -> AccessTokenError:
    error, described = document.get("error"), document.get("error_description")
    text = described if isinstance(described, str) else ""
    if answer.status in _PASSING_STATUSES or answer.status >= 500 or error in _PASSING:
        return AccessTokenAwayError(f"status_{answer.status}")
    if error == "invalid_grant":
        return _invalid_grant(answer, text, account, now)
    if error == "invalid_scope":
        return AccessTokenRefusedError("Google refuses the scope, which is a fault of Carillon's: please report it")
    if answer.status == 401:
        return AccessTokenRefusedError(
            f"Google does not let {account.email} have access tokens: enable the account in the Google Cloud console,"
            " IAM, Service accounts"
        )
    return AccessTokenRefusedError(
        f"the token endpoint answered {answer.status}, which Google does not document: is a proxy between?"
    )


def _invalid_grant(answer: TokenAnswer, text: str, account: ServiceAccount, now: float) -> AccessTokenRefusedError:
    ahead = _ahead(answer.date, now)
    if "reasonable timeframe" in text or "short-lived" in text or (ahead is not None and abs(ahead) > CLOCK_DIFFERS):
        return ClockError(f"this machine's clock {_differs(ahead)}: set it (NTP), on every machine that runs a worker")
    if "account not found" in text:
        return AccessTokenRefusedError(
            f"Google knows no service account {account.email}: it was deleted, so store the key of another one"
        )
    return AccessTokenRefusedError(
        f"Google does not take the signature of key {account.key_id}: it was deleted or disabled, or is not of"
        f" {account.email}; get another key file (Firebase console, Project settings, Service accounts)"
    )


def _ahead(date: str | None, now: float) -> float | None:
    """Seconds by which our clock is ahead of the endpoint's; None if the endpoint does not give its time."""
    try:
        return None if date is None else now - parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None


def _differs(ahead: float | None) -> str:
    if ahead is None or abs(ahead) <= CLOCK_DIFFERS:
        return "differs from Google's"
    return f"is {abs(ahead):,.0f} s {'ahead of' if ahead > 0 else 'behind'} Google's"


def _seconds(value: object) -> int:
    """A number; the endpoint has also sent it as a string."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 10:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _is_visible(token: str) -> bool:
    return token.isascii() and token.isprintable() and " " not in token


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


class HttpPost:
    """Posts over HTTP/1.1: some connections an hour. Follows no redirect. `ca`: PEM, for a simulator."""

    def __init__(self, *, proxy: str | None = None, ca: str | None = None) -> None:
        context = ssl.create_default_context(cadata=ca)
        self._http = httpx.Client(verify=context, proxy=proxy, timeout=DEADLINE, trust_env=False)

    def __call__(self, url: str, form: dict[str, str]) -> TokenAnswer:
        ends = time.monotonic() + DEADLINE
        try:
            with self._http.stream("POST", url, data=form, headers={"accept-encoding": "identity"}) as response:
                return TokenAnswer(response.status_code, response.headers.get("date"), _read(response, ends))
        except httpx.TimeoutException:
            raise AccessTokenAwayError("deadline") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as fault:
            # The text of the fault may quote the request.
            raise AccessTokenAwayError(f"no answer: {type(fault).__name__}") from None

    def close(self) -> None:
        self._http.close()


def _read(response: httpx.Response, ends: float) -> bytes:
    """The body. Each part has its own timeout, so this bounds the whole."""
    body = b""
    for part in response.iter_raw():
        body += part
        if len(body) > LARGEST:
            raise AccessTokenAwayError("answer too large")
        if time.monotonic() > ends:
            raise AccessTokenAwayError("deadline")
    return body
