"""COBIDAS: what an MRI study should report (Nichols et al. 2017, Nat Neurosci 20:299), by table, in our words.

The published tables have aspects without numbers: here they are counted within their table. The last area holds what
real-time fMRI adds (after the reviews of real-time methods by Heunis et al. 2020).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from offline_training.checklists import facts as words
from offline_training.checklists.facts import Facts
from offline_training.checklists.item import Item, Line

_AREAS = {
    "D1": "Experimental design",
    "D2": "Acquisition",
    "D3": "Preprocessing",
    "D4": "Modelling and inference",
    "D5": "Results",
    "D6": "Data sharing",
    "D7": "Reproducibility",
    "RT": "Real time",
}


_WITHHELD = "(withheld)"


@dataclass(frozen=True)
class Answer:
    """What an aspect asks for, what the record says, where it stands, and what is left to ask."""

    what: str
    text: str = ""
    stands_in: str = ""
    question: str = ""


def cobidas(known: Facts) -> tuple[Item, ...]:
    """The checklist, answered as far as the record goes."""
    items: list[Item] = []
    for table, answers in (
        ("D1", _design),
        ("D2", _acquisition),
        ("D3", _preprocessing),
        ("D4", _modelling),
        ("D5", _results),
        ("D6", _sharing),
        ("D7", _reproducibility),
        ("RT", _real_time),
    ):
        items += [
            _item(f"{table}.{place}", _AREAS[table], answer) for place, answer in enumerate(answers(known), start=1)
        ]
    return tuple(items)


def _item(number: str, area: str, answer: Answer) -> Item:
    line = Line(number, area, answer.what)
    return line.withheld() if answer.text == _WITHHELD else line.filled(answer.text, answer.stands_in, answer.question)


def _design(known: Facts) -> Iterator[Answer]:
    trials = known.per_run(words.trial_kinds)
    yield Answer(
        "Number of participants",
        f"this page is of one: {known.subject}",
        "record.jsonl (bundle.subject)",
        "How many took part, and how many were left out, why?",
    )
    yield Answer("Inclusion, exclusion, recruitment", "", "", "By which criteria were participants chosen?")
    yield Answer("Age, sex, handedness, musical training", "", "", "What are they?")
    yield Answer("Ethics and consent", "", "", "Which board approved it, and how was consent given?")
    yield Answer("Design: conditions, trials, blocks and their lengths", trials, "design.json; events.tsv", "")
    yield Answer(
        "Runs: number and length",
        known.per_run(
            lambda run: (
                f"{run.task}, {len(run.view.steps.volume)} volumes, {len(run.view.steps.volume) * run.view.tr_s:g} s"
            )
        ),
        "record.jsonl",
        "",
    )
    yield Answer(
        "Stimuli",
        f"{known.first.start['n_clips']} clips in the catalogue",
        "catalogue/corpus.json",
        "Where do the recordings come from, and under which licence?",
    )
    yield Answer("Instructions", "", "", "What were participants told?")
    yield Answer(
        "Stimulus presentation",
        f"sound by {known.first.summary.get('sink') or 'an unknown sink'}, onsets recorded by the sample",
        "summary.json; timing.jsonl",
        "Through which device at the ear, at which level?",
    )
    yield Answer("Behaviour during the scan", _ratings(known), "record.jsonl (events: rate)", "What else was measured?")


def _ratings(known: Facts) -> str:
    n_rated = sum(note.split(": ")[0].endswith("rate") for run in known.runs for note in run.view.notes)
    return f"{n_rated} ratings of vividness" if n_rated else ""


def _acquisition(known: Facts) -> Iterator[Answer]:
    view = known.first
    first = known.runs[0].design
    yield Answer("Scanner: maker, model, field strength, coil", "", "", "Which scanner and coil?")
    yield Answer(
        "Pulse sequence, echo time, flip angle, acceleration", "", "", "Which sequence, with which parameters?"
    )
    yield Answer("Matrix, voxel size, slices, repetition time", words.protocol(view), "record.jsonl (run)", "")
    yield Answer("Orientation", _orientation(known), "record.jsonl (run.affine)", "")
    silence = first.acquisition if first is not None else None
    sparse = silence is not None and (silence.silence_s > 0 or silence.gap_s > 0)
    yield Answer(
        "Continuous or sparse",
        "with silent gaps" if sparse else "volume after volume without a pause",
        "design.json",
        "",
    )
    yield Answer(
        "Volumes that were acquired, and that came",
        known.per_run(lambda run: f"{len(run.view.steps.volume)} volumes, {run.view.steps.n_lost} lost"),
        "summary.json",
        "",
    )
    yield Answer(
        "Trigger",
        known.per_run(lambda run: _trigger(run.view.summary.get("trigger"))),
        "summary.json (trigger)",
        "How was the start of the scan taken?",
    )
    yield Answer("Prospective motion correction, fat suppression, shimming", "", "", "Which were on?")
    yield Answer("Structural and field-map images", "", "", "Which were acquired?")


def _orientation(known: Facts) -> str:
    affine = known.first.start["run"]["affine"]
    return f"voxel to mm {[round(float(value), 3) for value in affine[:12]]}"


def _trigger(found: object) -> str:
    return str(found["sentence"]) if isinstance(found, dict) else ""


def _preprocessing(known: Facts) -> Iterator[Answer]:
    settings = known.settings
    if known.hidden or settings is None:
        yield Answer("All steps and their order", _WITHHELD if known.hidden else "", "", "How were data processed?")
        return
    yield Answer("Software and version", str(known.first.start["software"]), "record.jsonl (software)", "")
    yield Answer("All steps and their order", words.preprocessing(settings), "bundle/manifest.json (preprocessing)", "")
    yield Answer(
        "Motion: reference and estimate",
        f"rigid, every volume to the training reference, at most "
        f"{settings.max_iterations} steps until {settings.stop_mm:g} mm",
        "bundle/manifest.json",
        "",
    )
    yield Answer("Motion: how much there was", known.per_run(lambda run: words.quality(run.view)), "record.jsonl", "")
    yield Answer(
        "Slice timing",
        "to the volume's start" if settings.slice_times_s else "not corrected",
        "bundle/manifest.json (slice_times_s)",
        "",
    )
    yield Answer(
        "Spatial smoothing",
        f"{settings.smoothing_fwhm_mm:g} mm FWHM" if settings.smoothing_fwhm_mm else "none",
        "bundle/manifest.json (smoothing_fwhm_mm)",
        "",
    )
    yield Answer("Distortion correction", "none online", "bundle/manifest.json", "")
    yield Answer("Spatial normalisation", "none: the decoder lives in the person's own space", "bundle/arrays.npz", "")
    yield Answer(
        "Nuisance regression",
        f"{settings.nuisance_motion} motion regressors{', tissue means' if settings.nuisance_tissues else ''}"
        if settings.nuisance_motion or settings.nuisance_tissues
        else "none",
        "bundle/manifest.json (nuisance_motion, nuisance_tissues)",
        "",
    )
    yield Answer(
        "Scrubbing",
        f"volumes beyond {settings.censor_fd_mm:g} mm are no evidence and move no statistics",
        "record.jsonl (decoding.motion_limit_mm)",
        "",
    )


def _modelling(known: Facts) -> Iterator[Answer]:
    if known.hidden:
        yield Answer("Model, its training and its validation", _WITHHELD, "", "")
        return
    yield Answer(
        "Model, its training and its validation",
        words.decoder(known.first),
        "bundle/manifest.json",
        "How was the training session acquired?",
    )
    yield Answer(
        "Voxels",
        f"{known.first.start['bundle']['n_voxels']} voxels, listed in the bundle",
        "bundle/arrays.npz",
        "From which mask or atlas?",
    )
    yield Answer(
        "Statistic and null",
        "identification accuracy of single trials against random assignments of the run's clips",
        "summary.json",
        "Which tests were planned, with which correction for multiple testing?",
    )


def _results(known: Facts) -> Iterator[Answer]:
    found = _WITHHELD if known.hidden else known.per_run(lambda run: words.identification(run.view))
    yield Answer(
        "Effect, its spread and its null", found, "summary.json", "" if known.hidden else "What is the group's result?"
    )
    yield Answer("Attempts that were left out", f"{known.n_aborted} aborted", "record.jsonl (end, stop)", "")


def _sharing(known: Facts) -> Iterator[Answer]:
    yield Answer(
        "What is shared, how",
        "`innerear export bids` writes a BIDS data set with derivatives",
        "README",
        "Where is it, under which licence, and what does the consent allow?",
    )


def _reproducibility(known: Facts) -> Iterator[Answer]:
    software = str(known.first.start["software"])
    yield Answer("Software, versions", software, "record.jsonl (software)", "")
    yield Answer(
        "Whether it can be repeated",
        "every step follows from journal.bin by `innerear replay`, byte for byte",
        "journal.bin, record.jsonl",
        "Where is the analysis code?",
    )


def _real_time(known: Facts) -> Iterator[Answer]:
    yield Answer(
        "Delay of the feedback",
        _WITHHELD if known.hidden else known.per_run(lambda run: words.latency(run.view)),
        "timing.jsonl",
        "",
    )
    yield Answer(
        "Outliers and spikes",
        "DVARS and framewise displacement of every volume; lost volumes are gaps, nothing is made up",
        "record.jsonl",
        "",
    )
    yield Answer("Feedback rule", known.per_run(words.feedback_rule), "design.json; session.json", "")
    yield Answer("Breathing and heartbeat", "", "", "Were they recorded or controlled for?")
    yield Answer("Control region, differential feedback", "", "", "Was there one?")
