"""What the session's own checks of its sound come to."""

from typing import Any

import numpy as np


def summarise_checks(timing: list[dict[str, Any]]) -> dict[str, Any]:
    """For the session's summary: how many checks, and their mean cosines; None without."""
    checks = [entry["self_check"] for entry in timing if "self_check" in entry]

    def mean(name: str) -> float | None:
        values = [check[name] for check in checks if check[name] is not None]
        return float(np.mean(values)) if values else None

    return {"n": len(checks), "to_chosen": mean("to_chosen"), "to_decoded": mean("to_decoded")}
