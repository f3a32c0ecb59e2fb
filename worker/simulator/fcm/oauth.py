"""Google's token endpoint: an assertion (RFC 7523) signed with a service account's key against an access token of an hour."""

import hashlib
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs

import jwt

from worker.simulator.fcm.envelopes import pretty
from worker.simulator.fcm.settings import Account, public_key
from worker.simulator.player import Player

PATH: Final = "/token"
GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SCOPES: Final = frozenset(
    {"https://www.googleapis.com/auth/firebase.messaging", "https://www.googleapis.com/auth/cloud-platform"}
)
#: Seconds that an assertion lives at most, and that a clock may be ahead.
LIFE: Final = 3600
LEEWAY: Final = 60
#: Access tokens that are known at once; the oldest are forgotten.
MOST_TOKENS: Final = 10_000


AUDIENCE: Final = "https://oauth2.googleapis.com/token"
_SIGNATURE_ALONE: Final[Any] = {
    "verify_aud": False,
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
    "verify_iss": False,
}


class Exchange(NamedTuple):
    """A request for an access token: whose, and the only project it will be for."""

    email: str
    project: str | None


class AccessToken(NamedTuple):
    """`expires_at` in seconds since the epoch; `project` is the only one that it may send for, None: any."""

    expires_at: float
    project: str | None


class TokenEndpoint:
    """Makes access tokens and knows them again. `now` is in seconds since the epoch."""

    def __init__(self, accounts: tuple[Account, ...], bearers: tuple[str, ...], life: int, *, as_text: bool) -> None:
        #: How it answers, and how often it was asked.
        self.player: Player
        self.asked = 0
        self._as_text = as_text
        self._accounts = {account.client_email: account for account in accounts}
        self._keys = {account.client_email: public_key(account.pem) for account in accounts}
        self._life = life
        self._made = 0
        self._tokens = {bearer: AccessToken(float("inf"), None) for bearer in bearers}

    def known(self, bearer: str) -> AccessToken | None:
        """An access token, also one that has expired."""
        return self._tokens.get(bearer)

    def grant(self, project: str | None, now: float) -> bytes:
        """The answer with a new access token."""
        self._made += 1
        seed = hashlib.sha512(f"{now} {self._made}".encode()).hexdigest()
        token = f"ya29.c.{seed}{seed}"[:256]
        self._tokens[token] = AccessToken(now + self._life, project)
        if len(self._tokens) > MOST_TOKENS:
            del self._tokens[next(iter(self._tokens))]
        life = self._life - 1
        return pretty(
            {"access_token": token, "expires_in": str(life) if self._as_text else life, "token_type": "Bearer"}
        )

    def judge(self, body: bytes, own: str, now: float) -> tuple[Exchange, str | None]:
        """The request, and the reason of its refusal. `own` is the address that it came to."""
        form = {name: values[-1] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
        if form.get("grant_type") != GRANT:
            return Exchange("", None), "unsupported_grant_type"
        try:
            header = jwt.get_unverified_header(form["assertion"])
            claims: dict[str, Any] = jwt.decode(form["assertion"], options={"verify_signature": False})
        except (KeyError, jwt.PyJWTError):
            return Exchange("", None), "invalid_request"
        email = str(claims.get("iss", ""))
        account = self._accounts.get(email)
        reason = self._fault(account, form["assertion"], header, claims, now)
        if reason is None and claims.get("aud") not in (AUDIENCE, own):
            reason = "invalid_scope"
        return Exchange(email, None if account is None else account.project), reason

    def _fault(
        self, account: Account | None, assertion: str, header: dict[str, Any], claims: dict[str, Any], now: float
    ) -> str | None:
        if not claims.get("iss") or (self._accounts and account is None):
            return "invalid_grant_account"
        if header.get("alg") != "RS256":
            return "invalid_grant_signature"
        if account is not None:
            try:
                jwt.decode(assertion, self._keys[account.client_email], ["RS256"], options=_SIGNATURE_ALONE)
            except jwt.PyJWTError:
                return "invalid_grant_signature"
            if header.get("kid") not in (None, account.key_id):
                return "invalid_grant_signature"
        issued, expires = claims.get("iat"), claims.get("exp")
        if not isinstance(issued, int) or not isinstance(expires, int):
            return "invalid_grant_time"
        if issued > now + LEEWAY or expires <= now or expires - issued > LIFE or issued < now - LIFE:
            return "invalid_grant_time"
        return None if SCOPES & set(str(claims.get("scope", "")).split()) else "invalid_scope"
