"""`innerear worker`: programs that make music with a large model, for a live session that asks them chunk by chunk."""

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer

from realtime.errors import GeneratorError, RealtimeError
from realtime.generators.worker_server import WorkerModel, serve
from realtime.music.catalogue import read_catalogue
from realtime.workers.magenta import MagentaModel, MagentaSettings
from scanner_bridge.complaints import one_sentence

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
                  help="Make music with a large model, in a process of its own; see docs/workers.md.")

EndpointOption = Annotated[str, typer.Option(help="Where to listen; the session's generator.worker.")]
_ENDPOINT = "tcp://127.0.0.1:5600"


@app.command()
def magenta(corpus: Annotated[Path, typer.Argument(help="The session's corpus, in MusicCoCa's space.")],
            endpoint: EndpointOption = _ENDPOINT,
            size: Annotated[str, typer.Option(help="mrt2_small or mrt2_base.")] = "mrt2_small",
            backend: Annotated[str, typer.Option(help="jax or mlx.")] = "jax",
            frames: Annotated[int, typer.Option(help="Of 40 ms in a chunk.", min=1, max=6)] = 3,
            style_tokens: Annotated[int, typer.Option(help="The first so many are told, the others masked.",
                                                      min=1, max=12)] = 12,
            guidance: Annotated[float, typer.Option(help="By the style.", min=-1.0, max=7.0)] = 3.0,
            gain_db: Annotated[float, typer.Option(help="Of the music.", min=-60.0, max=20.0)] = 0.0) -> None:
    """Magenta RealTime 2, conditioned by the decoded MusicCoCa vector itself."""
    with one_sentence(RealtimeError):
        catalogue = read_catalogue(corpus, check_audio=False)
        length = float(np.mean([np.linalg.norm(catalogue.embedding(clip.clip_id)) for clip in catalogue.clips]))
        known: Literal["jax", "mlx"] = "mlx" if backend == "mlx" else "jax"
        if backend != known:
            raise GeneratorError(f"backend is {backend!r}, wanted jax or mlx")
        settings = MagentaSettings(size, known, frames, style_tokens, guidance, gain_db=gain_db)
        _serve(MagentaModel.open(catalogue.space, length, settings), endpoint)


@app.command()
def musicgen(folder: Annotated[Path, typer.Argument(help="MusicGen, as transformers saves it; nothing is fetched.")],
             adapter: Annotated[Path, typer.Argument(help="What `innerear generator adapt` made.")],
             endpoint: EndpointOption = _ENDPOINT,
             device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
             segment_s: Annotated[float, typer.Option(help="New music at a time.")] = 3.0,
             ahead_s: Annotated[float, typer.Option(help="How early the next segment is ordered.")] = 2.0,
             prompt_s: Annotated[float, typer.Option(help="Of the last music that the next goes on from.")] = 1.0,
             guidance: Annotated[float, typer.Option(help="1 for none, which is twice as fast.")] = 3.0) -> None:
    """MusicGen, conditioned through an adapter; whole segments, so slower to change."""
    with one_sentence(RealtimeError):
        try:
            from realtime.workers.musicgen import MusicgenModel, MusicgenSettings  # noqa: PLC0415 - torch, only here
        except ImportError as exc:
            raise GeneratorError("this worker needs torch, transformers and soxr; install them with: pip install "
                                 "'innerear[embedder,corpus]'") from exc
        settings = MusicgenSettings(segment_s, prompt_s, ahead_s, guidance, device=device)
        _serve(MusicgenModel.open(folder, adapter, settings), endpoint)


def _serve(model: WorkerModel, endpoint: str) -> None:
    serve(model, endpoint, lambda bound: typer.echo(f"{model.name} listens at {bound}"))


if __name__ == "__main__":
    app()
