"""OAuth 2.0 (RFC 6749): codes, access tokens, refresh tokens. How a platform formats them is up to the platform."""

from __future__ import annotations

import binascii
import itertools
import os

from .messages import Answer, Request, json_answer, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .clock import Clock

CODE_SECONDS = 60
FORM = "application/x-www-form-urlencoded"


class Denial(Exception):
    """A call that OAuth refuses, with an error of RFC 6749 section 5.2."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error, self.description, self.status = error, description, status

    def answer(self) -> Answer:
        return json_answer({"error": self.error, "error_description": self.description}, self.status)


class Access:
    """An access token. `number` counts the pairs, so that a log can name one without showing it."""

    __slots__ = ("number", "scopes", "token", "until")

    def __init__(self, number: int, token: str, until: float, scopes: list[str]) -> None:
        self.number, self.token, self.until, self.scopes = number, token, until, scopes


class Refresh:
    """A refresh token, and the access token that came with it."""

    __slots__ = ("access", "is_used", "scopes", "token", "until")

    def __init__(self, token: str, until: float, scopes: list[str], access: str) -> None:
        self.token, self.until, self.scopes, self.access, self.is_used = token, until, scopes, access, False


class Pair:
    """What an answer states about new tokens. `at` is when they were issued; all times are seconds since 1970."""

    __slots__ = ("access", "at", "refresh")

    def __init__(self, at: float, access: Access) -> None:
        self.at, self.access = at, access
        self.refresh: Refresh | None = None


class Tokens:
    """The tokens of an account. With `rotates` a refresh token is for one use, and each refresh returns a new one."""

    def __init__(
        self, clock: Clock, access_seconds: float, refresh_seconds: float, counts: dict[str, int], rotates: bool = True
    ) -> None:
        self.clock, self.counts, self.rotates = clock, counts, rotates
        self.access_seconds, self.refresh_seconds = access_seconds, refresh_seconds
        # Whether the app was removed: no grant works any more.
        self.is_revoked = False
        self.codes: dict[str, tuple[float, str, list[str]]] = {}
        self.access: dict[str, Access] = {}
        self.refresh: dict[str, Refresh] = {}
        self.newest: Refresh | None = None
        self.numbers = itertools.count(1)

    def issue(self, scopes: Iterable[str], access: str | None = None, refresh: str | None = None) -> Pair:
        """A new pair. Tests may name its tokens, so that they can look for them where they must not be."""
        pair = self.issue_access(scopes, access)
        token = refresh or f"rt{pair.access.number}-{os.urandom(16).hex()}"
        self.newest = Refresh(token, pair.at + self.refresh_seconds, pair.access.scopes, pair.access.token)
        pair.refresh = self.refresh[token] = self.newest
        return pair

    def issue_access(self, scopes: Iterable[str], token: str | None = None) -> Pair:
        """Only an access token: client credentials, signed assertions, refresh tokens that are kept."""
        at, number = self.clock.now(), next(self.numbers)
        token = token or f"at{number}-{os.urandom(16).hex()}"
        self.access[token] = Access(number, token, at + self.access_seconds, list(scopes))
        return Pair(at, self.access[token])

    def authorize(self, query: dict[str, str], client_id: str, known_scopes: list[str]) -> Answer:
        """The redirect with a code, as if the owner had agreed at once. Scopes are separated by commas or blanks."""
        if query.get("client_id") != client_id:
            raise Denial("invalid_client", "Invalid client_id")
        uri = query.get("redirect_uri")
        if query.get("response_type") != "code" or not uri:
            raise Denial("invalid_request", "response_type=code and redirect_uri are required")
        wanted = [scope for scope in query.get("scope", "").replace(" ", ",").split(",") if scope]
        if unknown := [scope for scope in wanted if scope not in known_scopes]:
            raise Denial("invalid_scope", f"Invalid scope: {unknown[0]}")
        code = os.urandom(16).hex()
        self.codes[code] = self.clock.now() + CODE_SECONDS, uri, wanted or list(known_scopes)
        mark = "&" if "?" in uri else "?"
        location = f"{uri}{mark}code={code}&state={quote(query.get('state', ''))}"
        return Answer(302, headers=[("Location", location)])

    def grant(self, form: dict[str, str]) -> Pair:
        """The answer to a token request with a code or a refresh token. Other grants are the platform's."""
        kind = form.get("grant_type")
        if kind == "authorization_code":
            until, uri, scopes = self.codes.pop(form.get("code", ""), (0.0, "", []))
            if self.is_revoked or until < self.clock.now() or uri != form.get("redirect_uri"):
                raise Denial("invalid_grant", "Invalid code")
            return self.issue(scopes)
        if kind == "refresh_token":
            old = self.refresh.get(form.get("refresh_token", ""))
            if not old or not self.is_live(old):
                self.counts["refused_refreshes"] += 1
                raise Denial("invalid_grant", "Invalid refresh_token")
            self.counts["refreshes"] += 1
            if not self.rotates:
                return self.issue_access(old.scopes)
            old.is_used = True
            return self.issue(old.scopes)
        raise Denial("unsupported_grant_type", "Invalid grant_type")

    def is_live(self, refresh: Refresh | None) -> bool:
        """Whether a refresh token would be accepted."""
        if not refresh or refresh.is_used or self.is_revoked:
            return False
        return refresh.until >= self.clock.now()

    def revoke(self, token: str) -> None:
        """Ends a pair, by either of its tokens (RFC 7009)."""
        if token in self.refresh:
            self.refresh[token].is_used = True
            self.access.pop(self.refresh[token].access, None)
            return
        self.access.pop(token, None)
        for refresh in self.refresh.values():
            if refresh.access == token:
                refresh.is_used = True

    def expire(self) -> None:
        """Ends all access tokens; only a refresh helps."""
        for access in self.access.values():
            access.until = 0

    def of(self, request: Request) -> Access | None:
        """The access token of a request, expired or not."""
        scheme, token = request.authorization()
        return self.access.get(token) if scheme == "bearer" else None

    def is_over(self, access: Access) -> bool:
        return access.until <= self.clock.now()


def check_client(request: Request, client_id: str, client_secret: str) -> None:
    """Denies requests that do not authenticate as the client by HTTP Basic, or are not a form."""
    scheme, value = request.authorization()
    try:
        given = binascii.a2b_base64(value, strict_mode=True)
    except ValueError:
        given = b""
    if scheme != "basic" or given != f"{client_id}:{client_secret}".encode():
        raise Denial("invalid_client", "Invalid client_id or client_secret", 401)
    if request.content_type() != FORM:
        raise Denial("invalid_request", f"Content-Type must be {FORM}")
