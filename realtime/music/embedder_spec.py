"""The folder of an embedder: what it holds, and whether it is whole.

::

    spec.json     name, dimension, front end, windows, words, and a sha256 for each other file
    audio.onnx    levels (1, n_frames, n_bands) or samples (1, n_samples) → vector (1, dim), float32
    text.onnx     word numbers (1, n_words) int64 → vector (1, dim); where there is a text tower
    probes.npz    linear read-outs of a vector; where there are any

The sha256 of spec.json is the identity of the space: it names every other file by its own.
"""

import hashlib
import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from realtime.errors import EmbedderError
from realtime.messages import EmbeddingSpace
from realtime.music.logmel import LogMelSettings

FORMAT_VERSION = 1
SPEC_FILE = "spec.json"


@dataclass(frozen=True)
class WaveformSettings:
    """The network takes samples.

    Attributes
    ----------
    rate_hz : int
        At this rate; sound of another is resampled.
    """

    rate_hz: int

    def __post_init__(self) -> None:
        if not 4000 <= self.rate_hz <= 192000:
            raise EmbedderError(f"no network takes samples at {self.rate_hz} Hz; wanted 4000 to 192000; correct the "
                                "embedder's spec")


FrontEnd = LogMelSettings | WaveformSettings
_FRONT_ENDS: dict[str, type[LogMelSettings] | type[WaveformSettings]] = {
    "log-mel": LogMelSettings, "waveform": WaveformSettings}


@dataclass(frozen=True)
class EmbedderSpec:
    """What spec.json says.

    Attributes
    ----------
    name : str
        Of the space.
    dim : int
        Length of a vector.
    front_end : LogMelSettings or WaveformSettings
        What the network takes.
    window_s : float
        What one vector describes.
    hop_s : float
        Distance of windows in longer sound; its vector is their mean.
    shortest_s : float
        The least that is embedded.
    audio, text, probes : str
        Names of the files; "" for none.
    words : tuple of str
        That the text tower knows.
    sha256 : dict of str to str
        Of every file.
    """

    name: str
    dim: int
    front_end: FrontEnd
    window_s: float
    hop_s: float
    shortest_s: float
    sha256: dict[str, str]
    audio: str = "audio.onnx"
    text: str = ""
    probes: str = ""
    words: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        problems = []
        if not self.name or not 1 <= self.dim <= 65536:
            problems.append(f"name {self.name!r} and dim {self.dim}")
        if not 0 < self.shortest_s <= self.window_s <= 600 or not 0 < self.hop_s <= self.window_s:
            problems.append(f"window_s {self.window_s}, hop_s {self.hop_s}, shortest_s {self.shortest_s}")
        if bool(self.text) != bool(self.words):
            problems.append(f"text {self.text!r} with {len(self.words)} words")
        files = [file for file in (self.audio, self.text, self.probes) if file]
        if sorted(files) != sorted(self.sha256) or any(Path(file).name != file for file in files):
            problems.append(f"files {files} with checksums of {sorted(self.sha256)}")
        if problems:
            raise EmbedderError(f"this spec describes no embedder: {'; '.join(problems)}; correct it or export again")

    def document(self) -> dict[str, Any]:
        """As JSON holds it."""
        kind = next(kind for kind, settings in _FRONT_ENDS.items() if isinstance(self.front_end, settings))
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {"format_version": FORMAT_VERSION, **values,
                "front_end": {"kind": kind, **{item.name: getattr(self.front_end, item.name)
                                               for item in fields(self.front_end)}}}


@dataclass(frozen=True, eq=False)
class EmbedderFiles:
    """An embedder's folder in memory, checked.

    Attributes
    ----------
    folder : Path
        Where it was read from.
    spec : EmbedderSpec
        What it says of itself.
    space : EmbeddingSpace
        Its identity.
    contents : dict of str to bytes
        By the names of the files.
    """

    folder: Path
    spec: EmbedderSpec
    space: EmbeddingSpace
    contents: dict[str, bytes] = field(repr=False)


def read_embedder(folder: Path) -> EmbedderFiles:
    """Read an embedder's folder whole.

    Raises
    ------
    EmbedderError
        No embedder there, one of another version, a spec that makes no sense, or a file that is missing or changed.
    """
    path = folder / SPEC_FILE
    try:
        payload = path.read_bytes()
        document = json.loads(payload)
    except OSError as exc:
        raise EmbedderError(f"no embedder in {folder}: {path} cannot be read ({exc.strerror}); give a folder that "
                            "innerear embedder train made, or one with a spec.json of your own") from exc
    except ValueError as exc:
        raise EmbedderError(f"{path} is not JSON ({exc}); export the embedder again") from exc
    spec = _parse(document, path)
    contents = {name: _file(folder / name, digest) for name, digest in spec.sha256.items()}
    space = EmbeddingSpace(spec.name, spec.dim, hashlib.sha256(payload).hexdigest())
    return EmbedderFiles(folder, spec, space, contents)


def _parse(document: Any, path: Path) -> EmbedderSpec:
    version = document.get("format_version") if isinstance(document, dict) else None
    if version != FORMAT_VERSION:
        raise EmbedderError(f"{path} has format version {version!r}, this program reads {FORMAT_VERSION}; export the "
                            "embedder again with this version")
    try:
        values = {key: value for key, value in document.items() if key != "format_version"}
        front_end = dict(values.pop("front_end"))
        kind = _FRONT_ENDS[front_end.pop("kind")]
        return EmbedderSpec(**values | {"front_end": kind(**front_end), "words": tuple(values.get("words", ())),
                                        "sha256": dict(values["sha256"])})
    except EmbedderError as exc:
        raise EmbedderError(f"{path}: {exc}") from exc
    except (KeyError, TypeError, ValueError) as exc:
        raise EmbedderError(f"{path} does not describe an embedder ({exc!r}); export it again, or see "
                            "exported_models/README.md for what a spec holds") from exc


def _file(path: Path, digest: str) -> bytes:
    try:
        payload = path.read_bytes()
    except OSError as exc:
        raise EmbedderError(f"{path} cannot be read ({exc.strerror}); copy the embedder's folder whole") from exc
    got = hashlib.sha256(payload).hexdigest()
    if got != digest:
        raise EmbedderError(f"{path} has changed: its sha256 is {got[:8]}…, the spec says {digest[:8]}…; copy the "
                            "embedder's folder again")
    return payload
