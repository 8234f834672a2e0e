"""The scorecard and what is built on it, on planted decoders whose figures are known."""

from dataclasses import replace

import numpy as np
import pytest

from offline_training.corpus import CorpusClip
from offline_training.errors import DatasetError
from offline_training.evaluation.controls import Known, controls
from offline_training.evaluation.courses import repeat_figures, time_course
from offline_training.evaluation.heard import ClipFacts, heard_in
from offline_training.evaluation.leakage import fold_checks, leakage, planted, split_checks
from offline_training.evaluation.live import LiveEvidence, against_live
from offline_training.evaluation.refits import Recipe, target_table, without_genre
from offline_training.evaluation.scorecard import Draws, Judged, identification_of, scorecard
from offline_training.evaluation.sureness import sureness
from offline_training.evaluation.target_kinds import captions, genre_targets
from offline_training.evaluation.trial_rows import trial_rows
from offline_training.responses import ResponseRun
from realtime.scoring import identification_accuracy, permutation_band, rank_score
from realtime.session.events import Event

GENRES = ("blues", "jazz", "metal", "pop", "reggae")
DIM, TR_S, PER_CLIP, LAG, WINDOW = 12, 1.0, 6, 2, 6
FEW = Draws(1000, 400, 0)


def clip_name(genre, number):
    return f"{genre}.{number:02d}"


def music(n_per_genre=16, genre_share=0.3, seed=0):
    """A vector per clip, a share of its variance common to its genre."""
    rng = np.random.default_rng(seed)
    centres = np.sqrt(genre_share) * rng.normal(size=(len(GENRES), DIM))
    return {clip_name(genre, k): centres[g] + np.sqrt(1 - genre_share) * rng.normal(size=DIM)
            for g, genre in enumerate(GENRES) for k in range(n_per_genre)}


def events_of(clips):
    """Back to back after a dummy, which repeats the last."""
    order = [clips[-1], *clips]
    return tuple(Event(i * PER_CLIP * TR_S, PER_CLIP * TR_S, clip, clip.split(".")[0], "", i == 0)
                 for i, clip in enumerate(order))


def session_runs(vectors, seed=0, gain=1.0, noise=1.0, n_training=6, n_test=2, cycles=3):
    """Training runs of two blocks and test runs of one block heard again and again; 40 voxels, 15 of them musical."""
    rng = np.random.default_rng(seed)
    weights = np.zeros((DIM, 40))
    weights[:, :15] = rng.normal(size=(DIM, 15)) / np.sqrt(DIM)
    numbers, runs = dict.fromkeys(GENRES, 0), []
    for k in range(n_training + n_test):
        test = k >= n_training
        clips = []
        for _ in range(1 if test else 2):
            block = []
            for genre in rng.permutation(GENRES):
                block.append(clip_name(genre, numbers[genre]))
                numbers[genre] += 1
            clips += block
        events = events_of(clips * (cycles if test else 1))
        heard = np.repeat(np.stack([vectors[event.clip_id] for event in events]), PER_CLIP, axis=0)
        late = np.concatenate([np.zeros((LAG, DIM)), heard, np.zeros((WINDOW, DIM))])
        responses = gain * late @ weights + noise * rng.normal(size=(len(late), 40))
        usable = np.ones(len(late), bool)
        usable[:2] = False
        runs.append(ResponseRun(f"task-{'Test' if test else 'Training'}_run-{k}", 0, test,
                                responses.astype(np.float32), usable, events, 0.1 * rng.random(len(late))))
    return runs


def rows_of(runs, test):
    return trial_rows([run for run in runs if run.is_test == test], TR_S, LAG, WINDOW)


def targets_of(rows, vectors):
    return np.stack([vectors[clip] for clip in rows.heard.clip_ids])


def planted_trials(noise=1.0, repeats=3, seed=0, n_runs=2):
    """Predictions that are the clip plus noise, in runs of one block heard `repeats` times."""
    vectors, rng = music(seed=seed), np.random.default_rng(seed)
    clips, runs = [], []
    for run in range(n_runs):
        clips += [clip_name(genre, run) for genre in GENRES] * repeats
        runs += [f"run-{run}"] * (len(GENRES) * repeats)
    targets = np.stack([vectors[clip] for clip in clips])
    return Judged(targets + noise * rng.normal(size=targets.shape), targets, tuple(clips),
                  tuple(clip.split(".")[0] for clip in clips), tuple(runs))


