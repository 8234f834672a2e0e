"""Compiled inner loops of the synthesiser.

Everything is written into circular buffers: what rings on past the end of the clip falls on
its beginning, so that a clip of whole bars repeats without a seam.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

ATTACK, DECAY, SUSTAIN, RELEASE, BRIGHTNESS, VIBRATO_CENTS, VIBRATO_HZ, DETUNE_CENTS = range(8)
START, LENGTH, FREQUENCY, GAIN_LEFT, GAIN_RIGHT = range(5)
_CONTROL_FRAMES = 32  # vibrato is updated at this interval: 0.7 ms at 48 kHz, inaudible


@njit(cache=True, nogil=True)
def mix_notes(
    out: NDArray[np.float32],
    notes: NDArray[np.float64],
    tables: NDArray[np.float32],
    shape: NDArray[np.float64],
    rate_hz: float,
) -> None:
    """Add the notes of one voice to `out`, in place.

    Parameters
    ----------
    out : float32 array of shape (n_frames, 2)
        Circular buffer.
    notes : float64 array of shape (n_notes, 5)
        Columns START (frame), LENGTH (frames to the release), FREQUENCY (Hz), GAIN_LEFT, GAIN_RIGHT.
    tables : float32 array of shape (n_octaves, 2, size)
        One period per octave above 20 Hz, bright and dark.
    shape : float64 array of shape (8,)
        Envelope times (s), sustain level, brightness time (s), vibrato and detuning, by the names above.
    rate_hz : float
        Frames per second.
    """
    for index in range(notes.shape[0]):
        _mix_note(out, notes[index], tables, shape, rate_hz)


@njit(cache=True, nogil=True)
def _mix_note(
    out: NDArray[np.float32],
    note: NDArray[np.float64],
    tables: NDArray[np.float32],
    shape: NDArray[np.float64],
    rate_hz: float,
) -> None:
    n_frames, size = out.shape[0], tables.shape[2]
    octave = min(max(int(math.log2(note[FREQUENCY] / 20.0)), 0), tables.shape[0] - 1)
    bright, dark = tables[octave, 0], tables[octave, 1]
    attack = max(1, int(shape[ATTACK] * rate_hz))
    length = max(int(note[LENGTH]), attack)
    decay = math.exp(-1.0 / (shape[DECAY] * rate_hz))
    fade = math.exp(-1.0 / (shape[RELEASE] * rate_hz))
    dull = math.exp(-1.0 / (shape[BRIGHTNESS] * rate_hz))
    detune = 2.0 ** (shape[DETUNE_CENTS] / 1200.0)
    base_step = note[FREQUENCY] * size / rate_hz
    step = base_step
    phase_left = 0.0
    wide = shape[DETUNE_CENTS] > 0.0
    phase_right = 0.37 * size  # unequal phases make a detuned pair wide
    level, above, mix = 0.0, 1.0 - shape[SUSTAIN], 1.0
    position, i = int(note[START]) % n_frames, 0
    while i < length or level > 2e-3:
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
        left = level * _lookup(bright, dark, mix, phase_left)
        right = left
        phase_left += step * detune
        if phase_left >= size:
            phase_left -= size
        if wide:
            right = level * _lookup(bright, dark, mix, phase_right)
            phase_right += step / detune
            if phase_right >= size:
                phase_right -= size
        out[position, 0] += note[GAIN_LEFT] * left
        out[position, 1] += note[GAIN_RIGHT] * right
        position += 1
        if position == n_frames:
            position = 0
        i += 1


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
def add_reverb(
    out: NDArray[np.float32], send: NDArray[np.float32], delays: NDArray[np.int64], feedback: float, wet: float
) -> None:
    """Add the reverberation of `send` to `out`, in place: four damped combs, then two all-passes per side.

    Parameters
    ----------
    out : float32 array of shape (n_frames, 2)
        Receives the wet sound.
    send : float32 array of shape (n_frames,)
        What reverberates. Its last second and a half runs through first, so that the tail wraps round.
    delays : int64 array of shape (2, 6)
        Frames of the four combs and the two all-passes, per side.
    feedback, wet : float
        Of the combs; gain of what is added.
    """
    n_frames = send.shape[0]
    warm_up = min(n_frames, 72000)
    for side in range(2):
        lines = np.zeros((6, delays.max()), np.float32)
        at = np.zeros(6, np.int64)
        low = np.zeros(4, np.float32)
        for i in range(-warm_up, n_frames):
            x = send[i] if i >= 0 else send[n_frames + i]
            total = np.float32(0.0)
            for k in range(4):
                y = lines[k, at[k]]
                low[k] += np.float32(0.55) * (y - low[k])
                lines[k, at[k]] = x + np.float32(feedback) * low[k]
                total += y
                at[k] = at[k] + 1 if at[k] + 1 < delays[side, k] else 0
            for k in range(4, 6):
                y = lines[k, at[k]] - np.float32(0.5) * total
                lines[k, at[k]] = total + np.float32(0.5) * y
                total = y
                at[k] = at[k] + 1 if at[k] + 1 < delays[side, k] else 0
            if i >= 0:
                out[i, side] += np.float32(wet) * total
