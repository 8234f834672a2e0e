"""A simulated session on disk: a valid BIDS dataset, the music that was heard, and the truth behind it.

::

    dataset_description.json  README  participants.tsv
    sub-simulated/func/sub-simulated_task-Training_run-01_bold.nii  .json  _events.tsv   and so on
    derivatives/regions/      superior temporal cortex as an atlas would draw it
    derivatives/segmentation/ grey matter, white matter and fluid
    stimuli/                  the corpus, see offline_training.corpus
    sourcedata/truth/         what a real scan would not tell: motion, responding voxels
"""

import json
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from offline_training.corpus import Corpus, read_corpus
from offline_training.corpus_composed import CorpusSettings, make_corpus
from offline_training.errors import SimulationError
from offline_training.progress import Progress, counted
from offline_training.simulation.anatomy import PAD, Head, build_head
from offline_training.simulation.music import Music
from offline_training.simulation.order import RunPlan
from offline_training.simulation.person import Person, make_person
from offline_training.simulation.response import Tuning
from offline_training.simulation.scanner import Phantom
from offline_training.simulation.settings import SimulationSettings
from offline_training.simulation.worker import RunJob, prepare_worker, write_run

SUBJECT = "sub-simulated"
_README = """A simulated person listens to synthetic music in a simulated scanner.

Nothing in this dataset was measured. It was made to develop and test the decoding of music from
functional images: the structure follows OpenNeuro ds003720, music and images are computed.

Clips follow each other without a pause. The first clip of every run is a dummy, a copy of its last
one, and must be left out of analyses. sourcedata/truth holds what a real scan would not tell.
"""


@dataclass(frozen=True)
class SimulatedRun:
    """One run on disk: task, number from 1, and its files."""

    task: str
    number: int
    n_volumes: int
    bold: Path
    events: Path
    truth: Path


@dataclass(frozen=True)
class SimulatedSession:
    """A dataset that was written: its folder, the corpus in it, its runs (training first), the subject's truth."""

    folder: Path
    corpus: Path
    runs: tuple[SimulatedRun, ...]
    truth: Path


def simulate_session(
    out: Path, settings: SimulationSettings, progress: Progress | None = None
) -> SimulatedSession:
    """Simulate a person, the music, and every run; write all of it as BIDS.

    Parameters
    ----------
    out : Path
        A folder that holds no dataset yet. An indexed corpus that is already in `out`/stimuli is used.
    settings : SimulationSettings
        What to simulate. Same settings and same number of volumes, same bytes, whatever n_workers.
    progress : Progress, optional
        Told of everything that is done.

    Returns
    -------
    session : SimulatedSession
        Where everything is.

    Raises
    ------
    SimulationError
        The folder already holds a dataset, or no scan could have these settings.
    DatasetError
        The corpus cannot be written or read.
    """
    if (out / "dataset_description.json").exists():
        raise SimulationError(f"{out} already holds a dataset; remove it or choose another folder")
    build_head(settings.subject, settings.scanner)  # refuses a field of view that is too small before music is made
    corpus = _corpus(out / "stimuli", settings, progress)
    person = make_person(Music.of(corpus), settings)
    (out / SUBJECT / "func").mkdir(parents=True, exist_ok=True)
    (out / "sourcedata" / "truth").mkdir(parents=True, exist_ok=True)
    jobs = list(_jobs(out, corpus, person))
    _run_jobs(jobs, settings, progress, person.phantom)
    truth = _write_subject_truth(out, person.head, person.tuning)
    _write_derivatives(out, person.head)
    _write_dataset_files(out, settings)
    runs = tuple(SimulatedRun(plan.task, plan.number, len(job.signal), job.bold, job.events, job.truth)
                 for plan, job in zip(person.plans, jobs, strict=True))
    return SimulatedSession(out, corpus.folder, runs, truth)


def _corpus(folder: Path, settings: SimulationSettings, progress: Progress | None) -> Corpus:
    if (folder / "corpus.json").exists():
        corpus = read_corpus(folder)
        if abs(corpus.heard_s - settings.clip_s) > 1e-6:  # its embeddings describe what is heard, no less and no more
            raise SimulationError(f"the corpus in {folder} was made for clips of {corpus.heard_s:g} s, wanted "
                                  f"{settings.clip_s:g} s; make it again, or set clip_s to that")
        return corpus
    n_training = settings.n_training_runs * settings.blocks_per_training_run + settings.extra_clips_per_genre
    return make_corpus(folder, CorpusSettings(n_per_genre=n_training + settings.n_test_runs, seed=settings.seed,
                                              n_test_per_genre=settings.n_test_runs, duration_s=settings.clip_s),
                       progress=progress)


