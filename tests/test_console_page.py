"""The console as an operator has it: its own process, a real browser, no network; and who may press its buttons."""

import asyncio
import contextlib
import http.client
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nicegui", reason="the extra `console` is not installed")

from realtime.config import ConsoleSettings
from realtime.console.guard import COOKIE, Guard, read_token
from realtime.errors import ConfigError
from realtime.playback.latch import Latch
from realtime.session.folder import SessionFolder
from tests.benchmarks.console import Station, console
from tests.browser import CHROMIUM, NO_CHROMIUM, chromium
from tests.processes import finish, until
from tests.scanner_room import N_VOLUMES, Room, Scanner, live
from tests.test_bus import BrokerProcess

TOKEN = "a-long-secret-word"


@pytest.fixture
def station(room: Room, broker: BrokerProcess) -> Iterator[Station]:
    room.broker_port = broker.port
    room.session.parent.mkdir(parents=True, exist_ok=True)
    with console(room) as station:
        yield station


def asked(station: Station, path: str, method: str = "GET", body: str = "", **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", int(station.url.rsplit(":", 1)[1].strip("/")), timeout=20)
    with contextlib.closing(connection):
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        with connection.getresponse() as answer:
            return answer.status, answer.read().decode()


@pytest.mark.skipif(not CHROMIUM, reason=NO_CHROMIUM)
def test_an_evening_at_the_console(room: Room, station: Station) -> None:
    with chromium() as browser, live(room) as process, Scanner(room, N_VOLUMES) as scanner:
        tab = browser.tab()
        tab.open(station.url)
        until(lambda: "ARMED" in tab.text(".head"), "the page says armed")
        scanner.scan(12)
        until(lambda: "12/25" in tab.text(".head"), "the page counts volumes")
        assert "clip" in tab.text(".evidence")
        assert tab.run("document.querySelectorAll('.slices image').length") == 3
        until(lambda: "Nothing to act on" in tab.text(".alarms") or "late" in tab.text(".alarms"), "nothing is wrong")
        tab.key("n")
        tab.send("Input.insertText", text="she is tired; p stop e")  # letters in a note are no commands
        tab.key("Enter")
        until(lambda: "note" in room.events(), "the note is recorded")
        tab.key("b")
        assert "abort" not in room.events()  # once is not twice
        process.send_signal(signal.SIGSTOP)
        try:
            tab.key("Escape")
            until(lambda: "obeyed" in tab.text("#said"), "STOP was obeyed, with the live program stopped", 5)
            until(lambda: "STOPPED" in tab.text("#stop"), "and is latched", 5)
        finally:
            process.send_signal(signal.SIGCONT)
        os.kill(station.process.pid, signal.SIGKILL)  # the session does not notice
        scanner.end()
        finish(process)
        failed = [event["params"] for event in tab.events if event["method"] == "Network.loadingFailed"]
        asked_for = [event["params"]["request"]["url"] for event in tab.events
                     if event["method"] == "Network.requestWillBeSent"]
    assert all(url.startswith((station.url, "data:")) for url in asked_for)  # nothing from anywhere else
    assert not [failure for failure in failed if not failure.get("canceled")] or process.returncode == 0
    assert Latch(SessionFolder(room.session).played).held
    assert room.documents("event")[0]["text"] == "she is tired; p stop e"
    assert room.steps() == room.undisturbed(N_VOLUMES)
    room.verify()


def test_buttons_are_the_pages_own(station: Station) -> None:
    assert asked(station, "/")[0] == 200
    assert asked(station, "/stop", "POST")[0] == 403  # a form of another page has no such header
    assert asked(station, "/stop", "POST", "{}", X_Innerear="console", Origin="http://evil.example")[0] == 403
    assert asked(station, "/", Host="evil.example")[0] == 403  # a name that was turned to this machine
    assert asked(station, "/stop", "POST", "{}", X_Innerear="console") == (
        200, '{"said":"Stopped: no session is there that could sound."}')
    for body in ("", "[]", '{"deed": 7}', '{"deed": "format the disk"}'):
        status, said = asked(station, "/deed", "POST", body, X_Innerear="console")
        assert status == 200
        assert "Not done" in said
    assert asked(station, "/deed", "POST", '{"deed": "quieter"}', X_Innerear="console")[1].count("arm the session") == 1


# the guard alone ----------------------------------------------------------------------------------


def through(token: str, path: str = "/", query: str = "", kind: str = "http", **headers: str) -> tuple[int, str]:
    """Status of a request through the guard, and the cookie that was set."""
    sent: list[Any] = []

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    wanted = {"host": "127.0.0.1:8088", **headers}
    scope = {"type": kind, "method": "GET", "path": path, "query_string": query.encode(),
             "headers": [(name.encode(), value.encode()) for name, value in wanted.items()]}
    asyncio.run(Guard(app, token)(scope, receive, send))
    if sent[0]["type"] == "websocket.close":
        return sent[0]["code"], ""
    return sent[0]["status"], dict(sent[0]["headers"]).get(b"set-cookie", b"").decode()


def test_a_token_is_shown_once_and_then_a_cookie_is_enough() -> None:
    assert through(TOKEN)[0] == 403
    assert through(TOKEN, query="token=wrong")[0] == 403
    status, cookie = through(TOKEN, query="token=a-long-secret-word", host="console.local:8088")
    assert status == 303
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert through(TOKEN, cookie=f"{COOKIE}={TOKEN}", host="any:1")[0] == 200
    assert through(TOKEN, path="/_nicegui_ws/socket.io", kind="websocket")[0] == 1008
    assert through(TOKEN, path="/x", query="token=a-long-secret-word")[0] == 403


@pytest.mark.parametrize("cookie", ["", "=", ";;", f"{COOKIE}=", f"{COOKIE}=\xff", "a" * 5000])
def test_no_cookie_breaks_the_guard(cookie: str) -> None:
    assert through(TOKEN, cookie=cookie)[0] == 403


def test_a_console_beyond_this_machine_needs_a_token(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"console.host is '0.0.0.0' without console.token"):
        ConsoleSettings(host="0.0.0.0")
    file = tmp_path / "token"
    with pytest.raises(ConfigError, match="cannot be read"):
        read_token(file)
    file.write_text("short\n")
    with pytest.raises(ConfigError, match="holds 5 characters, wanted 16 or more letters"):
        read_token(file)
    file.write_text("a long secret word; with more\n")
    with pytest.raises(ConfigError, match="wanted 16 or more letters"):
        read_token(file)
    file.write_text(f"{TOKEN}\n")
    assert read_token(file) == TOKEN
    assert read_token(None) == ""
