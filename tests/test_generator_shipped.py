"""The generator that comes with the program: its files, its figures, and that a session can use it."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from offline_training.embedders import SHIPPED, open_embedder
from offline_training.generator.fidelity import embeddings, fidelity, meet
from offline_training.generator.makers import makers
from offline_training.generator.pieces import corpus_scores, heard
from realtime.config import LiveSettings, load_settings
from realtime.generators.make import make_generator
from realtime.messages import Condition
from realtime.music.catalogue import read_catalogue

ROOT = Path(__file__).resolve().parents[1]
FOLDER = SHIPPED / "generator-synth-128"


def test_the_files_are_those_of_its_spec_and_small() -> None:
    spec = json.loads((FOLDER / "spec.json").read_bytes())
    assert spec["space"] == vars(open_embedder("synth-128").space)
    for name, wanted in spec["sha256"].items():
        assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == wanted
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 8_000_000


def test_its_page_says_what_its_report_says() -> None:
    report, page = json.loads((FOLDER / "report.json").read_bytes()), (FOLDER / "README.md").read_text()
    assert report["command"] in page
    for by_generator in report["figures"].values():
        for figures in by_generator.values():
            assert figures["identification"]["n"] >= 60
            for figure in figures.values():
                assert f"{figure['value']:.2f} ({figure['permuted']:.2f})" in page
                assert figure["value"] > figure["permuted"] + 0.1


@pytest.mark.parametrize(("name", "least"), [("director", 0.9), ("model", 0.65)])
def test_what_it_plays_is_known_again_by_the_second_embedder(name: str, least: float) -> None:
    """Ten unseen clips, one of each genre; by chance half of the others would fit better."""
    conditioner, scorer = open_embedder("synth-128"), open_embedder("scorer-64")
    clips = [heard(score) for score in corpus_scores(10, 77)]
    got = embeddings(meet(makers(FOLDER)[name], embeddings(clips, conditioner)), scorer)
    figures = fidelity(got, embeddings(clips, scorer), scorer)  # type: ignore[arg-type]
    assert figures["identification"]["value"] > least


def test_the_shipped_settings_find_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from offline_training.corpus import index_corpus
    from offline_training.corpus_composed import CorpusSettings, build_corpus

    monkeypatch.chdir(ROOT)
    settings = load_settings(ROOT / "configs" / "live-generated.toml", LiveSettings).generator
    build_corpus(tmp_path, CorpusSettings(1, 0, 2.0))
    index_corpus(tmp_path, open_embedder("synth-128"))
    made = make_generator(settings, tmp_path)
    clip = read_catalogue(tmp_path, check_audio=False)
    made.generator.condition(Condition(0, 0, clip.embedding("jazz-000")))
    sound = np.concatenate([made.generator.chunk().frames for _ in range(48)])
    assert np.sqrt((sound**2).mean()) > 0.02
