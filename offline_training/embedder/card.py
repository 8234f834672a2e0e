"""What an embedder can do with pieces it has not met, beside embedders that learnt nothing: figures and a page."""

import json
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offline_training.embedder.measures import like_neighbours, piece_identity, right_answers, search
from offline_training.embedder.pieces import HALF_S, TEST_KINDS, Kind, Pieces, make_pieces
from offline_training.embedder.settings import EmbedderSettings
from offline_training.embedder.truth import Truths, draw_claims
from offline_training.errors import DatasetError
from offline_training.progress import Progress
from offline_training.targets import LogMelEmbedder
from realtime.config import make_settings
from realtime.music.logmel import LogMelSettings, levels_db
from realtime.music.onnx_embedder import OnnxEmbedder

Figures = dict[str, Any]
REPORT_FILE = "report.json"
_MOSTLY = 0.5  # a genre is asked for where more than half the parts are of it
_N_CLAIMS = 400


@dataclass(frozen=True, eq=False)
class _Heard:
    """Vectors of one embedder: of whole windows, and of two halves that do not touch; shape (n, dim) each."""

    whole: NDArray[np.float32]
    first: NDArray[np.float32]
    second: NDArray[np.float32]


def read_settings(folder: Path, n_test_pieces: int) -> EmbedderSettings:
    """Settings that an embedder was trained with, from its report; with another number of test pieces.

    Raises
    ------
    DatasetError
        No report there, or one that does not hold settings.
    """
    path = folder / REPORT_FILE
    try:
        settings = json.loads(path.read_bytes())["settings"]
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise DatasetError(f"{path} does not say how the embedder was trained ({exc}); only one that innerear embedder "
                           "train made can be measured") from exc
    return make_settings(EmbedderSettings, settings, {"pieces.n_test_pieces": n_test_pieces}, f"of {path}")


def measure(embedder: OnnxEmbedder, settings: EmbedderSettings, executor: Executor,
            progress: Progress | None = None) -> Figures:
    """Figures of an embedder on fresh pieces of the three test kinds.

    Parameters
    ----------
    embedder : OnnxEmbedder
        Its front end and window must be those of the settings.
    settings : EmbedderSettings
        It was trained with: they say which pieces it has met.
    executor : Executor
        Where pieces are made.
    progress : Progress, optional
        Told of everything that is done.
    """
    pieces = {kind: make_pieces(kind, settings, executor, progress) for kind in TEST_KINDS}
    return {kind: _measure_kind(embedder, pieces, kind, settings) for kind in TEST_KINDS}


def _measure_kind(embedder: OnnxEmbedder, pieces: Mapping[Kind, Pieces], kind: Kind,
                  settings: EmbedderSettings) -> Figures:
    test = pieces[kind]
    ours = _hear(test, settings, embedder.embed_levels)
    others = {"log-mel statistics": _statistics(pieces, kind),
              "random projection": _hear(test, settings, _random_projection(settings))}
    figures = {"n_pieces": len(test.levels), "read_off": _read_off(embedder, ours.whole, test.truths),
               "neighbours": {embedder.spec.name: _neighbours(ours, test.truths)}
               | {name: _neighbours(heard, test.truths) for name, heard in others.items()}}
    if embedder.spec.text:
        figures["words"] = _words(embedder, ours.whole, test.truths)
    return figures


def _read_off(embedder: OnnxEmbedder, vectors: NDArray[np.float32], truths: Truths) -> Figures:
    probes = embedder.probes
    if probes is None:
        return {}
    clear = truths.shares.max(axis=1) > _MOSTLY
    said = {kind: probes.logits(kind, vectors).argmax(axis=1) for kind in ("genre", "lead", "mood")}
    octaves = probes.logits("tempo", vectors)[:, 0] - np.log2(truths.bpm / 100)
    return {"genre": asdict(right_answers(said["genre"][clear], truths.genre[clear])),
            "lead": asdict(right_answers(said["lead"], truths.lead)),
            "mood": asdict(right_answers(said["mood"], truths.mood)),
            "tempo_error_percent_median": round(float(100 * (2 ** np.median(np.abs(octaves)) - 1)), 2)}


