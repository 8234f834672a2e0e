"""Who may see the console and press its buttons: this machine, or who knows the token; only from its own page."""

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from realtime.errors import ConfigError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE = "innerear_token"
HEADER = b"x-innerear"
_LOCAL = ("127.0.0.1", "localhost", "::1")


def read_token(path: Path | None) -> str:
    """The first line of the token's file; "" without one.

    Raises
    ------
    ConfigError
        The file cannot be read, or its word is short.
    """
    if path is None:
        return ""
    try:
        token = (path.read_text(encoding="ascii").splitlines() or [""])[0].strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"console.token {path} cannot be read ({exc}); write a long secret word into it") from exc
    if len(token) < 16 or not all(char.isalnum() or char in "-_." for char in token):
        raise ConfigError(f"console.token {path} holds {len(token)} characters, wanted 16 or more letters, digits, "
                          "'-', '_' or '.'; make one with: python3 -c 'import secrets; print(secrets.token_urlsafe())'")
    return token


class Guard:
    """ASGI middleware: refuses strangers before any of the page's code runs.

    Parameters
    ----------
    app : ASGI application
        What is guarded.
    token : str
        What a browser must show, once as ``/?token=…``, then by cookie; "" lets this machine in without.
    """

    def __init__(self, app: Application, token: str) -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or refuse."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        problem = self._problem(scope, headers)
        if not problem and self._token and self._asks(scope):
            await _answer(send, 303, "", [(b"location", b"/"), (b"set-cookie", (
                f"{COOKIE}={self._token}; HttpOnly; SameSite=Strict; Path=/").encode())])
        elif not problem:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            await _answer(send, 403, problem, [])

    def _problem(self, scope: Scope, headers: dict[bytes, str]) -> str:
        host = headers.get(b"host", "")
        origin = headers.get(b"origin", "")
        if origin and urlsplit(origin).netloc != host:
            return "The console is asked from another page: open it by its own address."
        if not self._token and urlsplit(f"//{host}").hostname not in _LOCAL:
            return "The console answers to 127.0.0.1 only: open it on its own machine, or give it a token."
        if scope.get("method") == "POST" and scope["path"] in ("/stop", "/deed") and HEADER not in headers:
            return "This is for the console's own page; to stop a session from a program: innerear stop SESSION"
        if self._token and not (self._asks(scope) or hmac.compare_digest(_cookie(headers), self._token)):
            return "The console wants its token: open http://HOST:PORT/?token=…, with the word in console.token."
        return ""

    def _asks(self, scope: Scope) -> bool:
        """Whether this is the page's address with the right token in it."""
        shown = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])[0]
        return scope["path"] == "/" and hmac.compare_digest(shown.encode(), self._token.encode())


def _cookie(headers: dict[bytes, str]) -> str:
    jar: SimpleCookie = SimpleCookie()
    try:
        jar.load(headers.get(b"cookie", ""))
    except CookieError:
        return ""
    value = jar[COOKIE].value if COOKIE in jar else ""
    return value if value.isascii() else ""


async def _answer(send: Send, status: int, text: str, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": status,
                "headers": [(b"content-type", b"text/plain; charset=utf-8"), *headers]})
    await send({"type": "http.response.body", "body": text.encode()})