def test_the_card_agrees_with_the_scores_of_a_live_session():
    judged = planted_trials()
    card = scorecard(judged, FEW)
    score = identification_accuracy(judged.predictions, judged.targets, judged.clip_ids)
    ranks = rank_score(judged.predictions, judged.targets, judged.clip_ids)
    band = permutation_band(judged.predictions, judged.targets, judged.clip_ids, judged.run_ids)
    assert card["identification"]["value"] == pytest.approx(score.mean)
    assert card["way2"]["value"] == pytest.approx(score.mean)
    assert (card["top1"]["value"], card["top3"]["value"]) == pytest.approx((ranks.top1, ranks.top3))
    assert card["median_rank"]["value"] == ranks.median_rank
    assert card["identification"]["null"]["p95"] == pytest.approx(band.p95, abs=0.02)
    assert card["identification"]["null"]["p_value"] <= 2 / 1001
    assert card["way50"]["value"] is None  # ten clips are not fifty


def test_a_perfect_decoder_tops_everything_and_a_mean_vector_nothing():
    judged = planted_trials(noise=0.0)
    perfect = scorecard(judged, FEW)
    for name in ("identification", "within_genre", "top1", "way5", "genre_top1"):
        assert perfect[name]["value"] == 1.0
    assert np.diag(np.array(perfect["confusion"]["counts"])).sum() == len(judged.clip_ids)
    flat = scorecard(judged.with_predictions(np.full_like(judged.predictions, 2.0)), FEW)
    for name in ("identification", "within_genre", "top1", "top5", "way10"):
        assert flat[name]["value"] == pytest.approx(flat[name]["chance"])


@pytest.mark.parametrize("seed", range(5))
def test_random_predictions_lie_in_their_band(seed):
    judged = planted_trials(seed=seed)
    noise = judged.with_predictions(np.random.default_rng(100 + seed).normal(size=judged.predictions.shape))
    null = scorecard(noise, FEW)["identification"]["null"]
    value = identification_of(noise, FEW).value
    spread = null["p95"] - null["p50"]
    assert null["p50"] - 2.5 * spread < value < null["p50"] + 2.5 * spread


def test_averaging_leaves_one_row_per_clip_and_skips_trials_without_evidence():
    judged = planted_trials()
    predictions = judged.predictions.copy()
    predictions[0] = np.nan
    once = judged.with_predictions(predictions).averaged()
    assert len(once.clip_ids) == 10
    same = [t for t, clip in enumerate(judged.clip_ids) if clip == judged.clip_ids[0]][1:]
    np.testing.assert_allclose(once.predictions[0], judged.predictions[same].mean(axis=0))
    assert once.clip_ids[:5] == judged.clip_ids[:5]


def test_accuracy_grows_with_repeats_and_the_last_point_is_the_average():
    judged = planted_trials(noise=2.5, repeats=4, n_runs=8, seed=2)
    found = repeat_figures(judged, FEW)
    values = [one["value"] for one in found["curve"]]
    assert [one["repeats"] for one in found["curve"]] == [1, 2, 3, 4]
    assert [one["choices"] for one in found["curve"]] == [4, 6, 4, 1]
    assert values[0] < values[1] < values[3]
    assert values[3] == pytest.approx(identification_of(judged.averaged(), FEW).value)
    assert 0.5 < found["between_halves"] < 1
    assert 0 < found["embedding_reliability"] < 1
    assert found["embedding_r_of_ceiling"] == pytest.approx(1, abs=0.15)  # all that repeats is the clip's own vector


def test_without_repeats_there_is_no_reliability():
    found = repeat_figures(planted_trials(repeats=1), FEW)
    assert found["between_halves"] is None
    assert len(found["curve"]) == 1


