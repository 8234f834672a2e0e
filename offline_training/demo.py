"""The whole loop in one go: simulate a person, train on them, stream a held-out run live, report."""

import asyncio
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from offline_training.errors import TrainingError
from offline_training.progress import Progress
from offline_training.report import write_report
from offline_training.runs import read_dataset
from offline_training.simulation.dataset import simulate_session
from offline_training.simulation.settings import SimulationSettings
from offline_training.train import train
from offline_training.train_settings import TrainSettings
from offline_training.workers import worker_processes
from realtime.console.table import SessionTable
from realtime.music.catalogue import read_catalogue
from realtime.rehearsal import Rehearsal, rehearse
from realtime.session.summary import Figures

_MARKER = ".innerear-demo"


@dataclass(frozen=True)
class DemoSettings:
    """The demo.

    Attributes
    ----------
    speed : float
        Times the scanner's pace.
    sink : str
        Of the player.
    simulation : SimulationSettings
        The person, the music and the runs.
    training : TrainSettings
        The decoder.
    """

    speed: float = 1.0
    sink: str = "auto"
    simulation: SimulationSettings = field(default_factory=SimulationSettings)
    training: TrainSettings = field(default_factory=TrainSettings)


@dataclass(frozen=True)
class DemoFolder:
    """Where the demo writes.

    Attributes
    ----------
    path : Path
        Made anew by every demo; only a folder that a demo made is ever removed.
    """

    path: Path

    @property
    def dataset(self) -> Path:
        """The simulated scanning session, BIDS."""
        return self.path / "dataset"

    @property
    def bundle(self) -> Path:
        """The trained decoder."""
        return self.path / "bundle"

    @property
    def session(self) -> Path:
        """The live session."""
        return self.path / "session"

    @property
    def report(self) -> Path:
        """The page about it."""
        return self.session / "report.html"

    def renew(self) -> None:
        """An empty folder; refuses to empty one that no demo made.

        Raises
        ------
        TrainingError
            The folder holds something else.
        """
        if self.path.exists():
            if any(self.path.iterdir()) and not (self.path / _MARKER).exists():
                raise TrainingError(f"{self.path} holds files that no demo made; choose another folder with --out")
            shutil.rmtree(self.path)
        self.path.mkdir(parents=True)
        (self.path / _MARKER).touch()


def run_demo(folder: DemoFolder, settings: DemoSettings, progress: Progress, say: Callable[[str], None],
             show: Callable[[], SessionTable]) -> Figures:
    """Run all four acts and return the session's figures.

    Parameters
    ----------
    folder : DemoFolder
        Made anew.
    settings : DemoSettings
        What to do.
    progress : Progress
        Told of everything that is done.
    say : callable
        Called with a sentence at each act.
    show : callable
        Gives what shows the live status.

    Raises
    ------
    TrainingError, RealtimeError, BridgeError
        An act failed; the sentence says which and why.
    """
    began_s = time.monotonic()
    folder.renew()
    say("1 of 4  A person lies in a simulated scanner and listens to music")
    simulated = simulate_session(folder.dataset, settings.simulation, progress)
    say("2 of 4  A decoder learns from the training runs, volume by volume, through the live preprocessing")
    dataset = read_dataset(folder.dataset)
    catalogue = read_catalogue(simulated.corpus)
    with worker_processes() as executor:
        trained = train(dataset, catalogue, folder.bundle, executor, settings.training, progress, "innerear demo")
    say(f"        {trained.n_trials} trials; cross-validated identification accuracy {trained.fit.identification:.2f} "
        "(chance 0.50)")
    say(f"3 of 4  A run it has never seen is streamed live, at {settings.speed:g} times the scanner's pace")
    held_out = dataset.test[0]
    plan = Rehearsal(held_out.bold, folder.bundle, simulated.corpus, folder.session, held_out.events_path,
                     settings.speed, settings.sink)
    with show() as table:
        figures = asyncio.run(rehearse(plan, table.show))
    say("4 of 4  The session becomes a page")
    write_report(folder.session, folder.report)
    return {**figures, "report": str(folder.report), "training_trials": trained.n_trials,
            "cross_validated_identification_accuracy": trained.fit.identification,
            "seconds_total": round(time.monotonic() - began_s, 2)}
