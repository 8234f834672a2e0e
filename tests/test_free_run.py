"""Decoding without onsets: segments begin where what is decoded changes, causally, and repeat to the bit."""

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.bundle import write_bundle
from realtime.config import LiveSettings, load_settings, make_settings
from realtime.console.panels import evidence as evidence_panel
from realtime.console.story import Story, hear
from realtime.console.table import plain_row
from realtime.console.view import ChanceBand, look
from realtime.decoding.change import APART, NOISE_MEMORY, NoiseLevel, log_odds_of_new, mean_variance
from realtime.decoding.evidence import EvidenceSource, Schedule, TrialEvidence
from realtime.decoding.free_run import FreeRunEvidence
from realtime.decoding.onnx_decoder import OnnxDecoder
from realtime.decoding.settings import DecodingSettings, FreeRunSettings
from realtime.errors import ConfigError, EventsError, VolumeError
from realtime.messages import Evidence
from realtime.reliability import ANY_SIZE, HEARD
from realtime.scoring import identification_accuracy, permutation_band
from realtime.session.core import LiveCore
from realtime.session.folder import SessionFolder
from realtime.session.parts import Parts
from realtime.session.record import decode_vector, read_documents
from realtime.visit.plan import PlanSettings
from tests import builders
from tests import free_run_room as room
from tests.benchmarks.free_run import Border, score_borders
from tests.loopback import free_endpoint
from tests.processes import command, finish, running

MUSIC = builders.catalogue()
EMBEDDINGS = MUSIC.embeddings([clip.clip_id for clip in MUSIC.clips])
BUNDLE = room.bundle()
DECODER = OnnxDecoder(BUNDLE)
FREE = DecodingSettings("free_run")


def free_run(**changes: Any) -> FreeRunEvidence:
    return FreeRunEvidence(FreeRunSettings(**changes), DECODER, BUNDLE.reliability, MUSIC)


def a_trial() -> EvidenceSource:
    return TrialEvidence(Schedule((0,), 0, 1000), DECODER)


def features(played: list[tuple[int, int]], seed: int = 0, noise: float = 0.7) -> np.ndarray:
    """Features that decode to `GAIN` times the clips' embeddings, and noise that remembers."""
    rng = np.random.default_rng(seed)
    heard = room.responses(EMBEDDINGS) / room.CHANGE * room.GAIN
    rows = np.concatenate([np.tile(heard[clip], (n, 1)) for clip, n in played])
    shocks = noise * rng.standard_normal(rows.shape)
    for t in range(1, len(rows)):
        shocks[t] = NOISE_MEMORY * shocks[t - 1] + np.sqrt(1 - NOISE_MEMORY**2) * shocks[t]
    return np.asarray(rows + shocks, np.float32)


def said(source: EvidenceSource, rows: np.ndarray, lost: frozenset[int] = frozenset()) -> list[Evidence | None]:
    return [source.push(t, None if t in lost else row, t not in lost) for t, row in enumerate(rows)]


def bits(found: list[Evidence | None]) -> list[object]:
    return [None if one is None else (one.trial, one.n_volumes, one.embedding.tobytes(), one.segment) for one in found]


def firsts(found: list[Evidence | None]) -> list[int]:
    return sorted({one.segment.first_volume for one in found if one is not None and one.segment is not None})


@pytest.mark.parametrize("make", [a_trial, free_run], ids=["trials", "free run"])
def test_every_source_of_evidence_keeps_the_rules(make: Any) -> None:
    source, row = make(), features([(0, 1)])[0]
    assert source.push(0, None, False) is None
    first = source.push(1, row, True)
    assert first is not None
    assert first.n_volumes == 1
    assert np.allclose(first.embedding, DECODER.decode(row), atol=1e-4)
    kept = source.push(3, None, False)
    assert kept is not None
    assert kept.embedding.tobytes() == first.embedding.tobytes()
    with pytest.raises(VolumeError, match="comes after volume 3"):
        source.push(3, row, True)
    with pytest.raises(VolumeError, match="NaN"):
        source.push(4, np.full_like(row, np.nan), True)
    assert source.push(4, row, True) is not None