def test_the_time_course_scores_each_volume_by_itself():
    judged = planted_trials()
    rows = np.stack([np.random.default_rng(1).normal(size=judged.predictions.shape), judged.targets,
                     np.full_like(judged.targets, np.nan)])
    found = time_course(rows, judged, 3, 1.5, FEW)
    assert [one["volume"] for one in found] == [3, 4, 5]
    assert [one["seconds"] for one in found] == [6.0, 7.5, 9.0]
    assert found[1]["value"] == 1.0
    assert found[2]["value"] is None


def test_heard_trials_know_what_came_before_and_leave_the_dummy_out():
    runs = session_runs(music())
    heard = heard_in(runs[:1])
    assert len(heard.clip_ids) == 10
    assert heard.previous[0] == heard.clip_ids[-1]  # the dummy
    assert heard.previous[1:] == heard.clip_ids[:-1]
    assert heard.numbers[0] == 1


def test_rows_are_the_mean_of_the_windows_usable_volumes():
    run = session_runs(music())[0]
    run = replace(run, usable=run.usable & (np.arange(len(run.usable)) != PER_CLIP + LAG + 1))
    rows = trial_rows([run], TR_S, LAG, WINDOW)
    first = PER_CLIP + LAG + np.array([0, 2, 3, 4, 5])
    np.testing.assert_allclose(rows.features[0], run.responses[first].mean(axis=0), rtol=1e-5)
    assert rows.motion.shape == (10, WINDOW + 2)
    with pytest.raises(DatasetError, match="none of 10 trials"):
        trial_rows([replace(run, usable=np.zeros(len(run.usable), bool))], TR_S, LAG, WINDOW)


def test_controls_know_what_they_say_they_know():
    vectors = music(genre_share=0.5)
    runs = session_runs(vectors)
    training, test = rows_of(runs, False), rows_of(runs, True)
    known, asked = (Known(rows.heard, targets_of(rows, vectors), rows.motion) for rows in (training, test))
    found = controls(known, asked)
    assert set(found) == {"mean vector", "random vector", "genre only", "previous clip", "time only", "motion only"}
    judged = Judged(asked.targets, asked.targets, test.heard.clip_ids, test.heard.genres, test.heard.run_ids)
    cards = {name: scorecard(judged.with_predictions(rows).averaged(), FEW) for name, rows in found.items()}
    for blind in ("mean vector", "random vector", "time only", "motion only"):
        assert cards[blind]["identification"]["null"]["p_value"] > 0.005
    assert cards["genre only"]["identification"]["value"] > 0.75
    assert cards["genre only"]["genre_top1"]["value"] > 0.8
    single = judged.with_predictions(found["previous clip"])
    np.testing.assert_allclose(single.predictions[1], asked.targets[0])


def test_motion_that_follows_the_music_is_caught_by_its_control():
    vectors = music(genre_share=0.9)
    runs = session_runs(vectors)
    known, asked = (Known(rows.heard, targets_of(rows, vectors), targets_of(rows, vectors)[:, :3])
                    for rows in (rows_of(runs, False), rows_of(runs, True)))
    judged = Judged(asked.targets, asked.targets, asked.heard.clip_ids, asked.heard.genres, asked.heard.run_ids)
    moved = controls(known, asked)["motion only"]
    assert identification_of(judged.with_predictions(moved).averaged(), FEW).value > 0.75


def test_leaks_are_found_and_a_clean_session_holds():
    runs = session_runs(music())
    training, test = (heard_in([run for run in runs if run.is_test == side]) for side in (False, True))
    clean = leakage(training, test)
    assert clean["holds"]
    assert len(clean["checks"]) == 6
    shared = replace(test, clip_ids=(training.clip_ids[0], *test.clip_ids[1:]))
    said = {check.what: check for check in split_checks(training, shared)}
    assert not said["no clip is in training and test"].holds
    assert said["no clip is in training and test"].found == (training.clip_ids[0],)
    assert not leakage(training, shared)["holds"]
    tracks = ClipFacts(tracks={training.clip_ids[0]: "one track", test.clip_ids[0]: "one track"})
    cut = [heard_in([run for run in runs if run.is_test == side], tracks) for side in (False, True)]
    assert not next(check for check in split_checks(*cut) if "track" in check.what).holds


