"""Whatever a path names, as an embedder."""

from pathlib import Path

from offline_training.errors import DatasetError
from offline_training.targets import LogMelEmbedder
from realtime.music.embedder_spec import SPEC_FILE
from realtime.music.onnx_embedder import OnnxEmbedder
from realtime.ports import Embedder

SHIPPED = Path(__file__).resolve().parents[1] / "exported_models"


def open_embedder(name: str | Path) -> Embedder:
    """Open an embedder.

    Parameters
    ----------
    name : str or Path
        One that comes with the program, such as "synth-128"; or a folder with a spec.json; or a folder
        with a CLAP model; or the embedder.npz of a corpus.

    Raises
    ------
    DatasetError
        There is nothing of the kind.
    EmbedderError
        There is one, but damaged.
    """
    shipped = SHIPPED / f"embedder-{name}"
    path = shipped if (shipped / SPEC_FILE).exists() else Path(name)
    if (path / SPEC_FILE).exists():
        return OnnxEmbedder.read(path)
    if (path / "config.json").exists():
        try:
            from offline_training.embedder.clap import ClapEmbedder  # noqa: PLC0415 - torch, only when asked for
        except ImportError as exc:
            raise DatasetError(f"the CLAP model in {path} needs torch and transformers; install them with: pip install "
                               "'innerear[embedder]'") from exc
        return ClapEmbedder.read(path)
    if path.suffix == ".npz":
        return LogMelEmbedder.load(path)
    known = ", ".join(sorted(folder.name.removeprefix("embedder-") for folder in SHIPPED.glob("embedder-*")))
    raise DatasetError(f"no embedder {str(name)!r}: wanted one of {known}, a folder with {SPEC_FILE} or a CLAP model, "
                       "or an embedder.npz; correct the name")


def open_scorer(name: str | Path) -> OnnxEmbedder:
    """Open an embedder that can judge music: one with read-outs of genre, instrument and mood.

    Raises
    ------
    DatasetError
        It has none.
    EmbedderError
        It is damaged.
    """
    embedder = open_embedder(name)
    if not isinstance(embedder, OnnxEmbedder) or embedder.probes is None:
        raise DatasetError(f"the embedder {str(name)!r} has no read-outs of genre, instrument and mood to judge with; "
                           "use one that innerear embedder train made, such as scorer-64")
    return embedder
