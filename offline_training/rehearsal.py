"""What a rehearsal with a scanner's own run needs: an untrained bundle, and events that pretend trials."""

from pathlib import Path

import numpy as np

from offline_training.errors import DatasetError
from offline_training.export import untrained_bundle
from realtime.bundle import Bundle
from realtime.music.catalogue import Catalogue, read_catalogue
from scanner_bridge.sources import open_source


def rehearse_with(source: Path, bundle: Path, catalogue: Path, clip_s: float, events: Path | None, seed: int) -> Bundle:
    """Make an untrained bundle for the run in `source`, and events that pretend clips were heard in it.

    The clips are drawn at random: what is decoded must fall inside the chance band, and a
    rehearsal in which it does not has a leak.

    Raises
    ------
    DatasetError
        The run is too short for one pretended trial, or holds no head.
    SourceError, CatalogueError
        Run or catalogue cannot be read.
    """
    music = read_catalogue(catalogue)
    run = open_source(source)
    try:
        volumes = list(run)
    finally:
        run.close()
    header = run.header
    window = max(round(clip_s / header.tr_s), 1)
    made = untrained_bundle(bundle, volumes, music.space, name=bundle.name, window_volumes=window, seed=seed,
                            lag_s=min(4.5, clip_s / 2), embedding_mean=music.centre.tolist(),
                            made_by=f"innerear export untrained {source.name}")
    if events is not None:
        _pretend(events, music, clip_s, len(volumes) * header.tr_s, seed)
    return made


def _pretend(path: Path, music: Catalogue, clip_s: float, run_s: float, seed: int) -> None:
    n_trials = int(run_s / clip_s)
    if n_trials < 1:
        raise DatasetError(f"the run lasts {run_s:g} s, shorter than one pretended trial of {clip_s:g} s; give a "
                           "smaller --clip-s")
    drawn = np.random.default_rng(seed).permutation(len(music.clips))[np.arange(n_trials) % len(music.clips)]
    clips = [music.clips[row] for row in drawn]
    lines = [f"{number * clip_s:g}\t{clip_s:g}\t{clip.clip_id}\t{clip.genre}" for number, clip in enumerate(clips)]
    path.write_text("\n".join(["onset\tduration\tclip_id\tgenre", *lines]) + "\n", encoding="utf-8")
