"""The page in the browser: NiceGUI around panels of markup, sent when they change, at most five times a second."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from nicegui import Client, ui

from realtime.console.guard import Guard
from realtime.errors import RealtimeError

PERIOD_S = 0.2
_COLUMNS = (("left", ("slices", "motion")), ("middle", ("evidence", "sound")), ("right", ("quality", "waterfall")))
_HATCH = ('<svg width="0" height="0" style="position:absolute"><defs><pattern id="hatch" width="6" height="6" '
          'patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="2" height="6" fill="#4d5a68"/>'
          "</pattern></defs></svg>")
_DIALOG = ('<div id="said" role="status"></div><dialog id="words"><form method="dialog"><label>Note for the record '
           '(Enter keeps it, Esc is STOP)</label><input maxlength="500" autocomplete="off"></form></dialog>')
_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Screen:
    """What the page shows: markup by panel, and which of them ("before" a run, "visit" between runs, "run")."""

    panels: dict[str, str]
    layout: str


@dataclass(frozen=True)
class Server:
    """Where the page listens.

    Attributes
    ----------
    host, port
        Address.
    token : str
        What a browser must show; "" on this machine alone.
    """

    host: str
    port: int
    token: str = ""


@dataclass(eq=False)
class Page:
    """The page's server.

    Attributes
    ----------
    server : Server
        Where it listens.
    screen : callable
        What to show now.
    stop, do : async callable
        STOP, and every other deed by its name and text; each returns a sentence.
    overlay : callable
        The picture that waits to be judged, as PNG; empty without.
    """

    server: Server
    screen: Callable[[], Screen]
    stop: Callable[[], Any]
    do: Callable[[str, str], Any]
    overlay: Callable[[], bytes]
    _shown: dict[str, "_Browser"] = field(default_factory=dict)
    _web: uvicorn.Server | None = None

    async def serve(self) -> None:
        """Until the process is told to end."""
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        app.post("/stop")(self._stop)
        app.post("/deed")(self._do)
        app.get("/overlay")(lambda: Response(self.overlay(), media_type="image/png"))
        ui.page("/", title="Innerear console", dark=True)(self._build)
        ui.run_with(app, mount_path="/", binding_refresh_interval=None, tailwind=False, show_welcome_message=False)
        guarded = Guard(app, self.server.token)
        config = uvicorn.Config(guarded, self.server.host, self.server.port,
                                log_level="warning", ws="websockets-sansio", timeout_graceful_shutdown=1, lifespan="on")
        self._web = uvicorn.Server(config)
        drawing = asyncio.create_task(self._draw(), name="console.draw")
        try:
            await self._web.serve()
        finally:
            drawing.cancel()
            await asyncio.gather(drawing, return_exceptions=True)

    async def _stop(self) -> dict[str, str]:
        return {"said": await self.stop()}

    async def _do(self, request: Request) -> dict[str, str]:
        try:
            wanted = await request.json()
            return {"said": await self.do(str(wanted["deed"]), str(wanted.get("text", "")))}
        except RealtimeError as exc:
            return {"said": f"Not done: {exc}"}
        except (ValueError, KeyError, TypeError, AttributeError):
            return {"said": "Not done: this was not a deed of the console."}

    def _build(self, client: Client) -> None:
        """One browser's page, filled with what is known at this moment: the first paint is already true."""
        ui.add_css((_HERE / "page.css").read_text())
        ui.add_body_html(f"{_HATCH}{_DIALOG}<script>{(_HERE / 'page.js').read_text()}</script>")
        screen, elements = self.screen(), {}

        def panel(name: str) -> None:
            elements[name] = ui.html(screen.panels[name], sanitize=False).classes(name)

        with ui.element("div").props('id="console"').classes(screen.layout) as root:
            for name in ("head", "alarms"):
                panel(name)
            for column, names in _COLUMNS:
                with ui.element("div").classes(f"column {column}"):
                    for name in names:
                        panel(name)
            for name in ("preflight", "visit", "timeline", "keys"):
                panel(name)
        self._shown[client.id] = _Browser(root, elements, dict(screen.panels), screen.layout)
        client.on_delete(lambda: self._shown.pop(client.id, None))

    async def _draw(self) -> None:
        while True:
            await asyncio.sleep(PERIOD_S)
            if self._shown:
                screen = self.screen()
                for browser in list(self._shown.values()):
                    with contextlib.suppress(RuntimeError):  # it closed its page meanwhile
                        browser.show(screen)


@dataclass(eq=False)
class _Browser:
    """One open page, and what it shows."""

    root: ui.element
    elements: dict[str, ui.html]
    shown: dict[str, str]
    layout: str

    def show(self, screen: Screen) -> None:
        """Send what has changed."""
        for name, markup in screen.panels.items():
            if self.shown[name] != markup:
                self.shown[name] = markup
                self.elements[name].set_content(markup)
        if screen.layout != self.layout:
            self.root.classes(remove=self.layout, add=screen.layout)
            self.layout = screen.layout
