"""Sounds of the synthesiser: voices with a pitch, and drums."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

TABLE_SIZE = 2048
N_OCTAVES = 9
_LOWEST_HZ = 20.0
_MAX_HARMONICS = 72


@dataclass(frozen=True)
class Voice:
    """A sound with a pitch.

    Attributes
    ----------
    slope : float
        Harmonic h has amplitude h**-slope when the note starts...
    dark_slope : float
        ...and h**-dark_slope once its brightness has gone.
    even : float
        Amplitude factor of even harmonics.
    formant, formant_gain : float
        Harmonics around this number are lifted by 1 + formant_gain.
    attack_s, decay_s, sustain, release_s : float
        Envelope; decay and release are time constants.
    brightness_s : float
        Time constant from bright to dark.
    vibrato_cents, vibrato_hz : float
        Depth and rate.
    detune_cents : float
        Left is tuned up and right down by this much.
    noise, noise_s : float
        Level of breath, bow or pick at the attack, and the time constant with which it goes.
    drive : float
        Gain into a saturating amplifier; 0 is clean.
    level : float
        Gain in the mix.
    """

    slope: float
    dark_slope: float
    even: float = 1.0
    formant: float = 0.0
    formant_gain: float = 0.0
    attack_s: float = 0.004
    decay_s: float = 0.4
    sustain: float = 0.0
    release_s: float = 0.06
    brightness_s: float = 0.3
    vibrato_cents: float = 0.0
    vibrato_hz: float = 5.2
    detune_cents: float = 0.0
    noise: float = 0.0
    noise_s: float = 0.02
    drive: float = 0.0
    level: float = 1.0

    def shape(self) -> NDArray[np.float64]:
        """Parameters in the order that `mix_notes` takes them, shape (10,)."""
        return np.array([self.attack_s, self.decay_s, self.sustain, self.release_s, self.brightness_s,
                         self.vibrato_cents, self.vibrato_hz, self.detune_cents, self.noise, self.noise_s])


VOICES = {
    "piano": Voice(1.1, 2.1, decay_s=0.9, release_s=0.12, brightness_s=0.25, detune_cents=1.5, noise=0.35,
                   noise_s=0.012),
    "electric_piano": Voice(1.7, 3.0, even=0.4, formant=7, formant_gain=2.0, decay_s=0.9, release_s=0.1,
                            brightness_s=0.12, vibrato_cents=4, level=1.1, noise=0.15, noise_s=0.008),
    "organ": Voice(0.9, 1.0, even=0.9, attack_s=0.008, decay_s=1.0, sustain=0.9, release_s=0.03, vibrato_cents=8,
                   vibrato_hz=6.3, detune_cents=2, level=0.55, noise=0.15, noise_s=0.006),
    "acoustic_guitar": Voice(0.9, 2.4, even=0.7, formant=4, formant_gain=0.8, decay_s=0.5, release_s=0.08,
                             brightness_s=0.09, noise=0.5, noise_s=0.012),
    "clean_guitar": Voice(1.0, 2.0, formant=3, formant_gain=1.0, decay_s=0.7, release_s=0.05, brightness_s=0.2,
                          noise=0.3, noise_s=0.01),
    "muted_guitar": Voice(0.7, 1.8, decay_s=0.07, release_s=0.03, brightness_s=0.03, level=1.2, noise=0.5,
                          noise_s=0.015),
    "overdriven_guitar": Voice(0.9, 1.4, decay_s=2.5, sustain=0.5, release_s=0.06, brightness_s=0.8, drive=5,
                               detune_cents=4, vibrato_cents=5, level=0.5),
    "distorted_guitar": Voice(0.7, 1.1, decay_s=3.0, sustain=0.7, release_s=0.04, brightness_s=1.0, drive=14,
                              detune_cents=7, level=0.5),
    "strings": Voice(0.95, 1.15, attack_s=0.09, decay_s=1.5, sustain=0.8, release_s=0.18, vibrato_cents=9,
                     detune_cents=7, level=0.55, noise=0.1, noise_s=2.0),
    "cello": Voice(1.05, 1.3, formant=3, formant_gain=0.8, attack_s=0.05, decay_s=1.5, sustain=0.8, release_s=0.15,
                   vibrato_cents=7, detune_cents=3, level=0.7, noise=0.12, noise_s=1.0),
    "fiddle": Voice(0.8, 1.0, formant=5, formant_gain=1.0, attack_s=0.035, decay_s=1.0, sustain=0.8, release_s=0.07,
                    vibrato_cents=14, vibrato_hz=6.0, level=0.45, noise=0.12, noise_s=1.0),
    "flute": Voice(1.9, 2.1, attack_s=0.05, decay_s=1.0, sustain=0.85, release_s=0.08, vibrato_cents=12,
                   vibrato_hz=4.8, level=0.8, noise=0.35, noise_s=0.5),
    "brass": Voice(0.7, 1.3, formant=4, formant_gain=0.7, attack_s=0.025, decay_s=0.5, sustain=0.7, release_s=0.06,
                   brightness_s=0.3, vibrato_cents=4, detune_cents=4, level=0.45, noise=0.1, noise_s=0.05),
    "saxophone": Voice(0.9, 1.2, even=0.55, formant=6, formant_gain=1.2, attack_s=0.03, decay_s=0.8, sustain=0.75,
                       release_s=0.06, vibrato_cents=11, level=0.5, noise=0.2, noise_s=0.4),
    "harmonica": Voice(0.6, 0.9, even=0.5, formant=5, formant_gain=1.5, attack_s=0.03, decay_s=0.8, sustain=0.8,
                       release_s=0.05, vibrato_cents=16, vibrato_hz=6.5, level=0.4, noise=0.2, noise_s=0.6),
    "synth_pad": Voice(1.0, 1.8, attack_s=0.15, decay_s=2.0, sustain=0.8, release_s=0.3, brightness_s=0.9,
                       detune_cents=11, level=0.5),
    "synth_lead": Voice(1.0, 1.3, even=0.6, attack_s=0.008, decay_s=0.6, sustain=0.6, release_s=0.08,
                        brightness_s=0.4, vibrato_cents=8, detune_cents=6, level=0.5),
    "synth_pluck": Voice(0.9, 2.6, decay_s=0.22, release_s=0.1, brightness_s=0.07, detune_cents=5),
    "upright_bass": Voice(1.4, 2.5, attack_s=0.008, decay_s=0.45, release_s=0.06, brightness_s=0.08, level=0.85,
                          noise=0.4, noise_s=0.008),
    "electric_bass": Voice(1.3, 2.3, attack_s=0.004, decay_s=0.8, sustain=0.2, release_s=0.05, brightness_s=0.15,
                           level=0.7, noise=0.3, noise_s=0.006),
    "sub_bass": Voice(2.4, 3.2, attack_s=0.01, decay_s=1.2, sustain=0.6, release_s=0.09, level=0.8),
    "synth_bass": Voice(0.9, 2.2, even=0.8, attack_s=0.004, decay_s=0.3, sustain=0.3, release_s=0.04,
                        brightness_s=0.08, level=0.65),
    "distorted_bass": Voice(0.9, 1.5, attack_s=0.004, decay_s=1.5, sustain=0.5, release_s=0.04, brightness_s=0.5,
                            drive=4, level=0.6),
}


@lru_cache(maxsize=64)
def voice_tables(name: str, rate_hz: int) -> NDArray[np.float32]:
    """Band-limited periods of a voice, float32 of shape (N_OCTAVES, 2, TABLE_SIZE), peak 1; bright, then dark."""
    voice = VOICES[name]
    tables = np.zeros((N_OCTAVES, 2, TABLE_SIZE), np.float32)
    for octave in range(N_OCTAVES):
        top_hz = _LOWEST_HZ * 2.0 ** (octave + 1)
        harmonics = np.arange(1, max(2, min(_MAX_HARMONICS, int(0.42 * rate_hz / top_hz)) + 1))
        weight = np.where(harmonics % 2 == 0, voice.even, 1.0)
        weight = weight * (1.0 + voice.formant_gain * np.exp(-(((harmonics - voice.formant) / 1.8) ** 2)))
        for row, slope in enumerate((voice.slope, voice.dark_slope)):
            spectrum = np.zeros(TABLE_SIZE // 2 + 1, np.complex128)
            # Schroeder's phases keep the crest factor low, so voices are equally loud at equal peak
            phase = np.pi * harmonics * (harmonics - 1) / len(harmonics)
            spectrum[harmonics] = weight * harmonics**-slope * np.exp(1j * phase)
            period = np.fft.irfft(spectrum)
            tables[octave, row] = period / np.abs(period).max()
    return tables


@lru_cache(maxsize=8)
def air_noise(rate_hz: int) -> NDArray[np.float32]:
    """What breath, bow and pick sound like: noise from 0.8 to 9 kHz, float32 of shape (32768,), RMS 0.25."""
    spectrum = np.fft.rfft(np.random.default_rng(977).standard_normal(32768))
    hertz = np.fft.rfftfreq(32768, 1 / rate_hz)
    spectrum *= hertz / 800 / (1 + (hertz / 800) ** 2) ** 0.75 / (1 + (hertz / 9000) ** 4)
    noise = np.fft.irfft(spectrum)
    return np.asarray(0.25 * noise / noise.std(), np.float32)


@lru_cache(maxsize=8)
def drum_kit(name: str, rate_hz: int) -> dict[str, NDArray[np.float32]]:
    """One-shots of a kit, float32 of shape (n_frames,), peak 1. Kits: acoustic, machine, brushes, heavy."""
    rng = np.random.default_rng([7, sum(name.encode())])
    deep = {"acoustic": 52.0, "machine": 44.0, "brushes": 60.0, "heavy": 56.0}[name]
    boom_s = {"acoustic": 0.11, "machine": 0.22, "brushes": 0.08, "heavy": 0.07}[name]
    snap_s = {"acoustic": 0.09, "machine": 0.07, "brushes": 0.13, "heavy": 0.12}[name]
    body = {"acoustic": 0.5, "machine": 0.25, "brushes": 0.12, "heavy": 0.7}[name]
    click = {"acoustic": 0.25, "machine": 0.1, "brushes": 0.05, "heavy": 0.8}[name]

    def time(length_s: float) -> NDArray[np.float64]:
        return np.arange(int(length_s * rate_hz)) / rate_hz

    def noise(length_s: float, order: int) -> NDArray[np.float64]:
        white = rng.standard_normal(len(time(length_s)) + order)
        return np.diff(white, order) if order else white  # differences: the higher the order, the brighter

    def sweep(length_s: float, low_hz: float, high_hz: float, fall_s: float) -> NDArray[np.float64]:
        t = time(length_s)
        return np.sin(2 * np.pi * (low_hz * t + (high_hz - low_hz) * fall_s * (1 - np.exp(-t / fall_s))))

    kick_t, snare_t, hat_t, open_t, ride_t, crash_t = (time(s) for s in (0.5, 0.35, 0.1, 0.45, 0.7, 1.4))
    bell = sum(np.sin(2 * np.pi * hz * ride_t) for hz in (3123.0, 4187.0, 5311.0, 6847.0))
    sounds = {
        "kick": sweep(0.5, deep, 4 * deep, 0.03) * np.exp(-kick_t / boom_s)
        + click * noise(0.5, 1) * np.exp(-kick_t / 0.004),
        "snare": body * sweep(0.35, 185, 330, 0.02) * np.exp(-snare_t / 0.06)
        + 0.5 * noise(0.35, 1) * np.exp(-snare_t / snap_s),
        "rim": sweep(0.1, 820, 1700, 0.004) * np.exp(-hat_t / 0.012) + 0.2 * noise(0.1, 1) * np.exp(-hat_t / 0.006),
        "clap": noise(0.35, 1) * (np.exp(-snare_t / 0.07) * (0.4 + 0.6 * (np.sin(2 * np.pi * 85 * snare_t) > 0))),
        "hat": 0.5 * noise(0.1, 2) * np.exp(-hat_t / 0.02),
        "open": 0.5 * noise(0.45, 2) * np.exp(-open_t / 0.13),
        "ride": (0.25 * bell + 0.12 * noise(0.7, 2)) * np.exp(-ride_t / 0.2),
        "crash": 0.4 * noise(1.4, 2) * np.exp(-crash_t / 0.45),
        "tom": sweep(0.5, 95, 160, 0.06) * np.exp(-kick_t / 0.13),
        "shaker": 0.4 * noise(0.1, 2) * np.minimum(hat_t / 0.02, 1.0) * np.exp(-hat_t / 0.03),
    }
    return {key: (sound / np.abs(sound).max()).astype(np.float32) for key, sound in sounds.items()}
