"""A whole visit without a scanner: the demo's person does what the plan asks for, in a simulated scanner.

The console, the visit and the bridge are the programs that an operator starts; only the person and the scanner are
made up. A run is scanned as soon as it waits for volumes.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel

from offline_training.corpus import read_corpus
from offline_training.demo import DemoFolder
from offline_training.errors import TrainingError
from offline_training.simulation.designed import record_design
from offline_training.simulation.music import Music
from offline_training.simulation.person import Person, make_person
from offline_training.simulation.settings import SimulationSettings
from realtime.atomic import write_bytes
from realtime.bundle import read_bundle
from realtime.config import load_settings, make_settings
from realtime.experiment.acquisition import Acquisition
from realtime.experiment.design import DesignSettings, generate
from realtime.experiment.run_design import read_run_design
from realtime.session.folder import SessionFolder

N_REFERENCE = 12
_DESIGN = """# Made by `innerear rehearse`; configs/imagery.toml says what more there is.
clips = {clips}
trial = {trial}
blocks = 1
min_distance = 1
jitter_s = 2.0
lead_s = 8.0
tail_s = 6.0
washout_s = 2.0

[seconds]
cue = 2.0
listen = 8.0
imagine = 10.0
wait = 4.0
feedback = 6.0
rest = 2.0
"""
_PLAN = """# Made by `innerear rehearse`; configs/plan.toml says what more there is.
subject = "{subject}"
bundle = "{bundle}"
catalogue = "{catalogue}"
folder = "{folder}"

[acquisition]
tr_s = {tr_s:g}

[bridge]
endpoint = "{endpoint}"

[bus]
broker = "{broker}"

[console]
port = {port}

[playback]
sink = "{sink}"
"""
_TRIALS = {"warm-up": ["cue", "listen", "wait", "rest"], "feedback": ["cue", "imagine", "wait", "feedback", "rest"]}
_RUNS = (("reference", "reference"), ("warm-up", "warm-up"), ("train-1", "feedback"), ("train-2", "feedback"))


@dataclass(frozen=True)
class VisitRehearsal:
    """What is rehearsed, and where.

    Attributes
    ----------
    demo : DemoFolder
        Its person, music and decoder.
    out : Path
        For plan, designs, scans and the visit; gone on with when they are there.
    broker : str
        "embedded" or an address.
    console_port : int
        Of the page.
    speed : float
        Times the scanner's pace.
    endpoint : str
        Where the bridge delivers.
    sink : str
        Of the player.
    """

    demo: DemoFolder
    out: Path
    broker: str = "embedded"
    console_port: int = 8088
    speed: float = 4.0
    endpoint: str = "tcp://127.0.0.1:5577"
    sink: str = "auto"

    @property
    def plan(self) -> Path:
        """The visit's plan."""
        return self.out / "plan.toml"

    @property
    def visit(self) -> Path:
        """The visit."""
        return self.out / "visit"


def prepare(rehearsal: VisitRehearsal) -> Person:
    """Meet the demo's person, and write plan and designs unless they are there.

    Raises
    ------
    TrainingError
        There is no demo yet.
    RealtimeError
        Its files cannot be read.
    """
    truth = rehearsal.demo.dataset / "sourcedata" / "truth" / "settings.json"
    if not truth.exists() or not rehearsal.demo.bundle.exists():
        raise TrainingError(f"{rehearsal.demo.path} holds no finished demo, and a rehearsal needs its person and "
                            "decoder; run `make demo` first, or name its folder with --demo")
    settings = make_settings(SimulationSettings, json.loads(truth.read_bytes()), {}, str(truth))
    person = make_person(Music.of(read_corpus(rehearsal.demo.dataset / "stimuli")), settings)
    if not rehearsal.plan.exists():
        _write_plan(rehearsal, person)
    return person


def _write_plan(rehearsal: VisitRehearsal, person: Person) -> None:
    tr_s, clips, folder = person.settings.scanner.tr_s, _one_per_genre(person.music)[:3], rehearsal.demo
    rehearsal.out.mkdir(parents=True, exist_ok=True)
    n_volumes = {"reference": N_REFERENCE}
    for kind, trial in _TRIALS.items():
        path = rehearsal.out / f"{kind}.toml"
        write_bytes(path, _DESIGN.format(clips=json.dumps(clips), trial=json.dumps(trial)).encode())
        last = generate(load_settings(path, DesignSettings), Acquisition(tr_s), 1)[-1]
        n_volumes[kind] = last.first_volume + last.n_volumes
    text = _PLAN.format(
        subject=read_bundle(folder.bundle).manifest.subject, bundle=folder.bundle.resolve(),
        catalogue=(folder.dataset / "stimuli").resolve(), folder=rehearsal.visit.resolve(), tr_s=tr_s,
        endpoint=rehearsal.endpoint, broker=rehearsal.broker, port=rehearsal.console_port, sink=rehearsal.sink)
    for seed, (name, kind) in enumerate(_RUNS, start=1):
        text += f'\n[[runs]]\nname = "{name}"\nkind = "{kind}"\nn_volumes = {n_volumes[kind]}\n'
        text += "" if kind == "reference" else f'design = "{(rehearsal.out / kind).resolve()}.toml"\nseed = {seed}\n'
        text += "" if kind != "feedback" else f'\n[runs.feedback]\nmode = "target"\ntarget = "{clips[0]}"\n'
    write_bytes(rehearsal.plan, text.encode())


def _one_per_genre(music: Music) -> list[str]:
    """Clips that the decoder was not trained on, no two of a genre."""
    firsts: dict[str, str] = {}
    for clip_id, genre, training in zip(music.clip_ids, music.genres, music.training, strict=True):
        if not training:
            firsts.setdefault(genre, clip_id)
    return list(firsts.values())


def scan(rehearsal: VisitRehearsal, person: Person, run: SessionFolder) -> Path:
    """Make the volumes of a run that waits for them, once, as a file for the bridge.

    Raises
    ------
    EventsError
        The run has no design that can be read.
    """
    path = rehearsal.out / "scans" / f"{run.path.name}_bold.nii"
    if path.exists():
        return path
    design = read_run_design(run.design)
    number = len(list(rehearsal.out.glob("scans/*_bold.nii")))
    recording = record_design(person, design, design.n_volumes, number)
    scanner = person.settings.scanner
    image: Any = nibabel.Nifti1Image(recording.volumes.T, person.phantom.affine)  # type: ignore[no-untyped-call]
    image.header.set_zooms((*scanner.voxel_mm, scanner.tr_s))
    image.header.set_xyzt_units("mm", "sec")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name.replace("_bold", "_part"))
    nibabel.save(image, part)
    path.with_suffix(".json").write_text(json.dumps({"RepetitionTime": scanner.tr_s}), encoding="utf-8")
    part.replace(path)
    return path
