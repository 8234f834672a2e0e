"""Sections: other targets, encoding models, and what keeps the figures honest."""

from typing import Any

from offline_training.evaluation_page.part import Figures, Part, Table, number, p_of, spread


def targets(figures: Figures) -> Part | None:
    """Brain2Music's Table 2."""
    found = figures.get("targets")
    if not found:
        return None
    rows = tuple((name, str(one["dim"]), spread(one["id_test"], ".2f"), p_of(one["id_test"]),
                  spread(one["id_test_single"], ".2f"), spread(one["id_test_centred"], ".2f"),
                  number(one["id_train"]["value"]), number(one["r_test"]), number(one["r_train"]))
                 for name, one in found.items())
    head = ("target", "d", "ID averaged", "p", "ID single", "ID averaged, centred", "ID train", "r test", "r train")
    text = ("One recipe for all: voxels chosen for each target inside the training runs, ridge with an α per dimension "
            "by cross-validation over runs. “Train” is measured on the trials fitted on, as Brain2Music's table does: "
            "it shows fitting, not decoding. r is the mean over dimensions of the correlation over clips. Clips of one "
            "genre tie where the target is the genre. Centred: with the mean of the training targets taken off both "
            "sides, which matters where all clips share most of their vector, as spectra do.")
    return Part("Other targets", text, table=Table(head, rows))


def encoding(figures: Figures) -> Part | None:
    """How well music predicts each voxel."""
    found: dict[str, Any] = figures.get("encoding") or {}
    if not found:
        return None
    first = next(iter(found.values()))
    rows = tuple((name, f"{one['n_significant']} of {one['n_voxels']}", str(one["n_significant_family"]),
                  number(one["r_max"], ".2f"), number(one["r_significant_mean"], ".2f"),
                  number(one["ceiling_significant_median"], ".2f"),
                  number(one["normalised_significant_median"], ".2f")) for name, one in found.items())
    head = ("features", "voxels, FDR 0.05", "family-wise 0.05", "highest r", "mean r", "ceiling", "r of ceiling")
    images = tuple((one["image"], f"Voxels that {name} predicts" + ("" if one["n_significant"] else ": none"))
                   for name, one in found.items() if one.get("image"))
    text = (f"Ridge from the features to every voxel, fitted on the training runs, correlated with the mean answers to "
            f"{first['n_rows']} held-out clips; p from {first['n_permutations']} block-keeping shuffles of the clips, "
            "the same for all voxels, and not from a Gaussian. “Family-wise” voxels exceed the best voxel of 95 % of "
            "shuffles. The ceiling is the root of the answers' split-half reliability. Maps show r of the significant "
            f"voxels on the training reference. At least {first['fewest_for_any']} voxels must reach the smallest "
            "p before any can be significant.")
    return Part("Encoding models", text, images, Table(head, rows), captions=True)


def leakage(figures: Figures) -> Part | None:
    """Whether anything of the test lies in the training."""
    found = figures.get("leakage")
    if not found:
        return Part("Leakage", "The data set has no training runs here: nothing could be checked.")
    lines = tuple(f"{'holds' if one['holds'] else 'VIOLATED'}: {one['what']}"
                  + (f" ({'; '.join(one['found'][:3])})" if one["found"] and not one["holds"] else "")
                  for one in found["checks"])
    verdict = "All checks hold." if found["holds"] else "At least one check fails: the figures may be too good."
    text = (f"{verdict} Training folds are whole runs, {found['n_folds']} of them, and runs that share a track are in "
            "one fold; the last check deals the same trials into folds by lot and must be noticed, which shows that "
            "the others can fail.")
    return Part("Leakage", text, lines=lines)
