"""Training and export of the towers, on levels whose truth is plain to see; and the measures that judge them."""

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="training embedders needs the extra 'embedder'")

from offline_training.__main__ import app  # noqa: E402
from offline_training.embedder.export import export_embedder  # noqa: E402
from offline_training.embedder.objectives import agreement, same_piece  # noqa: E402
from offline_training.embedder.pieces import Pieces  # noqa: E402
from offline_training.embedder.settings import EmbedderSettings, PieceSettings  # noqa: E402
from offline_training.embedder.towers import TwoTowers  # noqa: E402
from offline_training.embedder.training import train_towers  # noqa: E402
from offline_training.embedder.truth import INSTRUMENTS, Truth, tabulate  # noqa: E402
from offline_training.errors import FitError  # noqa: E402
from realtime.music.logmel import LogMelSettings  # noqa: E402
from realtime.music.onnx_embedder import OnnxEmbedder  # noqa: E402
from realtime.music.synth_score import MOODS  # noqa: E402
from realtime.music.synth_styles import GENRES  # noqa: E402

SETTINGS = EmbedderSettings("plain", dim=16, n_epochs=25, batch_size=32, learning_rate=5e-3, n_channels=16,
                            window_s=6.0, front_end=LogMelSettings(n_bands=16, hop_s=0.08),
                            pieces=PieceSettings(n_pieces=128))


def plain_pieces(n=128, seed=0):
    """Genre is a band that is loud, tempo how often it beats, mood how loud the rest is."""
    rng = np.random.default_rng(seed)
    n_frames = SETTINGS.front_end.n_frames(12.6)
    truths, levels = [], rng.normal(-3, 0.3, (n, n_frames, 16))
    for row in range(n):
        genre, mood, bpm = row % 10, int(rng.integers(4)), float(rng.uniform(60, 170))
        beat = (np.arange(n_frames) * 0.08 * bpm / 60) % 1 < 0.3
        levels[row, :, genre] += 2 * beat + 1
        levels[row, :, 10:] += mood / 2
        lead = INSTRUMENTS[int(rng.integers(12))]
        truths.append(Truth(tuple(float(i == genre) for i in range(10)), lead, frozenset((lead,)), MOODS[mood], bpm))
    return Pieces(levels.astype(np.float16), np.zeros((0, 3, 1), np.float32), tabulate(truths))


@pytest.fixture(scope="module")
def trained():
    torch.set_num_threads(1)
    return train_towers(plain_pieces(), SETTINGS)


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    assert export_embedder(folder, trained, SETTINGS) < 1e-5
    return OnnxEmbedder.read(folder)


def test_towers_learn_what_is_plain(exported):
    fresh = plain_pieces(60, seed=1)
    vectors = np.stack([exported.embed_levels(levels[:70].astype(np.float32)) for levels in fresh.levels])
    assert (exported.probes.logits("genre", vectors).argmax(axis=1) == fresh.truths.genre).mean() > 0.6  # chance 0.1
    jazz = vectors @ exported.embed_text("jazz")
    assert GENRES[int(fresh.truths.genre[jazz.argmax()])] == "jazz"


def test_the_same_settings_train_the_same_towers_and_another_seed_others():
    short = replace(SETTINGS, n_epochs=2)
    first, again, other = (train_towers(plain_pieces(), settings).state_dict()
                           for settings in (short, short, replace(short, seed=1)))
    for name, value in first.items():
        torch.testing.assert_close(again[name], value, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(other["audio.project.weight"], first["audio.project.weight"], atol=1e-2)


def test_graphs_that_compute_something_else_are_refused(trained, tmp_path, monkeypatch):
    other = TwoTowers(SETTINGS, len(trained.text.words.weight) - 1).eval()
    monkeypatch.setattr("offline_training.embedder.export._TOLERANCE", 1e-12)
    with pytest.raises(FitError, match="differ from the towers by"):
        export_embedder(tmp_path, other, SETTINGS)


def test_a_claim_with_two_right_pieces_is_best_answered_by_both_alike():
    holds = torch.tensor([[True, True, False], [False, False, True]])
    both, one = torch.tensor([[5.0, 5, -5], [-5, -5, 5]]), torch.tensor([[9.0, 1, -5], [-5, -5, 5]])
    assert agreement(both, holds) < agreement(one, holds) < agreement(-both, holds)
    # by hand: claims ln 2 and about 0, pieces about 0
    assert agreement(50 * both, holds).item() == pytest.approx(np.log(2) / 4, abs=1e-4)


def test_hearings_of_the_same_piece_attract():
    near = torch.eye(4) * 10
    assert same_piece(near) < same_piece(torch.zeros(4, 4)) < same_piece(near.roll(1, 0))
    assert same_piece(torch.zeros(4, 4)).item() == pytest.approx(np.log(4), abs=1e-6)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_an_embedder_is_trained_measured_and_measured_again_from_the_command_line(tmp_path):
    config = tmp_path / "tiny.toml"
    config.write_text('name = "tiny"\ndim = 16\nn_epochs = 2\nbatch_size = 16\nn_channels = 16\n'
                      '[front_end]\nn_bands = 32\n[pieces]\nn_pieces = 32\nn_scrambled = 8\nn_test_pieces = 12\n')
    folder = tmp_path / "tiny"
    made = CliRunner().invoke(app, ["embedder", "train", str(folder), "--config", str(config), "--json",
                                    str(tmp_path / "made.json")])
    assert made.exit_code == 0, made.output
    report = json.loads((folder / "report.json").read_text())
    assert report["space"]["sha256"] == OnnxEmbedder.read(folder).space.sha256
    assert report["largest_difference_onnx_torch"] < 1e-5
    again = CliRunner().invoke(app, ["embedder", "card", str(folder), "--pieces", "12", "--json",
                                     str(tmp_path / "again.json")])
    assert again.exit_code == 0, again.output
    assert json.loads((tmp_path / "again.json").read_text()) == report["figures"]
    (folder / "report.json").unlink()
    refused = CliRunner().invoke(app, ["embedder", "card", str(folder)])
    assert refused.exit_code != 0
    assert "does not say how the embedder was trained" in refused.output
