"""Compiled inner loops of the synthesiser.

A note keeps all that its sound depends on in one row of numbers, so that it can be played whole or
piece by piece with the same result. Whole clips are written into circular buffers: what rings on
past the end falls on the beginning, so that a clip of whole bars repeats without a seam.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

(ATTACK, DECAY, SUSTAIN, RELEASE, BRIGHTNESS, VIBRATO_CENTS, VIBRATO_HZ, DETUNE_CENTS, NOISE, NOISE_DECAY) = range(10)
(START, LENGTH, FREQUENCY, GAIN_LEFT, GAIN_RIGHT, BRIGHT, AGE, STEP, PHASE_LEFT, PHASE_RIGHT, LEVEL, ABOVE, HISS,
 ENDED) = range(14)
N_COLUMNS = 14
_CONTROL_FRAMES = 32  # vibrato is updated at this interval: 0.7 ms at 48 kHz, inaudible
_CROSSFEED = 0.3  # of the detuned twin into the other side: wide, but not louder at the sides than in the middle


@njit(cache=True, nogil=True)
def mix_notes(
    out: NDArray[np.float32],
    notes: NDArray[np.float64],
    tables: NDArray[np.float32],
    noise: NDArray[np.float32],
    shape: NDArray[np.float64],
    rate_hz: float,
) -> None:
    """Add the notes of one voice, whole, to `out`, in place.

    Parameters
    ----------
    out : float32 array of shape (n_frames, 2)
        Circular buffer.
    notes : float64 array of shape (n_notes, 14)
        Columns START (frame), LENGTH (frames to the release), FREQUENCY (Hz), GAIN_LEFT, GAIN_RIGHT, BRIGHT
        (0 to 1, share of the bright table), then what the kernel remembers: zeros at first.
    tables : float32 array of shape (n_octaves, 2, size)
        One period per octave above 20 Hz, bright and dark.
    noise : float32 array of shape (n,)
        Breath, bow and pick; read in a circle.
    shape : float64 array of shape (10,)
        Envelope times (s), sustain level, brightness time (s), vibrato, detuning and noise, by the names above.
    rate_hz : float
        Frames per second.
    """
    for index in range(notes.shape[0]):
        _play_note(out, int(notes[index, START]) % out.shape[0], 1 << 40, notes[index], tables, noise, shape, rate_hz)


@njit(cache=True, nogil=True)
def play_notes(
    out: NDArray[np.float32],
    notes: NDArray[np.float64],
    tables: NDArray[np.float32],
    noise: NDArray[np.float32],
    shape: NDArray[np.float64],
    rate_hz: float,
) -> None:
    """Add the next `len(out)` frames of each note to `out`, in place; parameters as `mix_notes`.

    START counts from the first frame of `out`; it is moved on for the next call, and ENDED becomes 1
    once a note has died away.
    """
    n_frames = out.shape[0]
    for index in range(notes.shape[0]):
        start = int(notes[index, START])
        if start < n_frames and notes[index, ENDED] == 0.0:
            begin = max(start, 0)
            _play_note(out, begin, n_frames - begin, notes[index], tables, noise, shape, rate_hz)
        notes[index, START] = start - n_frames


@njit(cache=True, nogil=True)
def _play_note(
    out: NDArray[np.float32],
    position: int,
    n_frames: int,
    note: NDArray[np.float64],
    tables: NDArray[np.float32],
    noise: NDArray[np.float32],
    shape: NDArray[np.float64],
    rate_hz: float,
) -> None:
    """Add up to `n_frames` of a note from where it is, from `position` of the circular buffer on."""
    size = tables.shape[2]
    octave = min(max(int(math.log2(note[FREQUENCY] / 20.0)), 0), tables.shape[0] - 1)
    bright, dark = tables[octave, 0], tables[octave, 1]
    attack = max(1, int(shape[ATTACK] * rate_hz))
    decay = math.exp(-1.0 / (shape[DECAY] * rate_hz))
    fade = math.exp(-1.0 / (shape[RELEASE] * rate_hz))
    dull = math.exp(-1.0 / (shape[BRIGHTNESS] * rate_hz))
    hush = math.exp(-1.0 / (shape[NOISE_DECAY] * rate_hz))
    detune = 2.0 ** (shape[DETUNE_CENTS] / 1200.0)
    base_step = note[FREQUENCY] * size / rate_hz
    wide = shape[DETUNE_CENTS] > 0.0
    if note[AGE] == 0.0:
        note[LENGTH] = max(int(note[LENGTH]), attack)
        note[STEP], note[ABOVE], note[HISS] = base_step, 1.0 - shape[SUSTAIN], shape[NOISE]
        note[PHASE_RIGHT] = 0.37 * size  # unequal phases make a detuned pair wide
    first = int(note[AGE])
    i, length = first, int(note[LENGTH])
    step, level, above = note[STEP], note[LEVEL], note[ABOVE]
    phase_left, phase_right = note[PHASE_LEFT], note[PHASE_RIGHT]
    mix, hiss = note[BRIGHT], note[HISS]
    grain = (int(note[FREQUENCY] * 977.0) + i) % noise.shape[0]
    while (i < length or level > 2e-3) and i - first < n_frames:
        if i % _CONTROL_FRAMES == 0:
            angle = 2.0 * math.pi * shape[VIBRATO_HZ] * i / rate_hz
            step = base_step * (1.0 + shape[VIBRATO_CENTS] * 5.78e-4 * math.sin(angle))
        if i < attack:
            level = i / attack
        elif i < length:
            above *= decay
            level = shape[SUSTAIN] + above
            if level < 1e-3:
                length = i  # a plucked note has died away
        else:
            level *= fade
        mix *= dull
        hiss *= hush
        left = _lookup(bright, dark, mix, phase_left)
        right = left
        phase_left += step * detune
        if phase_left >= size:
            phase_left -= size
        if wide:
            twin = _lookup(bright, dark, mix, phase_right)
            right = (1.0 - _CROSSFEED) * twin + _CROSSFEED * left
            left = (1.0 - _CROSSFEED) * left + _CROSSFEED * twin
            phase_right += step / detune
            if phase_right >= size:
                phase_right -= size
        air = hiss * noise[grain]
        grain = grain + 1 if grain + 1 < noise.shape[0] else 0
        out[position, 0] += note[GAIN_LEFT] * level * (left + air)
        out[position, 1] += note[GAIN_RIGHT] * level * (right + air)
        position += 1
        if position == out.shape[0]:
            position = 0
        i += 1
    note[AGE], note[LENGTH], note[STEP] = i, length, step
    note[PHASE_LEFT], note[PHASE_RIGHT], note[LEVEL], note[ABOVE] = phase_left, phase_right, level, above
    note[BRIGHT], note[HISS] = mix, hiss
    note[ENDED] = 0.0 if i < length or level > 2e-3 else 1.0


@njit(cache=True, nogil=True, inline="always")
def _lookup(bright: NDArray[np.float32], dark: NDArray[np.float32], mix: float, phase: float) -> float:
    low = int(phase)
    high = low + 1 if low + 1 < bright.shape[0] else 0
    part = phase - low
    above = bright[low] + part * (bright[high] - bright[low])
    below = dark[low] + part * (dark[high] - dark[low])
    return float(below + mix * (above - below))


@njit(cache=True, nogil=True)
def mix_hit(out: NDArray[np.float32], sample: NDArray[np.float32], start: int, left: float, right: float) -> None:
    """Add a mono one-shot of shape (n,) to the circular buffer `out` of shape (n_frames, 2), in place."""
    position = start % out.shape[0]
    for i in range(sample.shape[0]):
        out[position, 0] += left * sample[i]
        out[position, 1] += right * sample[i]
        position += 1
        if position == out.shape[0]:
            position = 0


@njit(cache=True, nogil=True)
def reverberate(
    out: NDArray[np.float32],
    send: NDArray[np.float32],
    delays: NDArray[np.int64],
    lines: NDArray[np.float32],
    places: NDArray[np.int64],
    lows: NDArray[np.float32],
    wet_from: float,
    wet_to: float,
) -> None:
    """Add the reverberation of `send` to `out`, in place: four damped combs, then two all-passes per side.

    Parameters
    ----------
    out : float32 array of shape (n_frames, 2)
        Receives the wet sound.
    send : float32 array of shape (n_frames,)
        What reverberates.
    delays : int64 array of shape (2, 6)
        Frames of the four combs and the two all-passes, per side.
    lines, places, lows : arrays of shape (2, 6, longest delay), (2, 6) and (2, 4)
        The hall's memory, kept from call to call; zeros at first.
    wet_from, wet_to : float
        Gain of what is added, at the first frame and after the last.
    """
    n_frames = send.shape[0]
    feedback = np.float32(0.8)
    for side in range(2):
        at, low = places[side], lows[side]
        for i in range(n_frames):
            x = send[i]
            total = np.float32(0.0)
            for k in range(4):
                y = lines[side, k, at[k]]
                low[k] += np.float32(0.55) * (y - low[k])
                lines[side, k, at[k]] = x + feedback * low[k]
                total += y
                at[k] = at[k] + 1 if at[k] + 1 < delays[side, k] else 0
            for k in range(4, 6):
                y = lines[side, k, at[k]] - np.float32(0.5) * total
                lines[side, k, at[k]] = total + np.float32(0.5) * y
                total = y
                at[k] = at[k] + 1 if at[k] + 1 < delays[side, k] else 0
            out[i, side] += np.float32(wet_from + (wet_to - wet_from) * i / n_frames) * total


@njit(cache=True, nogil=True)
def finish(out: NDArray[np.float32], memory: NDArray[np.float64], rate_hz: float, target_rms: float) -> None:
    """Bring a stream to an even loudness, in place: blocks DC, follows the level slowly, rounds peaks off.

    Parameters
    ----------
    out : float32 array of shape (n_frames, 2)
        The mix; afterwards within ±1.
    memory : float64 array of shape (5,)
        Last input and output of either side, mean power; kept from call to call. The power begins
        as what is expected.
    rate_hz : float
        Frames per second.
    target_rms : float
        Of what leaves, full scale 1.
    """
    block = 1.0 - 2.0 * math.pi * 8.0 / rate_hz
    rise, fall = 1.0 / (3.0 * rate_hz), 1.0 / (10.0 * rate_hz)
    for i in range(out.shape[0]):
        for side in range(2):
            x = float(out[i, side])
            y = x - memory[2 * side] + block * memory[2 * side + 1]
            memory[2 * side], memory[2 * side + 1] = x, y
        power = 0.5 * (memory[1] ** 2 + memory[3] ** 2)
        memory[4] += (rise if power > memory[4] else fall) * (power - memory[4])
        gain = target_rms / math.sqrt(max(memory[4], 1e-6))
        for side in range(2):
            # 0.35 of full scale is where rounding begins to be felt: crests beyond are bent, not cut
            out[i, side] = 0.7 * math.tanh(gain * memory[2 * side + 1] / 0.7)
