"""The recipe's commands: whole, in order, one path for both sizes."""

import pytest

from common.errors import SongError
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


def test_a_failing_command_names_its_stage_and_its_cost_is_kept(tmp_path) -> None:
    class Broken(Recipe):
        def _vae(self) -> list[list[str]]:
            return [["no.such.module"]]

    with pytest.raises(SongError, match="'vae' failed"):
        run(Broken(Settings(work=str(tmp_path))), "vae")
    assert "no.such.module" in (tmp_path / "costs.jsonl").read_text()
