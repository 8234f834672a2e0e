"""A headless Chromium at the test's command, by its DevTools protocol: a real browser without a driver to download."""

import base64
import contextlib
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.processes import until

_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((path for name in _NAMES if (path := shutil.which(name))), "")
NO_CHROMIUM = "no Chromium on this machine (Debian: apt-get install chromium)"
_FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--mute-audio",
          "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
          "--disable-dev-shm-usage", "--disable-background-timer-throttling", "--disable-renderer-backgrounding",
          "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--remote-debugging-port=0",
          "--remote-allow-origins=*")


class Tab:
    """One open page."""

    def __init__(self, url: str) -> None:
        self._socket: ClientConnection = connect(url, max_size=None, open_timeout=20, ping_interval=None)
        self._number = 0
        self.events: list[dict[str, Any]] = []
        for domain in ("Page", "Runtime", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Do something and return what came of it."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv(60))
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def open(self, url: str, width: int = 1280, height: int = 800) -> float:
        """Go there; returns the seconds until the console's head was painted."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        begun_s = time.monotonic()
        self.send("Page.navigate", url=url)
        until(lambda: bool(self.run("!!(document.querySelector('.head b') && document.querySelector('#stop'))")),
              "the page is there", 30)
        self.send("Runtime.evaluate", expression="new Promise(done => requestAnimationFrame(() => done(1)))",
                  awaitPromise=True)
        return time.monotonic() - begun_s

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        return self.send("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def text(self, selector: str) -> str:
        """What a part of the page says."""
        return str(self.run(f"(document.querySelector({json.dumps(selector)}) || {{}}).innerText || ''"))

    def key(self, key: str) -> None:
        """Press and let go."""
        code = {"Escape": 27, "Enter": 13}.get(key, ord(key.upper()[0]))
        text = "\r" if key == "Enter" else key if len(key) == 1 else ""
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code,
                      **({"text": text} if kind == "keyDown" and text else {}))

    def click(self, selector: str) -> None:
        """Press the mouse in the middle of it."""
        x, y = self.run(f"(() => {{ const r = document.querySelector({json.dumps(selector)}).getBoundingClientRect(); "
                        "return [r.x + r.width / 2, r.y + r.height / 2]; })()")
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def picture(self, path: Path) -> None:
        """What is on the screen, as PNG."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))

    def close(self) -> None:
        """Let go of it."""
        self._socket.close()


class Browser:
    """A running Chromium."""

    def __init__(self, port: int, process: subprocess.Popen[bytes]) -> None:
        self._port, self.process = port, process

    def tab(self) -> Tab:
        """A new page."""
        request = urllib.request.Request(f"http://127.0.0.1:{self._port}/json/new?about:blank", method="PUT")
        with urllib.request.urlopen(request, timeout=20) as answer:
            return Tab(json.load(answer)["webSocketDebuggerUrl"])


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser with an empty profile that does not outlive the block."""
    assert CHROMIUM, NO_CHROMIUM
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen([CHROMIUM, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        place = Path(profile) / "DevToolsActivePort"
        try:
            until(lambda: place.exists() and bool(place.read_text().strip()), "Chromium listens", 60)
            yield Browser(int(place.read_text().splitlines()[0]), process)
        finally:
            process.kill()
            process.wait()
