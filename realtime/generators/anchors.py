"""What a procedural corpus says of its own clips: the themes that music may begin from."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from realtime.generators.themes import Theme, Themes, read_theme, theme_of
from realtime.music.catalogue import Catalogue
from realtime.music.synth_parts import PARTS
from realtime.music.synth_score import compose
from realtime.music.synth_styles import GENRES, MELODY_SCALES, SCALES, STYLES
from realtime.music.synth_voices import VOICES


class CorpusAnchors(Mapping[str, Theme]):
    """Themes of every clip that the synthesiser made, each worked out when it is first asked for.

    A clip whose labels tell its seed is composed again, and its theme is the clip's own. Of a clip whose labels tell
    only genre, scale, voices and tempo, the rest is that of the library's nearest theme.

    Parameters
    ----------
    folder : Path
        The corpus.
    catalogue : Catalogue
        Read from it.
    themes : Themes
        The library, in its space.
    """

    def __init__(self, folder: Path, catalogue: Catalogue, themes: Themes) -> None:
        document = json.loads((folder / "corpus.json").read_bytes())
        self._entries = {str(entry["clip_id"]): entry for entry in document["clips"]
                         if _is_ours(entry.get("labels") or {})}
        self._catalogue, self._themes = catalogue, themes
        self._known: dict[str, Theme] = {}

    def __getitem__(self, clip_id: str) -> Theme:
        if clip_id not in self._known:
            entry = self._entries[clip_id]
            near = self._themes.themes[self._themes.nearest(self._catalogue.embedding(clip_id))]
            self._known[clip_id] = _composed(entry) or _adapted(entry, near)
        return self._known[clip_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)



def _is_ours(labels: Mapping[str, Any]) -> bool:
    voices = {str(labels.get(part, "")) for part in ("bass", "chords", "lead")}
    return labels.get("genre") in GENRES and labels.get("scale") in SCALES and voices <= {*VOICES}


def _composed(entry: Mapping[str, Any]) -> Theme | None:
    """The theme of the piece that this seed gives; None where the labels are not that piece's."""
    labels, seed = entry["labels"], str(entry["labels"].get("seed", ""))
    if not seed.isdecimal():
        return None
    shortest_s = max(0.1, float(entry["duration_s"]) - 0.1)  # a file is whole bars, to the nearest frame
    score = compose(labels["genre"], int(seed), shortest_s, 1.0 if labels.get("borrowed") else 0.0)
    is_it = all(labels.get(name) == value for name, value in score.labels.items())
    return theme_of(score.band) if is_it and abs(score.bpm - float(entry["bpm"])) < 0.05 else None


def _adapted(entry: Mapping[str, Any], near: Theme) -> Theme:
    labels = entry["labels"]
    styles = {part: str(labels["genre"]) for part in PARTS}
    part, _, genre = str(labels.get("borrowed", "")).partition(" from ")
    if part in PARTS and genre in GENRES:
        styles[part] = genre
    style = {part: STYLES[genre] for part, genre in styles.items()}
    melody = style["lead"].lead.scale
    if (4 in MELODY_SCALES[melody]) != (4 in SCALES[labels["scale"]]):
        melody = "major" if 4 in SCALES[labels["scale"]] else "minor"
    key = str(labels.get("key", ""))
    own = {"styles": styles, "scale": labels["scale"], "melody": melody,
           "voices": {part: str(labels[part]) for part in ("bass", "chords", "lead")},
           "bass_pattern": _one_of(style["bass"].bass.patterns, near.bass_pattern),
           "chord_pattern": _one_of(style["chords"].chords.patterns, near.chord_pattern),
           "drum_pattern": near.drum_pattern if styles["drums"] == near.styles["drums"] else 0,
           "bpm": float(entry.get("bpm") or near.bpm), "key": int(key) % 12 if key.isdecimal() else near.key,
           "progression": _one_of(style["harmony"].progressions, near.progression),
           "pad": _one_of(style["chords"].pad or ("",), near.pad)}
    return read_theme(vars(replace(near, **own)))


def _one_of(options: tuple[Any, ...], wanted: Any) -> Any:
    return wanted if wanted in options else options[0]
