"""The loop's honest check of itself: is what really leaves for the ear what was chosen, and what was decoded?

Every few seconds a process of its own (`realtime.session.ear`) embeds the end of the recording. The cosines go to the
bus and to the timing file, never into a decision.
"""

import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

import realtime
from realtime.music.catalogue import Catalogue
from realtime.session.ear import Answer, Question
from realtime.session.sounding import Sounding

PERIOD_S = 5.0
SHORTEST_S = 4.0  # of a clip that has just begun, less says nothing
ANSWER_S = 30.0


class SelfCheck:
    """Listens along with a session, until it is cancelled.

    Parameters
    ----------
    embedder : Path
        Folder of the embedder to listen with.
    catalogue : Catalogue
        The session's corpus.
    sounding : Sounding
        Says what should be heard, and takes the findings.
    attempt : callable
        Number of the present attempt.
    """

    def __init__(self, embedder: Path, catalogue: Catalogue, sounding: Sounding, attempt: Callable[[], int]) -> None:
        self._embedder, self._catalogue, self._sounding, self._attempt = embedder, catalogue, sounding, attempt

    async def run(self) -> None:
        """Ask every `PERIOD_S`; an ear that dies is told once and not replaced."""
        process = await self._spawn()
        try:
            while True:
                await asyncio.sleep(PERIOD_S)
                await self.ask(process)
        except (OSError, EOFError, TimeoutError, msgspec.MsgspecError) as exc:
            self._sounding.telling.alarm(f"nobody checks what is played any more ({exc or type(exc).__name__}): "
                                         "the music goes on", "note")
        finally:
            await dismiss(process)

    async def ask(self, process: asyncio.subprocess.Process) -> None:
        """One question, when one clip has sounded long enough."""
        sounding = self._sounding
        seconds = sounding.sounding_for_s
        if not sounding.sounding or seconds < SHORTEST_S or not sounding.player.records_as_asked:
            return
        clip_id, decoded = sounding.sounding, sounding.decoded
        path = self._catalogue.clip(clip_id).path
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(msgspec.json.encode(Question(str(path), seconds)) + b"\n")
        line = await asyncio.wait_for(process.stdout.readline(), ANSWER_S)
        if not line:
            raise EOFError("its process ended")
        answer = msgspec.json.decode(line, type=Answer)
        if answer.trouble:
            sounding.telling.alarm_once(f"what is played could not be checked: {answer.trouble}")
            return
        found = {"clip_id": clip_id, "seconds": round(seconds, 2), **self.cosines(answer, decoded)}
        sounding.telling.self_check(found, self._attempt())

    def cosines(self, answer: Answer, decoded: NDArray[np.float32] | None) -> dict[str, float | None]:
        """To the chosen clip, in the ear's space; and, centred, to what was decoded, where that is the session's."""
        heard = np.array(answer.heard)
        found: dict[str, float | None] = {"to_chosen": _cosine(heard, np.array(answer.clip)), "to_decoded": None}
        if decoded is not None and answer.space == self._catalogue.space:
            found["to_decoded"] = _cosine(heard - self._catalogue.centre, decoded - self._catalogue.centre)
        return found

    async def _spawn(self) -> asyncio.subprocess.Process:
        root = str(Path(realtime.__path__[0]).parent)
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
        recording = self._sounding.player.recording
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "realtime.session.ear", str(self._embedder), str(recording),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": path})


async def dismiss(process: asyncio.subprocess.Process) -> None:
    """End an ear, whatever it does."""
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()
    if process.stdin is not None:
        process.stdin.close()
        with suppress(OSError):
            await process.stdin.wait_closed()


def _cosine(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / lengths if lengths > 0 else 0.0
