"""From trained towers to the folder that the live program reads, with proof that both compute the same."""

import hashlib
import warnings
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from offline_training.embedder.settings import EmbedderSettings
from offline_training.embedder.towers import PROBE_SCALE, TwoTowers
from offline_training.embedder.truth import INSTRUMENTS, vocabulary
from offline_training.errors import FitError
from realtime.atomic import write_bytes, write_json
from realtime.music.attributes import KINDS
from realtime.music.embedder_spec import SPEC_FILE, EmbedderSpec
from realtime.music.logmel import band_power, levels_db
from realtime.music.onnx_embedder import OnnxEmbedder
from realtime.music.synth_score import MOODS
from realtime.music.synth_styles import GENRES
from realtime.music.words import WordTable

AUDIO_FILE, TEXT_FILE, PROBES_FILE = "audio.onnx", "text.onnx", "probes.npz"
_OPSET = 17
_TOLERANCE = 1e-5
_NAMES = {"genre": GENRES, "lead": INSTRUMENTS, "mood": MOODS, "instruments": INSTRUMENTS}


def export_embedder(folder: Path, towers: TwoTowers, settings: EmbedderSettings) -> float:
    """Write an embedder's folder, read it back, and compare.

    Parameters
    ----------
    folder : Path
        Made where absent; the spec is written last.
    towers : TwoTowers
        Trained, in evaluation mode.
    settings : EmbedderSettings
        They were trained with.

    Returns
    -------
    difference : float
        Largest between a vector of the graphs and one of the towers, over sounds of several lengths and texts.

    Raises
    ------
    FitError
        The graphs compute something else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SPEC_FILE).unlink(missing_ok=True)
    n_frames, n_bands = settings.front_end.n_frames(settings.window_s), settings.front_end.n_bands
    contents = {
        AUDIO_FILE: _graph(towers.audio, torch.zeros(1, n_frames, n_bands), "levels", "n_frames", settings.dim),
        TEXT_FILE: _graph(towers.text, torch.ones(1, 3, dtype=torch.int64), "tokens", "n_words", settings.dim),
        PROBES_FILE: _probes(towers),
    }
    for name, payload in contents.items():
        write_bytes(folder / name, payload)
    spec = EmbedderSpec(
        settings.name, settings.dim, settings.front_end, settings.window_s, settings.hop_s, settings.shortest_s,
        {name: hashlib.sha256(payload).hexdigest() for name, payload in contents.items()},
        AUDIO_FILE, TEXT_FILE, PROBES_FILE, vocabulary())
    write_json(folder / SPEC_FILE, spec.document())
    return _compare(OnnxEmbedder.read(folder), towers, settings)


class _OneVector(nn.Module):
    """A tower whose output's shape the exporter can tell: it loses track of a batch of one."""

    def __init__(self, tower: nn.Module, dim: int) -> None:
        super().__init__()
        self.tower, self.dim = tower, dim

    def forward(self, one: Tensor) -> Tensor:
        vector: Tensor = self.tower(one)
        return vector.reshape(1, self.dim)


def _graph(tower: nn.Module, example: Tensor, name: str, axis: str, dim: int) -> bytes:
    with TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter without onnxscript calls itself deprecated at every use
        path = Path(scratch) / "tower.onnx"
        torch.onnx.export(_OneVector(tower, dim).eval(), (example,), path, input_names=[name], output_names=["vector"],
                          dynamic_axes={name: {1: axis}}, opset_version=_OPSET, dynamo=False)
        return path.read_bytes()


def _probes(towers: TwoTowers) -> bytes:
    values = towers.probes.state_dict()
    arrays: dict[str, Any] = {f"{kind}_names": np.array(names) for kind, names in _NAMES.items()}
    for kind in KINDS:
        arrays[f"{kind}_weight"] = values[f"{kind}.weight"].numpy() * np.float32(PROBE_SCALE)
        arrays[f"{kind}_bias"] = values[f"{kind}.bias"].numpy()
    buffer = BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _compare(embedder: OnnxEmbedder, towers: TwoTowers, settings: EmbedderSettings) -> float:
    rng = np.random.default_rng(0)
    spec, largest, rate_hz = embedder.spec, 0.0, 24000
    for duration_s in (spec.shortest_s, (spec.shortest_s + spec.window_s) / 2, spec.window_s):
        sound = rng.standard_normal(int(duration_s * rate_hz)).astype(np.float32) * 0.1
        with torch.no_grad():
            levels = levels_db(band_power(sound, rate_hz, settings.front_end), settings.front_end)
            vector = towers.audio(torch.from_numpy(levels)[None])[0].numpy()
        largest = max(largest, float(np.abs(embedder.embed(sound, rate_hz) - vector).max()))
    words = WordTable(spec.words)
    for text in ("calm piano", *spec.words):
        with torch.no_grad():
            vector = towers.text(torch.from_numpy(words.tokens([text])))[0].numpy()
        largest = max(largest, float(np.abs(embedder.embed_text(text) - vector).max()))
    if not largest < _TOLERANCE:
        raise FitError(f"the exported graphs of {spec.name!r} differ from the towers by {largest:.1e}, wanted less "
                       f"than {_TOLERANCE:.0e}; the exporter of this torch does not fit, use the pinned version")
    return largest
