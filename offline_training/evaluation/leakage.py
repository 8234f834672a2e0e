"""Whether anything of a test lies in what was learnt from: said in the report, in sentences, and counted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offline_training.evaluation.heard import Heard
from offline_training.splits import border_crossings, deal_folds


@dataclass(frozen=True)
class Check:
    """One check: what was looked at, whether it held, and what was found."""

    what: str
    holds: bool
    found: tuple[str, ...] = ()

    def figures(self) -> dict[str, Any]:
        """For JSON; at most ten findings."""
        return {"what": self.what, "holds": self.holds, "n_found": len(self.found), "found": list(self.found[:10])}


def split_checks(training: Heard, test: Heard) -> tuple[Check, ...]:
    """Training against test: no run, clip or track on both sides.

    Parameters
    ----------
    training, test : Heard
    """
    sides = {"run": (training.run_ids, test.run_ids), "clip": (training.clip_ids, test.clip_ids),
             "track": (training.tracks, test.tracks)}
    return tuple(Check(f"no {what} is in training and test", not shared, shared)
                 for what, (known, held) in sides.items()
                 for shared in (tuple(sorted(set(known) & set(held))),))


def fold_checks(fold: NDArray[np.intp], runs: Sequence[str], tracks: Sequence[str]) -> tuple[Check, ...]:
    """The folds of a cross-validation: no run (so no neighbouring volume) and no track crosses a border.

    Parameters
    ----------
    fold : intp array
        Of each trial, or of each volume.
    runs, tracks : sequences of str
        As in `offline_training.splits.deal_folds`.
    """
    found = border_crossings(fold, runs, tracks)
    kinds = (("run ", "no run, and so no neighbouring volume, crosses a fold's border"),
             ("track ", "no track crosses a fold's border"))
    return tuple(Check(what, not crossed, crossed) for kind, what in kinds
                 for crossed in (tuple(line for line in found if line.startswith(kind)),))


def planted(fold: NDArray[np.intp], runs: Sequence[str], tracks: Sequence[str], seed: int = 0) -> Check:
    """Whether a leak planted on purpose is noticed: the same trials dealt into folds by lot.

    A check that cannot fail says nothing; this one shows that the others can.
    """
    dealt = np.random.default_rng(seed).permutation(fold)
    noticed = border_crossings(dealt, runs, tracks)
    return Check("a split by lot, planted on purpose, is noticed", bool(noticed), noticed[:1])


def leakage(training: Heard, test: Heard, n_folds: int = 6) -> dict[str, Any]:
    """All checks of a session, for JSON: the split of training and test, the folds of the training, a planted leak.

    Raises
    ------
    FitError
        The training runs cannot be dealt into folds.
    """
    fold = deal_folds(training.run_ids, training.tracks, n_folds)
    checks = [*split_checks(training, test), *fold_checks(fold, training.run_ids, training.tracks),
              planted(fold, training.run_ids, training.tracks)]
    return {"holds": all(check.holds for check in checks), "n_folds": int(fold.max()) + 1,
            "checks": [check.figures() for check in checks]}
