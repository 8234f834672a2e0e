"""The files that say what a data set is."""

from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from offline_training.bids.recordings import Recording, Source
from offline_training.bids.tables import Column, write_table
from offline_training.disclosure import HIDDEN
from realtime.atomic import write_json
from realtime.experiment.acquisition import Acquisition
from realtime.session.record import Document
from scanner_bridge.sources.sidecar import EXACT_AFFINE

BIDS_VERSION = "1.9.0"
DERIVATIVES = Path("derivatives") / "innerear"
EXCLUDED = Path("sourcedata") / "innerear"

_README = """# {name}

Functional images of one person, acquired while Innerear decoded music from them, volume by volume, and played it.
The images are those that the program received and used, voxel by voxel; innerear train reads them to the same
features, bit by bit.

- A volume that never came, or could not be used as it came, is all zeros here; LostVolumes in the run's JSON file has
  their numbers.
- events.tsv holds what happened in each run; derivatives/innerear holds what was measured, decoded and fed back for
  every volume, the sound that was played with its clock, faults and commands.
- Attempts that were aborted are no runs: their images lie in sourcedata/innerear, and so do images of any attempt that
  came when they had been given up; excluded.tsv there says which, and why.
{blinded}
Faces are not removed: functional images of a head can show one. Who may share them is for the study's consent to say.
"""
_BLINDED = """- The study was blinded when this was exported: whatever could tell the arm (what was decoded, scored, fed
  back and played in feedback) is left out. Export again with the allocation once it was opened.
"""
_DERIVATIVES_README = """# What Innerear measured, decoded and fed back

One row for every volume in *_desc-nfb_timeseries.tsv, the decoded vectors in *_desc-embedding_timeseries.tsv, what
sounded in *_desc-played_timeline.tsv and *_desc-played_audio.wav, faults and commands in *_desc-faults_timeline.tsv.
"""


def write_descriptions(root: Path, source: Source, name: str) -> None:
    """dataset_description, participants, README, CHANGES, of the raw and the derived data set."""
    tool = {"Name": "Innerear", "Version": version("innerear")}
    write_json(root / "dataset_description.json", {
        "Name": name, "BIDSVersion": BIDS_VERSION, "DatasetType": "raw", "GeneratedBy": [tool]})
    write_json(root / DERIVATIVES / "dataset_description.json", {
        "Name": f"{name}: neurofeedback", "BIDSVersion": BIDS_VERSION, "DatasetType": "derivative",
        "GeneratedBy": [tool], "SourceDatasets": [{"URL": "../.."}]})
    hidden = any(recording.hidden for recording in source.recordings)
    (root / "README").write_text(_README.format(name=name, blinded=_BLINDED if hidden else ""), encoding="utf-8")
    (root / DERIVATIVES / "README").write_text(_DERIVATIVES_README, encoding="utf-8")
    (root / DERIVATIVES / ".bidsignore").write_text("*_desc-*\n", encoding="utf-8")  # BIDS has no neurofeedback yet
    today = datetime.now(UTC).date().isoformat()
    (root / "CHANGES").write_text(f"1.0.0 {today}\n  - Exported by Innerear {tool['Version']}.\n", encoding="utf-8")
    columns = [Column("participant_id", "Pseudonym."),
               Column("arm", "Whose feedback the person got; n/a where it was not opened, or there are none.")]
    subject = source.recordings[0].name.subject
    write_table(root / "participants.tsv", columns, [{"participant_id": f"sub-{subject}", "arm": source.arm}])


def sidecar(recording: Recording, start: Document, slice_times_s: tuple[float, ...] | None, acquisition: Acquisition,
            lost: list[int], n_volumes: int) -> dict[str, Any]:
    """What a raw image's JSON file says: all that the record knows of its acquisition."""
    run = start["run"]
    affine = np.array(run["affine"], np.float64).reshape(4, 4)
    fields: dict[str, Any] = {"TaskName": recording.name.task, "SeriesNumber": recording.series}
    if acquisition.cluster_volumes:
        # volumes in clusters have no repetition time for BIDS: the image's header keeps the one within a cluster
        fields["VolumeTiming"] = [round(acquisition.start_s(volume), 6) for volume in range(n_volumes)]
        fields["FrameAcquisitionDuration"] = acquisition.tr_s - acquisition.silence_s
    else:
        fields["RepetitionTime"] = run["tr_s"]
        if acquisition.silence_s:
            fields["DelayTime"] = acquisition.silence_s
    if slice_times_s is not None:
        fields["SliceTiming"] = list(slice_times_s)
    if not np.array_equal(affine.astype(np.float32), affine):
        fields[EXACT_AFFINE] = affine.tolist()
    return fields | {"LostVolumes": lost, "SourceRun": run["run_id"], "SourceDescription": run["source"]}


def decoder_facts(start: Document, hidden: bool) -> dict[str, Any]:
    """Which decoder made a table; nothing where it could tell the arm."""
    if hidden:
        return {"Decoder": {"Description": HIDDEN}}
    return {"Decoder": {"Name": start["bundle"]["name"], "SHA256": start["bundle"]["sha256"],
                        "EmbeddingSpace": start["space"]["name"], "LagVolumes": start["lag_volumes"],
                        "WindowVolumes": start["window_volumes"]}}