def test_a_change_of_music_begins_a_segment_near_its_border() -> None:
    found = said(free_run(), features([(3, 25), (8, 25), (5, 25)]))
    borders = firsts(found)
    assert len(borders) == 3
    assert np.abs(np.array(borders) - [0, 25, 50]).max() <= 2
    changed = [t for t in range(1, 75) if found[t].segment.number != found[t - 1].segment.number]  # type: ignore[union-attr]
    assert all(0 <= t - border <= 8 for t, border in zip(changed, (25, 50), strict=True)), "seen within 8 volumes"


def test_music_that_goes_on_is_seldom_cut() -> None:
    rows = [features([(3, 200)], seed) for seed in range(5)]
    cuts = [sum(len(firsts(said(free_run(change_odds=odds), one))) - 1 for one in rows) for odds in (1.0, 3.0, 20.0)]
    assert cuts[0] > cuts[1] > cuts[2], "surer changes are fewer"
    assert cuts[2] <= 5, f"{cuts[2]} false borders in five runs of 200 volumes"


def test_the_evidence_is_the_mean_of_the_segments_last_volumes() -> None:
    rows = features([(3, 40)])
    found = said(free_run(window_volumes=10, change_odds=1e6), rows, lost=frozenset({33, 34}))
    for t in (5, 20, 36):
        inside = [u for u in range(max(0, t - 9), t + 1) if u not in (33, 34)]
        wanted = np.mean([DECODER.decode(rows[u]) for u in inside], axis=0)
        one = found[t]
        assert one is not None
        assert one.n_volumes == len(inside)
        assert np.allclose(one.embedding, wanted, atol=1e-4)


def test_a_window_without_a_usable_volume_says_nothing_and_the_segment_goes_on() -> None:
    lost = frozenset(range(20, 35))
    found = said(free_run(window_volumes=10), features([(3, 50)]), lost)
    assert [t for t, one in enumerate(found) if one is None] == list(range(29, 35))
    assert firsts(found) == [0]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 59), st.integers(0, 20), st.sets(st.integers(0, 59), max_size=12))
def test_a_restored_state_goes_on_bit_for_bit_and_the_past_knows_no_future(cut: int, seed: int,
                                                                           lost: set[int]) -> None:
    rows, gone = features([(3, 20), (8, 20), (5, 20)], seed), frozenset(lost)
    whole = bits(said(free_run(), rows, gone))
    source = free_run()
    before = bits(said(source, rows[:cut], gone))
    again = FreeRunEvidence.restore(source.state(), FreeRunSettings(), DECODER, BUNDLE.reliability, MUSIC)
    after = [again.push(t, None if t in gone else rows[t], t not in gone) for t in range(cut, 60)]
    assert before + bits(after) == whole


def test_a_mark_begins_a_segment_and_one_in_the_past_is_refused() -> None:
    source = free_run(change_odds=1e6)
    rows = features([(3, 20)])
    for t in range(10):
        source.push(t, rows[t], True)
    source.mark(12)
    restored = FreeRunEvidence.restore(source.state(), FreeRunSettings(change_odds=1e6), DECODER, BUNDLE.reliability,
                                       MUSIC)
    for one in (source, restored):
        found = [one.push(t, rows[t], True) for t in range(10, 20)]
        assert [evidence.segment.number for evidence in found if evidence and evidence.segment] == [0, 0] + [1] * 8
        assert found[2] is not None
        assert found[2].n_volumes == 1
    with pytest.raises(EventsError, match="volume 19 has come"):
        source.mark(19)


@settings(max_examples=50, deadline=None)
@given(st.integers(3, 20), st.integers(2, 8), st.floats(0.1, 10.0), st.integers(0, 1000))
def test_the_log_odds_are_those_of_two_gaussians(n_before: int, n_recent: int, level: float, seed: int) -> None:
    """Naive twin: the joint density of both means, where one point evoked both, over that where two did."""
    rng = np.random.default_rng(seed)
    spread, before, recent = rng.uniform(0.1, 2, 3), *(rng.standard_normal((n, 3)) for n in (n_before, n_recent))
    expected = 0.0
    for axis in range(3):
        both = np.array([before[:, axis].mean(), recent[:, axis].mean()])
        noise = level * np.diag([mean_variance(n_before), mean_variance(n_recent)])
        shared, apart = noise + spread[axis], noise + spread[axis] * np.eye(2)
        expected += _log_density(both, apart) - _log_density(both, shared)
    assert log_odds_of_new(list(before), list(recent), spread, level) == pytest.approx(expected, abs=1e-9)