def test_a_split_of_volumes_by_lot_is_detected():
    runs, n = ["a"] * 60 + ["b"] * 60, np.random.default_rng(0)
    by_run, by_lot = np.repeat([0, 1], 60), n.permutation(np.repeat([0, 1], 60))
    tracks = [f"track-{i // 10}" for i in range(120)]
    assert all(check.holds for check in fold_checks(by_run, runs, tracks))
    assert not any(check.holds for check in fold_checks(by_lot, runs, tracks))
    assert planted(by_run, runs, tracks).holds


def test_live_and_offline_vectors_are_compared_bit_by_bit():
    judged = planted_trials(repeats=1, n_runs=1)
    final = judged.predictions.astype(np.float32)
    embeddings = np.stack([final + 1, final])
    judged = judged.with_predictions(final)
    numbers = tuple(range(1, 6))
    same = {(number, n + 1): embeddings[n, t] for t, number in enumerate(numbers) for n in range(2)}
    found = against_live(LiveEvidence("run-0", {}, same, ""), numbers, embeddings, judged, FEW)
    assert (found["largest_difference"], found["n_vectors"], found["n_only_live"]) == (0.0, 10, 0)
    assert found["identification_live"] == found["identification_offline"]
    other = dict(same)
    other[1, 2] = other[1, 2] + np.float32(0.5)
    del other[5, 1]
    found = against_live(LiveEvidence("run-0", {}, other, ""), numbers, embeddings, judged, FEW)
    assert found["largest_difference"] == pytest.approx(0.5, abs=1e-6)
    assert (found["n_vectors"], found["n_only_offline"]) == (9, 1)


def test_the_table_of_targets_prefers_what_the_voxels_follow():
    vectors = music()
    runs = session_runs(vectors, gain=2.0, noise=0.8)
    training, test = rows_of(runs, False), rows_of(runs, True)
    rng, genres = np.random.default_rng(5), {clip: clip.split(".")[0] for clip in vectors}
    kinds = {"music": vectors, "nonsense": {clip: rng.normal(size=6) for clip in vectors},
             "genre": genre_targets(genres, sorted(vectors))}
    found = target_table(training, test, kinds, Recipe(n_voxels=30, n_folds=3), FEW)
    assert found["music"]["id_test"]["value"] > 0.85
    assert found["music"]["r_test"] > 0.4
    assert found["nonsense"]["id_test"]["null"]["p_value"] > 0.01
    assert found["music"]["id_train"]["value"] > 0.95
    assert found["genre"]["dim"] == 5


def test_a_genre_left_out_is_decoded_by_what_it_shares_with_others():
    vectors = music(genre_share=0.1)
    runs = session_runs(vectors, gain=2.0, noise=0.5)
    training, test = rows_of(runs, False), rows_of(runs, True)
    targets = targets_of(training, vectors), targets_of(test, vectors)
    found = without_genre(training, test, targets, Recipe(n_voxels=30, n_folds=3), FEW)
    assert found["left_out"] == list(GENRES)
    assert found["identification"]["null"]["p_value"] < 0.05
    silent = session_runs(vectors, gain=0.0)
    nothing = without_genre(rows_of(silent, False), rows_of(silent, True), targets, Recipe(n_voxels=30, n_folds=3), FEW)
    assert nothing["identification"]["null"]["p_value"] > 0.01


def test_sureness_adds_up_genres():
    rows = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    found = sureness(rows, np.array([1, 2]), ("a", "a", "b"))
    assert found["clip"]["coverage"]["accuracy"][-1] == 0.5
    assert found["genre"]["coverage"]["accuracy"][-1] == 1.0
    assert found["genre"]["calibration"]["n_candidates"] == 2


def test_captions_come_from_labels_where_there_are_no_words():
    entry = CorpusClip("x", "x.flac", "jazz", "training", 10, 90, 0, 0, "", {"lead": "saxophone", "mood": "calm"})
    said = captions([entry, replace(entry, clip_id="y", labels={"caption": "a loud song"})])
    assert said == {"x": "medium calm jazz saxophone music", "y": "a loud song"}
