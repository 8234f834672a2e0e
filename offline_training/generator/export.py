"""A trained generator as the folder that the live program reads."""

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from offline_training.generator.network import Network, to_onnx
from realtime.atomic import write_bytes, write_json
from realtime.generators.themes import Themes
from realtime.generators.token_model import FORMAT_VERSION
from realtime.generators.tokens import VOCABULARY


def write_generator(folder: Path, themes: Themes, network: Network, about: dict[str, Any]) -> None:
    """Write themes and token model with their spec, the spec last.

    Parameters
    ----------
    folder : Path
        Made if need be; what lies there is replaced.
    themes : Themes
        The library.
    network : Network
        The token model, in the same space.
    about : dict
        How it was made, for people.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / "model.onnx", to_onnx(network))
    themes.save(folder / "themes.npz")
    size = network.size
    write_json(folder / "spec.json", {
        "format_version": FORMAT_VERSION, "space": asdict(themes.space), "n_tokens": VOCABULARY.size,
        "n_layers": size.n_layers, "n_heads": size.n_heads, "head_size": size.head_size, "window": size.window,
        "sha256": {name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
                   for name in ("model.onnx", "themes.npz")}, **about})