def _log_density(values: np.ndarray, covariance: np.ndarray) -> float:
    return float(-0.5 * (values @ np.linalg.solve(covariance, values) + np.log(np.linalg.det(covariance))))


def test_the_variance_of_a_mean_is_that_of_noise_that_remembers() -> None:
    for n in (1, 2, 7):
        covariance = NOISE_MEMORY ** np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
        assert mean_variance(n) == pytest.approx(covariance.sum() / n**2)


@pytest.mark.parametrize("memory", [0.0, 0.3, NOISE_MEMORY])
def test_a_run_tells_how_large_its_noise_is_whatever_was_promised(memory: float) -> None:
    shocks = np.random.default_rng(0).standard_normal((2000, 4))
    for t in range(1, len(shocks)):
        shocks[t] = memory * shocks[t - 1] + np.sqrt(1 - memory**2) * shocks[t]
    for variance in (0.5, 4.0):
        level, seen = NoiseLevel(), np.pad(np.sqrt(variance) * shocks, ((0, 0), (0, 2)))  # two axes tell nothing
        assert level.variance == pytest.approx(1.0)
        for before, volume in zip(seen[:-APART], seen[APART:], strict=True):
            level = level.after(volume, before)
        assert level.variance == pytest.approx(variance, rel=0.2)


@pytest.mark.parametrize("promised", [0.4, 1.0, 2.5])
def test_a_promise_that_is_wrong_by_as_much_as_between_people_changes_no_segment(promised: float) -> None:
    maps = [np.float32(promised) * each for each in (BUNDLE.evidence_map, BUNDLE.clip_map)]
    wrong = replace(BUNDLE, evidence_map=maps[0], clip_map=maps[1]).reliability
    rows = features([(3, 30), (8, 30), (5, 30), (10, 30)], 1)
    source = FreeRunEvidence(FreeRunSettings(), DECODER, wrong, MUSIC)
    found = firsts(said(source, rows))
    assert [min(abs(first - change) for first in found) <= 4 for change in (30, 60, 90)] == [True] * 3
    assert len(found) <= 5


def test_what_a_trials_first_volumes_tell_has_no_say_in_a_run_without_trials() -> None:
    """They come when the response has hardly begun: of music that goes on a volume tells more."""
    scale = np.full((len(BUNDLE.evidence_map), 1, 1), 1e-3, np.float32)
    scale[-1] = 1.0
    faint = replace(BUNDLE, clip_map=scale * BUNDLE.clip_map).reliability
    rows = features([(3, 25), (8, 25), (5, 25)])
    assert bits(said(FreeRunEvidence(FreeRunSettings(), DECODER, faint, MUSIC), rows)) == bits(said(free_run(), rows))


def test_a_decoder_that_tells_nothing_never_sees_a_change() -> None:
    blind = replace(BUNDLE, evidence_map=BUNDLE.evidence_map[:, :0], clip_map=BUNDLE.clip_map[:, :0])
    source = FreeRunEvidence(FreeRunSettings(change_odds=1.01), DECODER, blind.reliability, MUSIC)
    assert firsts(said(source, features([(3, 25), (8, 25)]))) == [0]


def test_responses_of_imagined_music_are_expected_to_be_smaller() -> None:
    """A third of the response: a change of it is likelier to who expects imagery, one of hearing's size less likely."""
    played = [(3, 25), (8, 9)]

    def told(size: float, sizes: tuple[float, ...]) -> float:
        highest = []
        for seed in range(20):
            rows = features(played, seed) - (1.0 - size) * features(played, seed, noise=0.0)
            source = FreeRunEvidence(FreeRunSettings(change_odds=1e6), DECODER, BUNDLE.reliability, MUSIC, sizes)
            after = said(source, rows.astype(np.float32))[27:]
            highest.append(max(one.segment.change_log_odds for one in after if one and one.segment))
        return float(np.mean(highest))

    assert told(0.35, ANY_SIZE) > told(0.35, HEARD)
    assert told(1.0, ANY_SIZE) < told(1.0, HEARD)