def _neighbours(heard: _Heard, truths: Truths) -> Figures:
    clear = truths.shares.max(axis=1) > _MOSTLY
    identity = piece_identity(heard.first, heard.second)
    return {"genre": asdict(like_neighbours(heard.whole[clear], truths.genre[clear])),
            "lead": asdict(like_neighbours(heard.whole, truths.lead)),
            "mood": asdict(like_neighbours(heard.whole, truths.mood)),
            "tempo": asdict(like_neighbours(heard.whole, truths.tempo)),
            "identity": asdict(identity.accuracy), "identity_top1": round(identity.top1, 4)}


def _words(embedder: OnnxEmbedder, vectors: NDArray[np.float32], truths: Truths) -> Figures:
    rng = np.random.default_rng(7)
    rows = rng.integers(0, len(vectors), _N_CLAIMS)
    claims = draw_claims(truths, rows, rng)
    said = np.stack([embedder.embed_text(claims.text(row, rng)) for row in range(_N_CLAIMS)])
    found = search(claims, said, truths, vectors)
    return {key: asdict(value) for key, value in vars(found).items()}


def _hear(pieces: Pieces, settings: EmbedderSettings,
          embed: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> _Heard:
    front_end = settings.front_end
    window, half = front_end.n_frames(settings.window_s), front_end.n_frames(HALF_S)

    def part(start: int, stop: int) -> NDArray[np.float32]:
        return np.stack([embed(_again(levels[start:stop], front_end)) for levels in pieces.levels])

    n_frames = pieces.levels.shape[1]
    return _Heard(part(0, window), part(0, half), part(n_frames - half, n_frames))


def _again(levels: NDArray[np.float16], settings: LogMelSettings) -> NDArray[np.float32]:
    """Levels of a part of a piece, relative to its own mean power."""
    return levels_db(np.float32(10) ** levels.astype(np.float32), settings)


def _random_projection(settings: EmbedderSettings) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    weights = np.random.default_rng(0).standard_normal((2 * settings.front_end.n_bands, settings.dim))

    def embed(levels: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(np.concatenate([levels.mean(axis=0), levels.std(axis=0)]) @ weights, np.float32)

    return embed


def _statistics(pieces: Mapping[Kind, Pieces], kind: Kind) -> _Heard:
    """Principal components of log-mel statistics, fitted on pieces of another kind."""
    other: Kind = "corpus" if kind != "corpus" else "new seeds"
    heard = pieces[other].statistics[:, 0]
    embedder = LogMelEmbedder.fit(heard, min(32, len(heard) - 1))
    return _Heard(*(embedder.project(pieces[kind].statistics[:, part]) for part in range(3)))


def page(name: str, figures: Figures, command: str) -> str:
    """The figures as Markdown, for people."""
    lines = [f"# {name}", "", f"Made by `{command}`. Settings, figures and checksums: `report.json`.", "",
             "Every figure is a share of right answers; in brackets the 95th percentile with shuffled truth.",
             "A genre has three held-out instruments at most: there, neighbours of the genre often share the",
             "instrument, whoever is asked; only what is read off shows whether the two were learnt apart.", ""]
    for kind in TEST_KINDS:
        lines += [f"## {kind} ({figures[kind]['n_pieces']} pieces)", "", *_tables(figures[kind]), ""]
    return "\n".join(lines)


def _tables(figures: Figures) -> list[str]:
    read = figures["read_off"]
    rows = ["| read off one vector | genre | melody instrument | mood | tempo, median error |", "|---|---|---|---|---|",
            "| linear probe | " + " | ".join(_cell(read[kind]) for kind in ("genre", "lead", "mood"))
            + f" | {read['tempo_error_percent_median']:.1f} % |", "",
            "| five nearest of the same | genre | melody instrument | mood | tempo class | other half of the piece, "
            "identification (and nearest) |", "|---|---|---|---|---|---|"]
    for name, row in figures["neighbours"].items():
        rows.append(f"| {name} | " + " | ".join(_cell(row[kind]) for kind in ("genre", "lead", "mood", "tempo"))
                    + f" | {_cell(row['identity'])}, {row['identity_top1']:.2f} |")
    if "words" in figures:
        words = figures["words"]
        rows += ["", "| words | best piece fits | of the best ten | best words for a piece are true |",
                 "|---|---|---|---|"]
        cells = [_cell(words[key]) for key in ("first_hit", "ten_hits", "words_for_piece")]
        rows.append("| captions | " + " | ".join(cells) + " |")
    return rows


def _cell(share: Mapping[str, float]) -> str:
    return f"{share['value']:.2f} ({share['chance_p95']:.2f})"

