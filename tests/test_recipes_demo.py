"""The recipe's commands: whole, in order, one path for both sizes."""

from pathlib import Path

import pytest
import yaml

from common.errors import ConfigError, SongError
from recipes.demo import STAGES, Recipe, Settings, run


def test_each_stage_runs_modules_of_the_project_and_shares_its_folders() -> None:
    recipe = Recipe(Settings(size="tiny", work="w"))
    commands = {stage: recipe.commands(stage) for stage in STAGES}
    rooms = {command[0].split(".")[0] for lines in commands.values() for command in lines}
    assert rooms == {"corpus", "vae", "chinmu", "lyrics_llm", "dit", "eval", "app", "recipes"}
    assert "w/vae/model" in commands["latents"][0] and "w/vae/model" in commands["bundle"][0]
    assert commands["latents"][0][-1] == commands["dit"][0][commands["dit"][0].index("--data") + 1]
    heard = commands["chinmu"][1]
    assert heard[heard.index("--init") + 1] == "w/chinmu/model"
    assert heard[heard.index("--also") + 1] == "[w/corpus/short/manifest.jsonl, w/corpus/ears/manifest.jsonl]"
    assert (
        "w/chinmu_audio/model" in commands["latents"][0] and "w/chinmu_audio/model" in commands["bundle"][0]
    )


def test_the_pool_is_held_out_and_isnt_the_test_set() -> None:
    lines = {c[-1]: c for c in Recipe(Settings()).commands("corpus")}
    test, pool = lines["runs/demo/corpus/test"], lines["runs/demo/corpus/pool"]
    assert [line[line.index("--split") + 1] for line in (test, pool)] == ["test", "test"]
    assert test[test.index("--seed") + 1] != pool[pool.index("--seed") + 1]


def _after(line: list[str], name: str) -> str:
    return line[line.index(name) + 1]


def test_a_bundle_goes_on_in_every_stage_and_keeps_its_codec_and_its_text_vectors(tmp_path) -> None:
    bundle = tmp_path / "models"
    bundle.mkdir()
    (bundle / "model_index.json").write_text("{}")
    recipe = Recipe(Settings(work="w", init=str(bundle), seed=20000))
    assert recipe.commands("vae") == []
    for stage, part in {"chinmu": "chinmu", "lyrics": "writer", "dit": "transformer"}.items():
        (line,) = recipe.commands(stage)
        assert _after(line, "--init") == f"{bundle}/{part}"
    (heard,) = recipe.commands("chinmu")
    assert "text" not in _after(heard, "--only")
    assert _after(recipe.commands("latents")[0], "--vae") == f"{bundle}/vae"
    (made,) = recipe.commands("bundle")
    assert [_after(made, f"--{part}") for part in ("vae", "chinmu", "writer", "transformer", "out")] == [
        f"{bundle}/vae", "w/chinmu/model", "w/lyrics/model", "w/dit/model", "w/bundle",
    ]  # fmt: skip


def test_a_share_of_songs_and_minutes_and_another_seed_leave_evaluation_alone() -> None:
    whole, part = Recipe(Settings()), Recipe(Settings(songs=0.2, minutes=0.1, seed=20000))
    songs = [{Path(c[-1]).name: c for c in recipe.commands("corpus")} for recipe in (whole, part)]
    for split in ("valid", "test", "pool"):
        assert songs[0][split] == songs[1][split]
    assert [_after(songs[1][split], "--songs") for split in ("train", "short", "ears")] == [
        "200",
        "320",
        "1000",
    ]
    assert [_after(songs[1][split], "--seed") for split in ("train", "short")] == ["20000", "5020000"]
    boxes = [float(_after(recipe.commands("dit")[0], "--max_minutes")) for recipe in (whole, part)]
    assert boxes[1] == pytest.approx(0.1 * boxes[0])


def test_the_smallest_share_is_still_enough_songs_for_a_batch() -> None:
    """ChinMu's batch takes different songs: of a tenth of the thousand there were too few."""
    path = Path(__file__).parents[1] / "chinmu/configs/demo.yaml"
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    songs = {Path(c[-1]).name: c for c in Recipe(Settings(songs=0.01)).commands("corpus")}
    for split in ("train", "short", "ears"):
        assert int(_after(songs[split], "--songs")) >= config["data"]["batch_size"]


@pytest.mark.parametrize("wrong", [{"songs": 0.0}, {"songs": 1.5}, {"minutes": -1.0}, {"init": "nowhere"}])
def test_settings_that_name_nothing_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=r"share|bundle"):
        Settings(**wrong)


def test_a_failing_command_names_its_stage_and_its_cost_is_kept(tmp_path) -> None:
    class Broken(Recipe):
        def _vae(self) -> list[list[str]]:
            return [["no.such.module"]]

    with pytest.raises(SongError, match="'vae' failed"):
        run(Broken(Settings(work=str(tmp_path))), "vae")
    assert "no.such.module" in (tmp_path / "costs.jsonl").read_text()