def test_a_volume_that_is_its_own_baseline_tells_nothing() -> None:
    """The first usable volume of a run: zeros, out of which the posterior would make the clip that evokes least."""
    source = free_run()
    assert source.push(0, np.zeros_like(features([(3, 1)])[0]), True) is None
    said_next = source.push(1, features([(3, 2)])[1], True)
    assert said_next is not None
    assert (said_next.n_volumes, said_next.segment and said_next.segment.first_volume) == (1, 1)


def test_a_free_run_with_onsets_or_values_that_cannot_be_is_refused() -> None:
    paths = {"bundle": "b", "catalogue": "c", "session": "s"}
    with pytest.raises(ConfigError, match="'free_run' together with events"):
        make_settings(LiveSettings, {**paths, "events": "e.tsv", "decoding": {"mode": "free_run"}}, {}, "here")
    with pytest.raises(ConfigError) as caught:
        make_settings(LiveSettings, {**paths, "decoding": {"free_run": {"window_volumes": 1, "change_odds": 0.5}}}, {},
                      "here")
    assert "window_volumes is 1" in str(caught.value)
    assert "change_odds is 0.5" in str(caught.value)


def test_a_plan_whose_runs_have_trials_cannot_be_free() -> None:
    plan = Path(__file__).resolve().parents[1] / "configs" / "plan.toml"
    with pytest.raises(ConfigError, match="the runs of a plan have trials of their own"):
        load_settings(plan, PlanSettings, {"decoding.mode": "free_run"})


@pytest.fixture(scope="module")
def steps() -> list[dict[str, Any]]:
    """What the core says of the whole run, volume 50 lost."""
    core = LiveCore(builders.header(None), Parts(BUNDLE, DECODER, MUSIC, decoding=FREE))
    volumes = builders.run_of(room.volumes(EMBEDDINGS))
    return [core.decide(percept).document for volume in volumes if volume.index != 50
            for percept in core.perceive(volume).percepts]


def test_steps_tell_their_segment_in_place_of_a_trial(steps: list[dict[str, Any]]) -> None:
    assert {step["trial"] for step in steps} == {-1}
    numbers = [step["segment"]["number"] for step in steps if step["segment"]]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) >= 8
    assert steps[50]["status"] == "GAP"
    assert steps[50]["segment"]["number"] == steps[49]["segment"]["number"]
    assert any(step["decision"] == "switch" for step in steps)
    trials = LiveCore(builders.header(None), builders.parts())
    other = [trials.decide(percept).document for volume in builders.run_of(builders.volumes(6))
             for percept in trials.perceive(volume).percepts]
    assert all("segment" not in step for step in other)


