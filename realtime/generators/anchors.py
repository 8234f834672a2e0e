"""What a procedural corpus says of its own clips: the parameters that music may begin from."""

import json
from pathlib import Path
from typing import Any

from realtime.generators.director import Anchors
from realtime.generators.readouts import Readouts, Traits
from realtime.music.catalogue import Catalogue
from realtime.music.synth_parts import PARTS
from realtime.music.synth_styles import GENRES, SCALES, STYLES
from realtime.music.synth_voices import VOICES


def read_anchors(folder: Path, catalogue: Catalogue, readouts: Readouts) -> Anchors:
    """Traits of every clip whose labels a procedural corpus has written; empty for other music.

    Labels say genre, borrowed part, scale, voices and tempo; patterns and density are read out of the clip's
    own embedding.
    """
    document = json.loads((folder / "corpus.json").read_bytes())
    anchors = {}
    for entry in document["clips"]:
        labels = entry.get("labels") or {}
        if labels.get("genre") in GENRES and labels.get("scale") in SCALES and {*_voices(labels)} <= {*VOICES}:
            read = readouts.read(catalogue.embedding(str(entry["clip_id"])))
            anchors[str(entry["clip_id"])] = _traits(labels, float(entry.get("bpm", 0.0)), read)
    return anchors


def _voices(labels: dict[str, Any]) -> list[str]:
    return [str(labels.get(part, "")) for part in ("bass", "chords", "lead")]


def _traits(labels: dict[str, Any], bpm: float, read: Traits) -> Traits:
    styles = {part: str(labels["genre"]) for part in PARTS}
    part, _, genre = str(labels.get("borrowed", "")).partition(" from ")
    if part in PARTS and genre in GENRES:
        styles[part] = genre
    bass, chords, drums = (STYLES[styles[part]] for part in ("bass", "chords", "drums"))
    same_drums = styles["drums"] == read.styles["drums"]
    return Traits(
        styles, str(labels["scale"]), dict(zip(("bass", "chords", "lead"), _voices(labels), strict=True)),
        read.bass_pattern if read.bass_pattern in bass.bass.patterns else bass.bass.patterns[0],
        read.chord_pattern if read.chord_pattern in chords.chords.patterns else chords.chords.patterns[0],
        read.drum_pattern if same_drums and drums.drums.patterns else 0, bpm or read.bpm, read.lead_notes)
