"""The generators of a trained folder; without torch, which only training needs."""

from pathlib import Path

from offline_training.generator.fidelity import Make
from realtime.generators.director import Director
from realtime.generators.score_generator import ScoreGenerator
from realtime.generators.themes import Themes
from realtime.generators.token_composer import TokenComposer
from realtime.generators.token_model import read_token_model
from realtime.playback.settings import RATE_HZ


def makers(folder: Path) -> dict[str, Make]:
    """The generators that a trained folder holds, by name."""
    themes = Themes.load(folder / "themes.npz")
    return {"director": lambda seed: ScoreGenerator(Director(themes, seed), RATE_HZ),
            "model": lambda seed: ScoreGenerator(TokenComposer(read_token_model(folder), themes, seed), RATE_HZ)}
