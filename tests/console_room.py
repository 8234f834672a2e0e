"""A console without a browser: it follows a session over a real broker, and the test reads what it would show."""

import asyncio
import threading
import time
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

from realtime.bus import BusSettings
from realtime.bus_remote import Remote
from realtime.config import ConsoleSettings
from realtime.console.deeds import Deeds
from realtime.console.post import Post
from realtime.console.story import Story, hear
from realtime.console.view import View, look
from realtime.session.folder import SessionFolder, topic_name
from tests.processes import until
from tests.scanner_room import Room

WITHIN_S = 2.0
LOOK_S = 0.2


class Watcher:
    """Keeps the story in a thread of its own, as the console's process does."""

    def __init__(self, room: Room) -> None:
        self.story = Story()
        self.heard: list[tuple[float, str, dict[str, Any]]] = []
        settings = BusSettings(topic_name(room.session), port=room.broker_port)
        self._remote = Remote(settings, self.hear)
        home = SessionFolder(room.session)
        post = Post(settings, False, ConsoleSettings(), home, lambda: home, (), ())
        self.deeds = Deeds(post, self._remote, lambda: self.story)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        until(lambda: self.story.connected is True, "the console hears the broker", 20)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(10)

    def hear(self, topic: str, payload: dict[str, Any]) -> None:
        now_s = time.monotonic()
        self.heard.append((now_s, topic, payload))
        self.story = hear(self.story, topic, payload, now_s)

    def _run(self) -> None:
        async def both() -> None:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._remote.follow())
                tasks.create_task(self._look_around())

        async def until_cancelled() -> None:
            try:
                await both()
            except asyncio.CancelledError:
                return

        self._task = self._loop.create_task(until_cancelled())
        self._loop.run_until_complete(self._task)
        self._loop.close()

    async def _look_around(self) -> None:
        while True:
            self.story = hear(self.story, "here", asdict(self.deeds.here()), time.monotonic())
            await asyncio.sleep(LOOK_S)

    def view(self) -> View:
        """What the page would show now."""
        return look(self.story, time.monotonic())

    def alarms(self) -> str:
        """All its alarms, with their remedies."""
        return "\n".join(f"{alarm.severity}: {alarm.text} {alarm.remedy}" for alarm in self.view().alarms)

    def says(self, words: str, within_s: float = WITHIN_S) -> None:
        """Within two seconds an alarm has these words."""
        deadline_s = time.monotonic() + within_s
        while words not in self.alarms():
            assert time.monotonic() < deadline_s, f"after {within_s:g} s no alarm says {words!r}: {self.alarms()}"
            time.sleep(0.02)

    def is_in(self, word: str, within_s: float = WITHIN_S) -> None:
        """Within two seconds the headline is this word."""
        until(lambda: self.view().headline.word == word, f"the headline is {word}", within_s)

    def command(self, deed: str, text: str = "") -> str:
        """Press a button."""
        return asyncio.run_coroutine_threadsafe(self.deeds.do(deed, text), self._loop).result(10)

    def stop(self) -> str:
        """Press STOP."""
        return asyncio.run_coroutine_threadsafe(self.deeds.stop(), self._loop).result(10)
