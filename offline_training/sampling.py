"""All runs of a data set through the live preprocessor, on many workers, found again by what they were made from.

Aligning the runs of a subject takes an hour, fitting minutes. A kept run counts only while its
image, the frame it was sampled in and the code that sampled it are the same to the byte, so an
interrupted training goes on where it stopped, and nothing stale is ever used.
"""

import hashlib
import io
import zipfile
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import fields
from pathlib import Path

import numpy as np

from offline_training.design import Frame, RunSamples, sample_run
from offline_training.progress import Progress, counted
from offline_training.runs import RecordedRun
from realtime import preprocessing
from realtime.atomic import write_bytes

_ARRAYS = tuple(field.name for field in fields(RunSamples) if field.name not in ("run", "samples"))


def sample_runs(runs: Sequence[RecordedRun], frame: Frame, folder: Path, executor: Executor,
                progress: Progress | None = None) -> tuple[RunSamples, ...]:
    """`sample_run` for each run, on the executor's workers.

    Parameters
    ----------
    runs : sequence of RecordedRun
    frame : Frame
    folder : Path
        For the samples, on a disk that the workers share; what it holds already is not made again.
    executor : Executor
    progress : Progress, optional

    Raises
    ------
    DatasetError
        A run ends early or is damaged; the others stay kept.
    """
    futures = [executor.submit(_sampled, run, frame, _path(folder, run, frame)) for run in runs]
    return tuple(counted((future.result() for future in futures), "aligning runs", len(futures), progress))


def _sampled(run: RecordedRun, frame: Frame, path: Path) -> RunSamples:
    """On a worker: recalled, or made and kept, so that a training that dies has lost the run at work only."""
    known = _recall(path, run)
    if known is not None:
        return known
    made = sample_run(run, frame, path)
    _remember(made)
    return made


def _path(folder: Path, run: RecordedRun, frame: Frame) -> Path:
    """Where samples of this run in this frame are kept; the name changes with whatever would change them."""
    digest = hashlib.sha256()
    for part in _made_from(run, frame):
        digest.update(hashlib.sha256(part).digest())
    return folder / f"{run.run_id}-{digest.hexdigest()[:24]}.npy"


def _recall(path: Path, run: RecordedRun) -> RunSamples | None:
    """What `_remember` kept beside `path`; None when it is not there or not whole."""
    try:
        content = io.BytesIO(_rest(path).read_bytes())
        with np.load(content, allow_pickle=False) as stored:
            return RunSamples(run, path, **{name: stored[name] for name in _ARRAYS}) if path.is_file() else None
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def _remember(sampled: RunSamples) -> None:
    """Keep a run whose samples are on disk; written last, so that a run cut off counts for nothing."""
    content = io.BytesIO()
    np.savez(content, **{name: getattr(sampled, name) for name in _ARRAYS})
    write_bytes(_rest(sampled.samples), content.getvalue())


def _rest(path: Path) -> Path:
    return path.with_suffix(".npz")


def _made_from(run: RecordedRun, frame: Frame) -> Iterable[bytes]:
    with run.bold.open("rb") as file:
        yield hashlib.file_digest(file, "sha256").digest()
    yield repr((run.tr_s, run.slice_times_s, run.n_volumes, frame.preprocessing)).encode()
    tissues = () if frame.tissues is None else (frame.tissues,)
    for array in (run.affine, frame.reference, frame.affine, frame.voxels, *tissues):
        yield repr((array.shape, array.dtype.str)).encode() + array.tobytes()
    for source in sorted(Path(preprocessing.__file__).parent.glob("*.py")):
        yield source.read_bytes()
