"""Settings: every shipped file loads; every mistake is named, all at once."""

from pathlib import Path

import pytest

from realtime.config import LiveSettings, load_settings
from realtime.errors import ConfigError
from realtime.experiment.design import DesignSettings, generate, length_volumes
from realtime.visit.plan import PlanSettings

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
GOOD = 'bundle = "b"\ncatalogue = "c"\nsession = "s"\n'


def load(tmp_path: Path, text: str, **overrides: object) -> LiveSettings:
    path = tmp_path / "live.toml"
    path.write_text(text)
    return load_settings(path, LiveSettings, dict(overrides))


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("live*.toml")), ids=lambda path: path.name)
def test_every_shipped_live_file_loads(path: Path) -> None:
    assert load_settings(path, LiveSettings).bridge.endpoint.startswith("tcp://")


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("plan*.toml")), ids=lambda path: path.name)
def test_every_shipped_plan_loads_and_its_designs_fit_its_scans(path: Path) -> None:
    plan = load_settings(path, PlanSettings)
    for run in plan.runs:
        if run.design is not None:
            design = load_settings(CONFIGS.parent / run.design, DesignSettings)
            assert length_volumes(generate(design, plan.acquisition, run.seed)) <= run.n_volumes


def test_the_file_says_what_the_settings_become(tmp_path: Path) -> None:
    settings = load(tmp_path, GOOD + "[selection]\nclip_odds = 4.0\nexcluded = ['a']\n[playback]\nsink = 'null'\n")
    assert settings.bundle == Path("b")
    assert settings.selection.clip_odds == 4.0
    assert settings.selection.excluded == ("a",)
    assert settings.playback.sink == "null"


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    settings = load(tmp_path, GOOD + "[playback]\nsink = 'null'\n", **{"playback.sink": "wav", "bundle": None})
    assert settings.playback.sink == "wav"
    assert settings.bundle == Path("b")


def test_all_mistakes_are_named_at_once_with_file_and_key(tmp_path: Path) -> None:
    text = 'bundel = "b"\ncatalogue = "c"\nsession = 3\n[selection]\nclip_ods = 1\ndwell_s = "a lot"\n'
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    message = str(caught.value)
    for part in ("live.toml", "'bundel'", "did you mean 'bundle'", "'selection.clip_ods'", "did you mean 'clip_odds'",
                 "selection.dwell_s", "'a lot'", "session"):
        assert part in message


def test_values_out_of_range_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ceiling_dbfs is 6"):
        load(tmp_path, GOOD + "[playback]\nceiling_dbfs = 6.0\n")


def test_a_file_that_is_not_toml_or_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="are not TOML"):
        load(tmp_path, "bundle = = 3")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(tmp_path / "none.toml", LiveSettings)
