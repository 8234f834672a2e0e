"""What decoded vectors become as music: the clip that is retrieved, and what generators make of them.

Both are embedded again by a second embedder and held against what was heard; the decoded vectors, which are no sound,
are judged in their own space. Offline, on held-out trials; `offline_training.played_music` judges what really sounded.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offline_training.embedders import SHIPPED
from offline_training.evaluate import best_clips
from offline_training.evaluation.music import music_card
from offline_training.evaluation.scorecard import Draws, Judged
from offline_training.generator.fidelity import Make
from offline_training.generator.makers import makers
from offline_training.generator.pieces import played
from offline_training.heard_again import check_second, embed_clips, embed_sound
from offline_training.progress import Progress, counted
from realtime.generators.conditioning import snap
from realtime.generators.settings import GeneratorSettings
from realtime.generators.token_model import read_spec
from realtime.messages import Condition, EmbeddingSpace
from realtime.music.attributes import AttributeProbes
from realtime.music.catalogue import Catalogue
from realtime.music.onnx_embedder import OnnxEmbedder
from realtime.playback.settings import RATE_HZ
from realtime.reliability import Reliability

MOST_TRIALS = 60


@dataclass(frozen=True, eq=False)
class Remaking:
    """How music is made of decoded vectors and judged.

    Attributes
    ----------
    scorer : OnnxEmbedder
        The second embedder, with read-outs.
    probes : AttributeProbes or None
        Read-outs of the catalogue's own space, for the decoded vectors.
    makers : mapping of str to Make
        Generators of the catalogue's space.
    most_trials : int
        Of more, so many are drawn.
    """

    scorer: OnnxEmbedder
    probes: AttributeProbes | None = None
    makers: Mapping[str, Make] = field(default_factory=dict)
    most_trials: int = MOST_TRIALS


def makers_in(space: EmbeddingSpace) -> dict[str, Make]:
    """The shipped generators that take conditions of this space; none for most."""
    fitting = (folder for folder in sorted(SHIPPED.glob("generator-*"))
               if EmbeddingSpace(**read_spec(folder)["space"]) == space)
    return {name: make for folder in fitting for name, make in makers(folder).items()}


def remade_music(judged: Judged, counts: NDArray[np.intp], reliability: Reliability, catalogue: Catalogue,
                 how: Remaking, draws: Draws, progress: Progress | None = None) -> dict[str, Any]:
    """Figures of decoded, retrieved and generated music.

    Parameters
    ----------
    judged : Judged
        Single trials in the catalogue's space.
    counts : intp array of shape (n_trials,)
        Usable volumes behind each; trials without any are left out.
    reliability : Reliability
    catalogue : Catalogue
        With its audio.
    how : Remaking
    draws : Draws
    progress : Progress, optional

    Returns
    -------
    figures : dict
        `scorer`; `n_trials` of `n_there`; and in `sources` a `music_card` with its `space` by name: "decoded",
        "retrieved", and each generator's.

    Raises
    ------
    DatasetError
        A clip's audio cannot be read, or the scorer is the catalogue's own embedder.
    """
    check_second(how.scorer, catalogue.space)
    there = np.flatnonzero(counts > 0)
    rows = np.sort(np.random.default_rng(draws.seed).permutation(there)[: how.most_trials])
    own = _only(judged, rows)
    best = best_clips(own.predictions, counts[rows], reliability, catalogue)
    clips = embed_clips(catalogue, [*own.clip_ids, *best], how.scorer, progress)
    heard = replace(own, targets=np.stack([clips[name] for name in own.clip_ids]).astype(np.float64))
    sources = {"decoded": {"space": catalogue.space.name} | music_card(own, how.probes, draws)}
    made = {"retrieved": np.stack([clips[name] for name in best]).astype(np.float64)}
    made |= {name: _generated(make, own.predictions, catalogue, how.scorer, name, progress)
             for name, make in how.makers.items()}
    sources |= {name: {"space": how.scorer.space.name} | music_card(heard.with_predictions(vectors), how.scorer.probes,
                                                                    draws) for name, vectors in made.items()}
    return {"scorer": how.scorer.space.name, "n_trials": len(rows), "n_there": len(there), "sources": sources}


def _only(judged: Judged, rows: NDArray[np.intp]) -> Judged:
    return Judged(judged.predictions[rows], judged.targets[rows], *(
        tuple(names[row] for row in rows) for names in (judged.clip_ids, judged.genres, judged.run_ids)))


def _generated(make: Make, decoded: NDArray[np.float64], catalogue: Catalogue, scorer: OnnxEmbedder, name: str,
               progress: Progress | None) -> NDArray[np.float64]:
    """Vectors of ten seconds of a fresh generator's music for each decoded vector, snapped as in a session."""
    sharpness, rows = GeneratorSettings().snap, []
    for row in counted(iter(decoded.astype(np.float32)), f"playing the {name}", len(decoded), progress):
        sound = played(make(0), Condition(0, 0, snap(row, catalogue, sharpness)))
        vector = embed_sound(sound, RATE_HZ, scorer)
        rows.append(np.full(scorer.space.dim, np.nan) if vector is None else vector)
    return np.array(rows, np.float64)
