"""What is said of pieces is true, and what was held out stays out."""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from offline_training.__main__ import app
from offline_training.embedder.pieces import TEST_KINDS, draw_plan, is_held_out, make_pieces, native_leads, shares_of
from offline_training.embedder.settings import EmbedderSettings, PieceSettings
from offline_training.embedder.truth import (
    ANY,
    INSTRUMENT_OF_VOICE,
    INSTRUMENTS,
    TEMPI,
    Claims,
    Truth,
    draw_claims,
    tabulate,
    vocabulary,
)
from offline_training.errors import FitError
from realtime.music.logmel import LogMelSettings
from realtime.music.synth_score import MOODS
from realtime.music.synth_styles import GENRES, STYLES
from realtime.music.words import WordTable

SMALL = EmbedderSettings(batch_size=2, front_end=LogMelSettings(n_bands=16),
                         pieces=PieceSettings(n_pieces=4, n_test_pieces=2))


def plans(kind, n=1500):
    return [draw_plan(kind, number, PieceSettings(), np.random.default_rng([1, number])) for number in range(n)]


def some_truths(n, seed):
    rng = np.random.default_rng(seed)
    names = []
    for _ in range(n):
        shares = np.zeros(10)
        for genre in rng.integers(0, 10, 2).repeat(3):
            shares[genre] += 1 / 6
        lead, other = rng.choice(INSTRUMENTS, 2)
        names.append(Truth(tuple(shares), str(lead), frozenset((str(lead), str(other))), str(rng.choice(MOODS)),
                           float(rng.uniform(50, 180))))
    return tabulate(names)


@given(seed=st.integers(0, 10000))
@settings(max_examples=40, deadline=None)
def test_every_claim_holds_of_the_piece_it_was_drawn_for_and_says_something(seed):
    truths, rng = some_truths(12, seed), np.random.default_rng(seed)
    rows = rng.integers(0, 12, 30)
    claims = draw_claims(truths, rows, rng)
    assert claims.hold(truths)[np.arange(30), rows].all()
    words = WordTable(vocabulary())
    for row in range(30):
        text = claims.text(row, rng)
        assert words.tokens([text]).all()
        assert not {"{", "}"} & set(text)


def test_a_claim_holds_where_everything_it_says_is_true():
    truths = tabulate([
        Truth((0.5, 0, 0, 0, 0, 0.5, 0, 0, 0, 0), "flute", frozenset(("flute", "piano")), "calm", 60.0),
        Truth((0, 0, 0, 0, 0, 1.0, 0, 0, 0, 0), "piano", frozenset(("piano",)), "calm", 130.0),
    ])
    said = {"genre": GENRES.index("jazz"), "mood": MOODS.index("calm"), "lead": INSTRUMENTS.index("piano"),
            "instrument": INSTRUMENTS.index("piano"), "tempo": TEMPI.index("slow")}

    def holds(*names):
        return Claims(*(np.array([said[name] if name in names else ANY]) for name in said)).hold(truths)[0].tolist()

    for names in (("genre",), ("mood",), ("instrument",), ("genre", "mood", "instrument")):
        assert holds(*names) == [True, True]
    assert holds("lead") == holds("lead", "mood") == [False, True]
    assert holds("tempo") == [True, False]
    assert holds("lead", "tempo") == [False, False]


def test_training_never_hears_a_held_out_pair_and_its_test_hears_nothing_else():
    for kind, wanted in (("training", False), ("scrambled", False), ("new seeds", False), ("held-out pairs", True)):
        for plan in plans(kind):
            instrument = INSTRUMENT_OF_VOICE[plan.arrangement.lead]
            genres = [name for name, share in shares_of(plan.genre, plan.arrangement.parts).items() if share >= 1 / 3]
            assert any(is_held_out(name, instrument) for name in genres) == wanted


def test_held_out_pairs_are_foreign_and_every_genre_and_instrument_has_some():
    pairs = [(genre, name) for genre in GENRES for name in INSTRUMENTS if is_held_out(genre, name)]
    assert 15 <= len(pairs) <= 30
    assert {genre for genre, _ in pairs} == set(GENRES)
    assert all(name not in native_leads(genre) for genre, name in pairs)
    assert len({name for _, name in pairs}) >= 9


def test_training_mixes_genres_and_swaps_instruments():
    drawn = plans("training")
    leads = {(plan.genre, INSTRUMENT_OF_VOICE[plan.arrangement.lead]) for plan in drawn}
    assert len(leads) > 80  # of 120 pairs; styles alone have 28
    assert 0.35 < np.mean([bool(plan.arrangement.parts) for plan in drawn]) < 0.45
    assert all(max(shares_of(plan.genre, plan.arrangement.parts).values()) >= 0.5 for plan in drawn)
    scrambled = [max(shares_of(plan.genre, plan.arrangement.parts).values()) for plan in plans("scrambled")]
    assert np.mean(np.array(scrambled) < 0.5) > 0.8


def test_every_voice_of_every_style_has_an_instrument():
    for style in STYLES.values():
        assert {*style.lead.voices, *style.chords.voices} <= set(INSTRUMENT_OF_VOICE)


def test_pieces_are_the_same_whoever_makes_them_and_kinds_differ():
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(3) as three:
        made, again = make_pieces("training", SMALL, one), make_pieces("training", SMALL, three)
        tested = [make_pieces(kind, SMALL, three) for kind in TEST_KINDS]
    np.testing.assert_array_equal(made.levels, again.levels)
    np.testing.assert_array_equal(made.truths.shares, again.truths.shares)
    assert made.levels.shape == (4, SMALL.front_end.n_frames(12.6), 16)
    assert made.statistics.shape[0] == 0
    assert [piece.statistics.shape[:2] for piece in tested] == [(2, 3)] * 3
    assert np.isfinite(made.levels).all()
    assert len({piece.levels[0].tobytes() for piece in (made, *tested)}) == 4


@pytest.mark.parametrize(("changes", "word"), [({"batch_size": 99}, "batch_size"), ({"shortest_s": 20.0}, "shortest_s"),
                                               ({"pieces": PieceSettings(piece_s=5.0)}, "piece_s"), ({"dim": 0}, "dim"),
                                               ({"front_end": LogMelSettings(n_bands=20)}, "n_bands")])
def test_impossible_settings_are_named(changes, word):
    with pytest.raises(FitError, match=word):
        EmbedderSettings(**{"pieces": PieceSettings(n_pieces=10), "batch_size": 2} | changes)


def test_training_without_torch_is_refused_with_the_extra_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in [name for name in sys.modules if name.startswith("offline_training.embedder.")]:
        monkeypatch.delitem(sys.modules, name)
    refused = CliRunner().invoke(app, ["embedder", "train", str(tmp_path / "new")])
    assert refused.exit_code != 0
    assert "innerear[embedder]" in refused.output
    assert not (tmp_path / "new").exists()
