"""The networks: levels to a unit vector, words to a unit vector, and what can be read off a vector."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from offline_training.embedder.settings import EmbedderSettings
from offline_training.embedder.truth import INSTRUMENTS
from realtime.music.synth_score import MOODS
from realtime.music.synth_styles import GENRES

_PADDING = 0
PROBE_SCALE = 8.0  # entries of a unit vector are about 1 / sqrt(dim): too small for the probes to learn from fast
_LEVEL_MEAN, _LEVEL_SPREAD = -2.0, 1.5  # of levels in tens of dB, roughly; batch normalisation does the rest


class AudioTower(nn.Module):
    """Levels of shape (n, n_frames, n_bands) to unit vectors of shape (n, dim); any number of frames."""

    def __init__(self, n_bands: int, n_channels: int, dim: int) -> None:
        super().__init__()
        self.patches = nn.Sequential(
            nn.Conv2d(1, 32, (4, 8), stride=(4, 4), padding=(0, 2)), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 32, 3, stride=(1, 2), padding=1), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=(2, 1), padding=1), nn.BatchNorm2d(64), nn.ReLU())
        n_places = 64 * (n_bands // 8 + 1)
        self.mix = nn.Sequential(nn.Conv1d(n_places, n_channels, 1), nn.BatchNorm1d(n_channels), nn.ReLU())
        self.phrases = nn.ModuleList(
            nn.Sequential(nn.Conv1d(n_channels, n_channels, 5, padding=2), nn.BatchNorm1d(n_channels), nn.ReLU())
            for _ in range(2))
        self.project = nn.Linear(3 * n_channels, dim)

    def forward(self, levels: Tensor) -> Tensor:
        """Vectors of the levels."""
        x = self.patches(((levels - _LEVEL_MEAN) / _LEVEL_SPREAD).unsqueeze(1)).transpose(2, 3)
        x = self.mix(torch.cat([x.flatten(1, 2), x.amax(dim=2)], dim=1))  # what sounds where, and what sounds anywhere
        for phrase in self.phrases:
            x = x + phrase(x)
        mean = x.mean(dim=2)
        spread = ((x - mean.unsqueeze(2)).square().mean(dim=2) + 1e-5).sqrt()
        return functional.normalize(self.project(torch.cat([mean, spread, x.amax(dim=2)], dim=1)), dim=1)


class TextTower(nn.Module):
    """Word numbers of shape (n, n_words), padded with 0, to unit vectors of shape (n, dim); order does not count."""

    def __init__(self, n_words: int, dim: int) -> None:
        super().__init__()
        self.words = nn.Embedding(n_words + 1, 48, padding_idx=_PADDING)
        self.combine = nn.Sequential(nn.Linear(48, 128), nn.ReLU(), nn.Linear(128, dim))

    def forward(self, tokens: Tensor) -> Tensor:
        """Vectors of the texts."""
        return functional.normalize(self.combine(self.words(tokens).sum(dim=1)), dim=1)


@dataclass(frozen=True)
class Readings:
    """What the probes say of vectors: logits of shape (n, classes); tempo in octaves above 100 bpm, shape (n,)."""

    genre: Tensor
    lead: Tensor
    mood: Tensor
    instruments: Tensor
    tempo: Tensor


class Probes(nn.Module):
    """Linear read-outs of a vector."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.genre, self.lead = nn.Linear(dim, len(GENRES)), nn.Linear(dim, len(INSTRUMENTS))
        self.mood, self.instruments = nn.Linear(dim, len(MOODS)), nn.Linear(dim, len(INSTRUMENTS))
        self.tempo = nn.Linear(dim, 1)

    def forward(self, vectors: Tensor) -> Readings:
        """What the vectors, of shape (n, dim) and length 1, say."""
        scaled = PROBE_SCALE * vectors
        return Readings(self.genre(scaled), self.lead(scaled), self.mood(scaled), self.instruments(scaled),
                        self.tempo(scaled)[:, 0])


class TwoTowers(nn.Module):
    """Everything that is trained together."""

    def __init__(self, settings: EmbedderSettings, n_words: int) -> None:
        super().__init__()
        self.audio = AudioTower(settings.front_end.n_bands, settings.n_channels, settings.dim)
        self.text = TextTower(n_words, settings.dim)
        self.probes = Probes(settings.dim)
        self.log_sharpness = nn.Parameter(torch.tensor([2.7, 2.3]))  # of words and of second hearings