def test_table_and_console_name_the_segment(steps: list[dict[str, Any]]) -> None:
    step = next(step for step in steps if step["segment"] and step["segment"]["number"] == 2 and step["n"] == 9)
    assert " s3·9 " in plain_row(step)
    told = {**step, "n_volumes": 230, "tr_s": 1.0, "attempt": 1, "gaps": 1, "rejected": 0, "censored": 0}
    story = hear(Story(), "step", told, 5.0)
    assert (story.trial.kind, story.trial.number, story.trial.n) == ("segment", 2, 9)
    band = ChanceBand((0.31,) * 4, (0.13,) * 4)
    panel = evidence_panel(look(story, 6.0), band)
    assert "Evidence: segment 3<" in panel
    assert panel == evidence_panel(look(story, 6.0), replace(band, heard=(0.9,)))
    assert panel != evidence_panel(look(story, 6.0), replace(band, any_size=(0.9,)))
    imagined = hear(Story(), "step", {**told, "response": "imagined"}, 5.0)
    assert "Evidence: segment 3, imagined<" in evidence_panel(look(imagined, 6.0), band)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without events through bridge and live program, as processes."""
    folder = tmp_path_factory.mktemp("free")
    write_bundle(folder / "bundle", BUNDLE)
    builders.write_corpus(folder / "corpus")
    np.save(folder / "corpus" / "embeddings.npy", EMBEDDINGS)
    about = json.loads((folder / "corpus" / "corpus.json").read_text())
    (folder / "corpus" / "corpus.json").write_text(json.dumps({**about, "centre": EMBEDDINGS.mean(axis=0).tolist()}))
    room.write_run(folder / "run_bold.nii", EMBEDDINGS)
    (folder / "live.toml").write_text(
        f'bundle = "{folder}/bundle"\ncatalogue = "{folder}/corpus"\nsession = "{folder}/session"\n'
        '[decoding]\nmode = "free_run"\n[playback]\nsink = "null"\n[bridge]\nretry_wait_s = 0.0\n')
    endpoint = free_endpoint()
    with running(command("live", "--config", folder / "live.toml", "--endpoint", endpoint, "--quiet")) as live, running(
            command("bridge", "serve", folder / "run_bold.nii", "--connect", endpoint, "--unpaced")) as bridge:
        finish(bridge)
        finish(live)
    return folder / "session"


def test_borders_found_live_follow_the_music_better_than_chance(session: Path) -> None:
    """Null: the same borders, all shifted along the run, around its end, by more than twice the reach."""
    summary = json.loads(SessionFolder(session).summary.read_text())
    n_volumes, heard = len(room.course()), room.borders()
    borders = np.array([segment["first_volume"] for segment in summary["segments"]][1:])
    reach, shifts = 4, np.arange(n_volumes)
    shifted = (borders[None, :] + shifts[:, None]) % n_volumes
    apart = np.abs(shifted[:, :, None] - heard[None, None, :]).min(axis=1)
    met = (apart <= reach).mean(axis=1)  # share of the changes with a border within reach, by shift
    null = met[2 * reach + 1:-2 * reach]
    assert met[0] >= 0.8
    assert (1 + (null >= met[0]).sum()) / (1 + len(null)) < 0.01
    assert len(borders) <= len(heard) + 4


def test_what_was_heard_is_identified_live_above_chance(session: Path) -> None:
    steps = [document for document in read_documents(SessionFolder(session).record) if document["doc"] == "step"]
    heard = [f"clip{clip:02}" for clip, _ in room.PLAYED]
    ends = np.cumsum([n for _, n in room.PLAYED]) - 1
    decoded = np.array([decode_vector(steps[end]["embedding"]) for end in ends])
    targets = np.array([MUSIC.embedding(clip) for clip in heard])
    score = identification_accuracy(decoded, targets, heard)
    assert score.mean > permutation_band(decoded, targets, heard).p99
    decided = [steps[end]["top"][0]["clip_id"] == clip for end, clip in zip(ends, heard, strict=True)]
    assert sum(decided) >= 4, "by chance 4 of 10 are right once in 100 runs (twelve clips)"


def test_a_free_run_replays_to_the_byte(session: Path) -> None:
    done = subprocess.run(command("replay", session), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    start = next(read_documents(SessionFolder(session).record))
    assert start["decoding"]["mode"] == "free_run"
    assert start["window_volumes"] == FreeRunSettings().window_volumes


def test_the_page_of_a_free_run_tells_its_segments_and_scores_nothing(session: Path) -> None:
    page = (session / "report.html").read_text()
    told = json.loads(SessionFolder(session).summary.read_text())["segments"]
    table = page[page.index("Segment by segment"):]
    lines = re.findall(r'<tr><td class="n">(\d+)</td><td class="n">(\d+) s</td>.*?<td>(clip\d+)</td>', table)
    assert [(int(number) - 1, float(begins), clip) for number, begins, clip in lines] == [
        (segment["number"], segment["first_volume"] * 1.0, segment["clip_id"]) for segment in told]
    assert f"cut the run into {len(told)} segments" in page
    for of_trials in ("identification accuracy", "Is it the music that was heard?", "Trial by trial", "heard row"):
        assert of_trials not in page


def test_a_border_meets_one_change_and_only_where_it_lies_near_and_is_told_soon() -> None:
    borders = [Border(49, 54), Border(51, 56), Border(80, 84), Border(112, 130)]
    found = score_borders([50, 100, 110], borders, 2.0)
    assert (found.n_changes, found.delays, found.n_false) == (3, (4,), 3)
    assert score_borders([], borders, 2.0).n_false == 4
