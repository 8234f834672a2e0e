"""The synthesiser as a stream: sixteenth by sixteenth, with everything that rings on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realtime.generators.state import Memory
from realtime.music.synth import DRUM_SEND, Hall, hit_gain, mono, note_row
from realtime.music.synth_kernels import AGE, ENDED, LENGTH, START, finish, mix_hit, play_notes
from realtime.music.synth_parts import Hit, Note
from realtime.music.synth_voices import VOICES, Voice, air_noise, drum_kit, voice_tables

_TARGET_RMS = 0.1  # -20 dBFS, the loudness of the corpus's clips
_EXPECTED_POWER = 0.02  # of the mix before it is evened out; the mean over the ten genres is 0.01 to 0.04
_CABINET_HZ = 8000


@dataclass(frozen=True)
class Moment:
    """What begins in one sixteenth.

    Attributes
    ----------
    bpm : float
        Quarter notes per minute.
    kit : str
        Of `synth_voices.drum_kit`.
    drum_level, reverb : float
        Gain of the drums, and wet gain at its end.
    notes, hits : tuple
        Steps count from its beginning.
    damped : bool
        Whether notes that sound are let go: what comes is other music.
    """

    bpm: float
    kit: str
    drum_level: float
    reverb: float
    notes: tuple[Note, ...] = ()
    hits: tuple[Hit, ...] = ()
    damped: bool = False

    def frames_per_step(self, rate_hz: int) -> float:
        """Length of a sixteenth."""
        return 15.0 / self.bpm * rate_hz


@dataclass
class _Ringing:
    """A drum sound: of which kit, the frame of the next chunk it begins at (negative: it has), gains."""

    kit: str
    sound: str
    start: int
    left: float
    right: float


class Performer:
    """Plays moments one after the other, each as long as a sixteenth.

    Parameters
    ----------
    rate_hz : int
        Frames per second.
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._hall = Hall.empty(rate_hz)
        self._reverb = 0.0
        self._late = 0.0
        self._rows: dict[str, NDArray[np.float64]] = {}
        self._tails: dict[str, NDArray[np.float32]] = {}
        self._ringing: list[_Ringing] = []
        self._level = np.array([0.0, 0.0, 0.0, 0.0, _EXPECTED_POWER])

    def perform(self, moment: Moment) -> NDArray[np.float32]:
        """The sound of a sixteenth, shape (n_frames, 2), within ±0.7, at the corpus's loudness."""
        exact = moment.frames_per_step(self._rate_hz) + self._late
        n_frames = round(exact)
        self._late = exact - n_frames
        if moment.damped:
            self._damp()
        self._begin(moment)
        pitched, drums = np.zeros((n_frames, 2), np.float32), np.zeros((n_frames, 2), np.float32)
        for name in sorted(self._rows):
            pitched += self._voice(name, n_frames)
        self._drums(drums)
        mix = pitched + drums
        self._hall.add(mix, mono(pitched) + DRUM_SEND * mono(drums), self._reverb, moment.reverb)
        self._reverb = moment.reverb
        finish(mix, self._level, float(self._rate_hz), _TARGET_RMS)
        return mix

    def memory(self) -> Memory:
        """All that later sound depends on."""
        hall = {"lines": self._hall.lines, "places": self._hall.places, "lows": self._hall.lows}
        return {"hall": hall, "reverb": self._reverb, "late": self._late, "rows": dict(self._rows),
                "tails": dict(self._tails), "ringing": [[ring.kit, ring.sound, ring.start, ring.left, ring.right]
                                                        for ring in self._ringing], "level": self._level}

    def remember(self, memory: Memory) -> None:
        """Go on from what `memory` gave; its arrays are taken over."""
        self._hall = Hall(self._hall.delays, **memory["hall"])
        self._reverb, self._late, self._level = memory["reverb"], memory["late"], memory["level"]
        self._rows, self._tails = memory["rows"], memory["tails"]
        self._ringing = [_Ringing(*ring) for ring in memory["ringing"]]

    def _damp(self) -> None:
        for name, rows in self._rows.items():
            begun = rows[rows[:, START] <= 0]
            begun[:, LENGTH] = np.minimum(begun[:, LENGTH], begun[:, AGE])
            self._rows[name] = begun

    def _begin(self, moment: Moment) -> None:
        per_step = moment.frames_per_step(self._rate_hz)
        coming: dict[str, list[NDArray[np.float64]]] = {}
        for note in moment.notes:
            coming.setdefault(note.voice, []).append(note_row(note, per_step, self._rate_hz))
        for voice, rows in coming.items():
            known = [self._rows[voice]] if voice in self._rows else []
            self._rows[voice] = np.concatenate([*known, np.array(rows)])
        for hit in moment.hits:
            left, right = hit_gain(hit, moment.drum_level)
            self._ringing.append(_Ringing(moment.kit, hit.sound, round(hit.step * per_step), left, right))

    def _voice(self, name: str, n_frames: int) -> NDArray[np.float32]:
        """The next frames of one voice; forgets the notes that have died away."""
        voice, rows = VOICES[name], self._rows[name]
        bus = np.zeros((n_frames, 2), np.float32)
        play_notes(bus, rows, voice_tables(name, self._rate_hz), air_noise(self._rate_hz), voice.shape(),
                   float(self._rate_hz))
        if voice.drive:
            bus = self._amplify(name, voice, bus)
        left = rows[rows[:, ENDED] == 0.0]
        if len(left):
            self._rows[name] = left
        else:
            del self._rows[name]
            self._tails.pop(name, None)
        bus *= np.float32(0.3 * voice.level)
        return bus

    def _amplify(self, name: str, voice: Voice, bus: NDArray[np.float32]) -> NDArray[np.float32]:
        """A saturated amplifier and its cabinet, which remembers the last frames."""
        bus = np.tanh(bus * np.float32(voice.drive))
        width = max(1, self._rate_hz // _CABINET_HZ)
        tail = self._tails.get(name, np.zeros((width - 1, 2), np.float32))
        longer = np.concatenate([tail, bus])
        self._tails[name] = longer[len(longer) - len(tail):].copy()
        smooth = longer[width - 1:].copy()
        for shift in range(1, width):
            smooth += longer[width - 1 - shift: len(longer) - shift]
        smooth /= np.float32(width)
        return smooth

    def _drums(self, out: NDArray[np.float32]) -> None:
        still = []
        for ring in self._ringing:
            sample = drum_kit(ring.kit, self._rate_hz)[ring.sound]
            done, begin = max(0, -ring.start), max(0, ring.start)
            piece = sample[done: done + max(0, len(out) - begin)]
            mix_hit(out, piece, begin, ring.left, ring.right)
            ring.start -= len(out)
            if -ring.start < len(sample):
                still.append(ring)
        self._ringing = still