def _jobs(out: Path, corpus: Corpus, person: Person) -> Iterator[RunJob]:
    settings = person.settings
    for plan, seed in zip(person.plans, person.seeds(), strict=True):
        name = f"{SUBJECT}_{plan.run_id}"
        stem = out / SUBJECT / "func" / name
        clips = [corpus.clips[row] for row in plan.clips]
        rows = [f"{i * settings.clip_s:g}\t{settings.clip_s:g}\t{clip.genre}\t{clip.clip_id}\t{clip.file}"
                for i, clip in enumerate(clips)]
        sidecar = _sidecar(plan, settings)
        yield RunJob(
            signal=person.evoked(plan),
            seed=seed,
            rest=person.rest(plan),
            settings=(settings.subject, settings.motion, settings.scanner),
            bold=stem.with_name(name + "_bold.nii"),
            events=stem.with_name(name + "_events.tsv"),
            truth=out / "sourcedata" / "truth" / (name + "_truth.npz"),
            events_text="\n".join(["onset\tduration\tgenre\tclip_id\tstim_file", *rows, ""]),
            sidecar_text=json.dumps(sidecar, indent=1) + "\n",
        )


def _sidecar(plan: RunPlan, settings: SimulationSettings) -> dict[str, Any]:
    return {
        "TaskName": plan.task,
        "SeriesNumber": plan.place + 1,
        "AcquisitionTime": _acquired_at(plan, settings),
        "RepetitionTime": settings.scanner.tr_s,
        "SliceTiming": [round(at_s, 6) for at_s in settings.scanner.slice_times_s()],
        "MultibandAccelerationFactor": settings.scanner.multiband,
        "EchoTime": 0.03,
        "MagneticFieldStrength": 3,
        "Manufacturer": "none",
        "ManufacturersModelName": "Innerear simulated scanner",
        "PulseSequenceType": "simulated gradient-echo EPI",
    }


def _acquired_at(plan: RunPlan, settings: SimulationSettings) -> str:
    """Time of day: sessions begin three hours apart, runs a little longer than a run lasts."""
    longest_s = settings.n_volumes(len(plan.clips)) * settings.scanner.tr_s
    start_s = 32400 + 10800 * plan.session + plan.place * round(longest_s + 60)
    return f"{start_s // 3600 % 24:02d}:{start_s // 60 % 60:02d}:{start_s % 60:02d}.000000"


def _run_jobs(jobs: list[RunJob], settings: SimulationSettings, progress: Progress | None, phantom: Phantom) -> None:
    """Scan all runs, the longest first, in worker processes; a single worker is this process."""
    ordered = sorted(jobs, key=lambda job: -len(job.signal))
    completed = _completed(ordered, min(settings.n_workers, len(jobs)), phantom)
    for _ in counted(completed, "scanning", len(jobs), progress):
        pass


def _completed(jobs: list[RunJob], n_workers: int, phantom: Phantom) -> Iterator[None]:
    """One item for every run that is on disk."""
    if n_workers == 1:
        prepare_worker(phantom)
        yield from map(write_run, jobs)
        return
    context = multiprocessing.get_context("spawn")  # fork is unsafe once numba's or BLAS's threads run
    with ProcessPoolExecutor(n_workers, context, prepare_worker, (phantom,)) as pool:
        for future in as_completed([pool.submit(write_run, job) for job in jobs]):
            yield future.result()


def _write_subject_truth(out: Path, head: Head, tuning: Tuning) -> Path:
    """Responding voxels as (x, y, z) of the scanner's grid with the head in its reference position."""
    path = out / "sourcedata" / "truth" / f"{SUBJECT}_truth.npz"
    zyx = np.stack(np.unravel_index(head.auditory, head.grey.shape), axis=1) - PAD
    inside = (slice(PAD, -PAD),) * 3
    np.savez(path, auditory_voxels=zyx[:, ::-1].astype(np.int32), stimulus_fraction=tuning.fraction,
             hrf_peak_s=tuning.peak_s, brain=np.ascontiguousarray(head.brain[inside].T), affine=head.affine)
    return path


def _write_derivatives(out: Path, head: Head) -> None:
    inside = (slice(PAD, -PAD),) * 3
    images = {f"regions/{SUBJECT}/{SUBJECT}_desc-temporal_mask.nii.gz": head.temporal,
              f"segmentation/{SUBJECT}/{SUBJECT}_space-boldref_dseg.nii.gz": head.tissues}
    for name, labels in images.items():
        path = out / "derivatives" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image: Any = nibabel.Nifti1Image(labels[inside].T.astype(np.uint8), head.affine)  # type: ignore[no-untyped-call]
        nibabel.save(image, path)


def _write_dataset_files(out: Path, settings: SimulationSettings) -> None:
    """The description comes last: a folder without it is not a dataset, so one that was torn is not taken for whole."""
    (out / "README").write_text(_README, encoding="utf-8")
    (out / "participants.tsv").write_text(f"participant_id\n{SUBJECT}\n", encoding="utf-8")
    (out / "sourcedata" / "truth" / "settings.json").write_text(json.dumps(asdict(settings), indent=1) + "\n",
                                                                encoding="utf-8")
    description = {"Name": "Simulated music listening", "BIDSVersion": "1.9.0", "DatasetType": "raw", "License": "CC0",
                   "GeneratedBy": [{"Name": "innerear simulate"}]}
    (out / "dataset_description.json").write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
