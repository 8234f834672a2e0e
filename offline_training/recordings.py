"""Which clips are cut from one recording: what no fold's border may run through.

GTZAN holds the same recording under several names (Sturm 2013, arXiv 1306.1461, lists fifty), and a corpus takes
several clips of one file. `corpus build` writes the checksum of each file's sound beside its clips.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from realtime.session.events import Event

LABEL = "recording"


@dataclass(frozen=True)
class Recordings:
    """Recordings of a corpus's clips.

    Attributes
    ----------
    of_clip : mapping of str to str
        Clip id to what identifies its recording; empty where nothing is known.
    doubles : tuple of tuple of str
        Clips of different files that hold the same recording.
    """

    of_clip: Mapping[str, str] = field(default_factory=dict)
    doubles: tuple[tuple[str, ...], ...] = ()

    def track(self, clip_id: str) -> str:
        """The clip's recording; the clip itself where nothing is known of it."""
        return self.of_clip.get(clip_id, clip_id)

    def heard(self, events: Sequence[Event]) -> frozenset[str]:
        """Recordings of the clips that events name."""
        return frozenset(self.track(event.clip_id) for event in events if event.clip_id)

    def notes(self) -> tuple[str, ...]:
        """A sentence per recording that has several names."""
        return tuple(f"{' and '.join(clips)} are the same recording: they count as one when runs are split"
                     for clips in self.doubles)


def read_recordings(corpus: Path) -> Recordings:
    """Recordings of a corpus that is known to be whole; nothing is known where it was made without them."""
    entries = json.loads((corpus / "corpus.json").read_bytes())["clips"]
    of_clip, files = {}, {}
    for entry in entries:
        labels = entry.get("labels", {})
        recording = labels.get(LABEL) or labels.get("source")
        if recording:
            of_clip[str(entry["clip_id"])] = str(recording)
            files[str(entry["clip_id"])] = str(labels.get("source", ""))
    named: dict[str, dict[str, str]] = {}
    for clip_id, recording in of_clip.items():
        named.setdefault(recording, {}).setdefault(files[clip_id], clip_id)
    return Recordings(of_clip, tuple(tuple(sorted(clips.values())) for clips in named.values() if len(clips) > 1))
