"""Encoding models: planted voxels are found, others at the rate promised, and maps lie where the voxels are."""

import nibabel
import numpy as np
import pytest

from offline_training.encoding.maps import Space, draw, write_maps
from offline_training.encoding.model import Answers, EncodingSettings, averaged, encode, figures, predict_across_folds
from offline_training.encoding.significance import score_voxels
from offline_training.errors import FitError
from tests import naive_scores as naive

N_VOXELS, MUSICAL, DIM = 120, 30, 6
GENRES = tuple("abcdefghij")
SETTINGS = EncodingSettings(alphas=(10.0, 100.0, 1e3), n_folds=3, n_permutations=1000, seed=0)


def planted(gain=0.6, seed=0, n_runs=6, n_test_runs=3, cycles=4):
    """Training runs of four blocks of ten genres, test runs of one block heard again; the first voxels follow."""
    rng = np.random.default_rng(seed)
    n = 10 * (4 * n_runs + n_test_runs)
    vectors = {f"clip-{i:03d}": rng.normal(size=DIM) for i in range(n)}
    weights = np.zeros((DIM, N_VOXELS))
    weights[:, :MUSICAL] = gain * rng.normal(size=(DIM, MUSICAL)) / np.sqrt(DIM)
    names = list(vectors)

    def answers(clips, runs):
        rows = np.stack([vectors[clip] for clip in clips]) @ weights + rng.normal(size=(len(clips), N_VOXELS))
        genres = tuple(GENRES[int(clip[-1])] for clip in clips)
        return Answers(tuple(clips), genres, tuple(runs), tuple(clips), rows.astype(np.float32))

    known = names[:40 * n_runs]
    held = [clip for run in range(n_test_runs) for _ in range(cycles)
            for clip in names[40 * n_runs + 10 * run:][:10]]
    return (vectors, answers(known, [f"training-{i // 40}" for i in range(len(known))]),
            answers(held, [f"test-{i // (10 * cycles)}" for i in range(len(held))]))


def test_a_vectorised_test_is_the_loop_and_its_discoveries_are_the_rules():
    rng = np.random.default_rng(0)
    predicted, measured = rng.normal(size=(2, 30, 50)).astype(np.float32)
    measured[:, :10] += predicted[:, :10]
    assigned = np.stack([rng.permutation(30) for _ in range(199)])
    found = score_voxels(predicted, measured, assigned, 0)
    for v in range(50):
        r = np.corrcoef(predicted[:, v], measured[:, v])[0, 1]
        drawn = [np.corrcoef(predicted[rows, v], measured[:, v])[0, 1] for rows in assigned]
        assert found.r[v] == pytest.approx(r, abs=1e-5)
        assert found.p[v] == pytest.approx((1 + np.sum(np.array(drawn) >= r)) / 200)
    np.testing.assert_array_equal(found.significant, naive.false_discovery(found.p, 0.05))


def test_musical_voxels_are_found_and_few_others():
    vectors, training, test = planted()
    found = encode(training, test, vectors, SETTINGS)
    assert found.significant[:MUSICAL].mean() > 0.8
    assert found.significant[MUSICAL:].mean() < 0.06
    assert found.n_rows == 30
    normalised = found.normalised[:MUSICAL][found.significant[:MUSICAL]]
    assert np.nanmedian(normalised) == pytest.approx(1, abs=0.2)  # nothing but the features repeats


def test_voxels_without_music_are_discovered_about_never():
    """Noise in 20 sessions: any discovery in at most 5 % of them, 1 ± 1; more than 4 would be p < 0.003."""
    sessions = [planted(gain=0.0, seed=seed, n_runs=3) for seed in range(20)]
    any_found = [encode(training, test, vectors, SETTINGS).significant.any() for vectors, training, test in sessions]
    assert sum(any_found) <= 4


def test_across_folds_every_run_is_predicted_from_the_others():
    vectors, training, _ = planted()
    found = encode(training, None, vectors, SETTINGS)
    assert found.significant[:MUSICAL].mean() > 0.8
    assert found.significant[MUSICAL:].mean() < 0.06
    assert np.isnan(found.ceiling).all()
    assert found.n_rows == 240
    changed = training.only(np.arange(240), training.responses.copy())
    changed.responses[:40] += 5
    rows = [predict_across_folds(one, vectors, EncodingSettings(alphas=(10.0,), n_folds=6)) for one in (training,
                                                                                                     changed)]
    np.testing.assert_array_equal(rows[0][:40], rows[1][:40])


def test_two_groups_of_runs_are_too_few_across_folds():
    vectors, training, _ = planted(n_runs=2)
    with pytest.raises(FitError, match="at least 3"):
        predict_across_folds(training, vectors, SETTINGS)


def test_the_order_of_voxels_and_their_number_change_nothing():
    vectors, training, test = planted()
    whole = encode(training, test, vectors, SETTINGS)
    turned = [rows.only(np.arange(len(rows.clip_ids)), np.ascontiguousarray(rows.responses[:, ::-1]))
              for rows in (training, test)]
    back = encode(turned[0], turned[1], vectors, SETTINGS)
    np.testing.assert_allclose(back.r[::-1], whole.r, atol=1e-5)
    np.testing.assert_allclose(back.p[::-1], whole.p, atol=2e-3)


def test_constant_voxels_are_left_out_and_counted():
    vectors, training, test = planted()
    training.responses[:, 3] = 1.0
    test.responses[:, 3] = 1.0
    found = encode(training, test, vectors, SETTINGS)
    assert np.isnan(found.r[3])
    assert not found.significant[3]
    assert figures(found)["n_constant"] == 1


def test_hearings_are_averaged_in_the_order_of_presentation():
    _, _, test = planted()
    once, ceiling = averaged(test)
    assert once.clip_ids[:10] == test.clip_ids[:10]
    rows = [i for i, clip in enumerate(test.clip_ids) if clip == once.clip_ids[7]]
    np.testing.assert_allclose(once.responses[7], test.responses[rows].mean(axis=0), rtol=1e-4, atol=1e-6)
    assert np.nanmean(ceiling[:MUSICAL]) > np.nanmean(ceiling[MUSICAL:]) + 0.2


def space():
    shape = (12, 12, 8)
    voxels = np.argwhere(np.ones(shape))[200:200 + N_VOXELS]
    anatomy = np.random.default_rng(0).random(shape).astype(np.float32)
    return Space(anatomy, np.diag([4.0, 4, 5, 1]), voxels)


def test_maps_hold_each_voxels_figure_in_its_place(tmp_path):
    vectors, training, test = planted()
    found = encode(training, test, vectors, SETTINGS)
    paths = write_maps(tmp_path, "music", found, space())
    assert [path.name for path in paths] == [f"music_{what}.nii.gz" for what in ("r", "normalised", "q", "ceiling")]
    image = nibabel.load(paths[0])
    np.testing.assert_allclose(image.get_fdata()[tuple(space().voxels.T)], found.r, atol=1e-6)
    assert np.isnan(image.get_fdata()).sum() == 12 * 12 * 8 - N_VOXELS


@pytest.mark.parametrize("gain", [0.0, 0.6])
def test_maps_are_drawn_with_and_without_significant_voxels(gain):
    vectors, training, test = planted(gain=gain, n_runs=3)
    picture = draw(encode(training, test, vectors, SETTINGS), space())
    assert picture.startswith("data:image/png;base64,")
