"""The console's process: hears the bus, keeps the story, shows it, and carries the operator's orders out."""

import asyncio
import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from realtime.bus_remote import Remote
from realtime.console import panels, visit_panel
from realtime.console.deeds import Deeds
from realtime.console.findings import LINKS, Finding, nothing_checked
from realtime.console.guard import read_token
from realtime.console.post import Post
from realtime.console.story import Story, hear
from realtime.console.view import ChanceBand, look

LOOK_AROUND_S = 0.5


@dataclass
class Station:
    """One console.

    Attributes
    ----------
    post : Post
        The session or visit that it shows.
    """

    post: Post
    story: Story = field(default_factory=Story)
    findings: tuple[Finding, ...] = field(default_factory=nothing_checked)
    chance: ChanceBand | None = None
    _checking: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self.token = read_token(self.post.console.token)
        self.remote = Remote(self.post.bus, self.hear)
        self.deeds = Deeds(self.post, self.remote, lambda: self.story)

    def hear(self, topic: str, payload: dict[str, Any]) -> None:
        """Take one message in."""
        self.story = hear(self.story, topic, payload, time.monotonic())

    async def run(self) -> None:
        """Serve the page until the process is told to end."""
        from realtime.console.page import Page, Server  # noqa: PLC0415 - NiceGUI, in this process alone

        console = self.post.console
        page = Page(Server(console.host, console.port, self.token), self.screen, self.stop, self.do, self.deeds.overlay)
        self.look_around()
        tasks = [asyncio.create_task(work, name=f"console.{name}") for name, work in
                 (("bus", self.remote.follow()), ("here", self._look_around()), ("chance", self._learn_chance()))]
        try:
            await page.serve()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def screen(self) -> Any:
        """What the page shows now."""
        from realtime.console.page import Screen  # noqa: PLC0415

        view = look(self.story, time.monotonic())
        running = self._checking is not None and not self._checking.done()
        markup = {
            "head": panels.head(view), "alarms": panels.alarm_list(view.alarms), "slices": panels.slices(view),
            "motion": panels.motion(view), "evidence": panels.evidence(view, self.chance), "sound": panels.sound(view),
            "quality": panels.quality(view), "waterfall": panels.waterfall(view), "timeline": panels.timeline(view),
            "keys": panels.controls(view), "visit": visit_panel.visit(view),
            "preflight": panels.preflight(view, self.findings, running)}
        return Screen(markup, "before" if running else view.layout)

    async def stop(self) -> str:
        """STOP."""
        done = await self.deeds.stop()
        self.look_around()
        return done

    async def do(self, deed: str, text: str) -> str:
        """Any other deed."""
        if deed == "acknowledge":
            self.hear("acknowledged", {})
            return "Put aside; what is still wrong stays."
        if deed == "preflight":
            if self._checking is None or self._checking.done():
                self._checking = asyncio.create_task(self._check(), name="console.check")
            return "Checking, from the scanner to the sound."
        done = await self.deeds.do(deed, text)
        self.look_around()
        return done

    def look_around(self) -> None:
        """Notice what this machine knows without the bus."""
        self.hear("here", asdict(self.deeds.here()))

    async def _look_around(self) -> None:
        while True:
            await asyncio.sleep(LOOK_AROUND_S)
            self.look_around()
            if words := self.deeds.last_words():
                self.hear("alarm", {"text": words, "severity": "data"})

    async def _check(self) -> None:
        self.findings = (Finding(LINKS[0], "running"), *nothing_checked()[1:])
        async for finding in self.deeds.check():
            place = LINKS.index(finding.link)
            ahead = [replace(item, mark="running") if number == place + 1 and item.mark == "open" else item
                     for number, item in enumerate(self.findings)]
            self.findings = (*ahead[:place], finding, *ahead[place + 1:])
        self.findings = tuple(replace(item, mark="open") if item.mark == "running" else item for item in self.findings)

    async def _learn_chance(self) -> None:
        """The band of noise, worked out in a process of its own: it may take seconds."""
        self.chance = await self.deeds.chance()
