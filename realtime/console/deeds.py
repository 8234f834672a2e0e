"""What the operator can do from the console: STOP by the player's own door, all else over the bus or by a process."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

import realtime
from realtime.bus_remote import Remote
from realtime.console.findings import Finding
from realtime.console.post import Post
from realtime.console.story import Here, Story
from realtime.console.view import ChanceBand
from realtime.errors import SessionError
from realtime.playback.client import ONE_THREAD
from realtime.playback.halt import halt, rearm
from realtime.playback.latch import Latch
from realtime.playback.settings import LOUDEST_DB
from realtime.session.lock import recorded_by

STEP_DB = 1.0
_COMMANDS = {"start": "the decisions begin", "mark": "a trial begins with the next volume",
             "note": "the note is in the record", "abort": "this attempt is given up",
             "end": "the session ends"}
_WORDS = {"go": "the run begins; start the scan when it is armed", "accept": "the reference is accepted",
          "refuse": "the reference comes again", "again": "the last run comes again", "skip": "the run is left out",
          "out": "the subject is out", "in": "the subject is in again: a new reference comes first",
          "finish": "the visit is over"}


@dataclass
class Deeds:
    """The operator's hands.

    Attributes
    ----------
    post : Post
        The session or visit.
    remote : Remote
        Carries commands.
    story : callable
        What is known now.
    """

    post: Post
    remote: Remote
    story: Callable[[], Story]
    _live: "subprocess.Popen[bytes] | None" = None
    _stopper: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "stop"))

    def __post_init__(self) -> None:
        self._stopper.submit(lambda: None).result()  # its thread runs before it is needed
        self._folder = self.post.session()

    async def stop(self) -> str:
        """Silence, at the player's door; returns what was done, in a sentence, whatever happens."""
        try:
            done = await asyncio.get_running_loop().run_in_executor(self._stopper, self._halt)
        except OSError as exc:
            return (f"STOP was given to the player, but {self._folder.path} cannot be written ({exc.strerror}): a "
                    "player started later would play. Press E, twice.")
        return f"Stopped: {done}."

    def _halt(self) -> str:
        if not self._folder.path.exists():
            return "no session is there that could sound"
        done = halt(self._folder.played)
        now = self.post.session()
        if now != self._folder:  # a run began since somebody looked: it is stopped, too
            self._folder = now
            done = halt(now.played)
        return done

    async def do(self, deed: str, text: str = "") -> str:
        """Do what a button says and return what became of it, in a sentence.

        Raises
        ------
        SessionError
            It cannot be done.
        """
        story = self.story()
        if deed == "rearm":
            return f"Armed: {await asyncio.to_thread(rearm, self.post.session().played)}."
        if deed == "arm":
            return await asyncio.to_thread(self._arm)
        if deed == "retry":
            await self.remote.command("abort", text or "to be tried again")
            return "This attempt is given up; start the scan again: it is the next attempt."
        if deed == "mute":
            muted = story.sound is not None and story.sound.muted
            await self.remote.command("unmute" if muted else "mute")
            return "Sound again." if muted else "Muted; the music goes on underneath."
        if deed == "pause":
            paused = story.trial.why == "paused"
            await self.remote.command("resume" if paused else "pause", text)
            return "Going on." if paused else "Paused: silence, and no decisions until P."
        if deed in ("louder", "quieter"):
            return await self._turn(STEP_DB if deed == "louder" else -STEP_DB)
        if deed in _WORDS:
            await self.remote.command("end" if deed == "finish" else deed, text[:1000])
            return f"Done: {_WORDS[deed]}."
        if deed not in _COMMANDS:
            raise SessionError(f"the console knows no {deed!r}")
        await self.remote.command("stop" if deed == "end" else deed, text[:1000])
        return f"Done: {_COMMANDS[deed]}."

    async def _turn(self, step_db: float) -> str:
        sound = self.story().sound
        if sound is None or sound.volume_db is None:
            raise SessionError("no player tells its volume yet: arm the session first")
        volume_db = min(sound.volume_db + step_db, LOUDEST_DB)
        await self.remote.command("volume", "", volume_db)
        return f"Volume {volume_db:+.0f} dB."

    def _arm(self) -> str:
        """Start the live program as a process that outlives the console."""
        if recorded_by(self.post.home):
            return "A live program runs already."
        log = self._log
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("ab") as complaints:
                process = subprocess.Popen([sys.executable, "-P", "-m", "innerear", *self.post.start],
                                           stdin=subprocess.DEVNULL, stdout=complaints, stderr=complaints,
                                           start_new_session=True, env=_our_tree())
        except OSError as exc:
            raise SessionError(f"the live program cannot be started: {exc}") from exc
        self._live = process
        return f"The live program starts; its own words are in {log}."

    @property
    def _log(self) -> Path:
        """Where the live program's own words go."""
        return self.post.home.path.with_name(self.post.home.path.name + ".log")

    def last_words(self) -> str:
        """Why the live program that was started from here could not go on, once; "" while it can, or ended well."""
        if self._live is None or self._live.poll() is None:
            return ""
        status, self._live = self._live.returncode, None
        if status == 0:
            return ""
        try:
            lines = self._log.read_text(errors="replace").strip().splitlines()
        except OSError:
            lines = []
        return lines[-1].removeprefix("innerear: ") if lines else f"the live program ended with status {status}"

    async def check(self) -> AsyncIterator[Finding]:
        """The preflight, in a process of its own; findings as they come."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "innerear", *self.post.check, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, env=_our_tree())
        assert process.stdout is not None
        try:
            async for line in process.stdout:
                try:
                    yield msgspec.json.decode(line, type=Finding)
                except msgspec.MsgspecError:
                    continue
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def chance(self) -> ChanceBand | None:
        """The band of noise for this decoder and this music; None where it cannot be had, or may not be seen."""
        if not self.post.chance:
            return None
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", *self.post.chance, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, env=_our_tree())
        try:
            told, _ = await process.communicate()
            return msgspec.json.decode(told, type=ChanceBand)
        except msgspec.MsgspecError:
            return None
        finally:
            if process.returncode is None:
                process.kill()

    def overlay(self) -> bytes:
        """The picture of the reference that waits to be judged, as PNG; empty without."""
        try:
            return self.post.session().overlay.read_bytes()
        except OSError:
            return b""

    def here(self) -> Here:
        """What this machine knows without the live program."""
        self._folder, home = self.post.session(), self.post.home
        place = home.path
        while not place.exists() and place != place.parent:
            place = place.parent
        try:
            free = shutil.disk_usage(place).free
        except OSError:
            free = None
        return Here(Latch(self._folder.played).held, free, recorded_by(home), self.post.embedded)


def _our_tree() -> dict[str, str]:
    """The environment of a program that shall be of this very tree."""
    return {**os.environ, **ONE_THREAD, "PYTHONPATH": str(Path(realtime.__path__[0]).parent)}
