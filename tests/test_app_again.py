"""A song made again from its file: the same samples, and what differs is said."""

from pathlib import Path

import numpy as np
import pytest
from app_models import PROMPT, tiny_folder, tiny_pipeline

import app.cli as cli
from app.again import differences, request_of
from common.abc import to_abc
from common.audio import Audio, read_audio, write_audio
from common.errors import RequestError
from common.song import recipe_of

WORDS = "<verse>\n细雨敲着窗\n想起了家"
FAST = {"duration": 6, "num_inference_steps": 1, "guidance_scale": 1, "score_guidance_scale": 1}


@pytest.mark.parametrize("own", ["nothing", "lyrics", "score", "no score"])
def test_the_file_makes_its_song_again(tmp_path: Path, own: str, capsys: pytest.CaptureFixture[str]) -> None:
    sung = tiny_pipeline()(
        PROMPT,
        lyrics=WORDS if own == "lyrics" else None,
        score=tiny_pipeline()(PROMPT, seed=3, **FAST).score if own == "score" else None,
        use_score=own != "no score",
        seed=7,
        audience="professional",
        **FAST,
    )
    sung.save(tmp_path / "one.flac")
    out = tmp_path / "two.flac"
    argv = ["again", str(tmp_path / "one.flac"), "--model", str(tiny_folder()), "--out", str(out)]
    assert cli.main(argv) == 0
    assert "note:" not in capsys.readouterr().err
    np.testing.assert_array_equal(read_audio(tmp_path / "one.flac").samples, read_audio(out).samples)
    assert recipe_of(out) == recipe_of(tmp_path / "one.flac")
    if sung.score:
        assert (tmp_path / "two.abc").read_text(encoding="utf-8") == to_abc(sung.score)


def test_what_differs_is_said() -> None:
    recipe = tiny_pipeline()(PROMPT, **FAST).recipe
    assert differences(recipe, tiny_pipeline()) == []
    models = recipe["models"] | {"vae/diffusion_pytorch_model.safetensors": "other"}
    changed = recipe | {"models": models, "stack": recipe["stack"] | {"torch": "1"}}
    first, second = differences(changed, tiny_pipeline())
    assert "another vae" in first and second.startswith("torch was 1, is ")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"request": None}, "isn't whole"),
        ({"request": {}}, "isn't whole"),
        ({"request": {"own_lyrics": False, "own_score": True}, "score": None}, "isn't whole"),
        ({"request": {"own_lyrics": False, "own_score": False, "tune": 3}}, "another version"),
        ({"request": {"own_lyrics": False, "own_score": False, "generator": "mine"}}, "own noise"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_refused(change: dict, told: str) -> None:
    with pytest.raises(RequestError, match=told):
        request_of({"lyrics": "", "score": None} | change)


def test_a_file_of_another_maker_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "other.flac"
    write_audio(path, Audio(np.zeros((2, 4410), dtype=np.float32), 44100))
    assert cli.main(["again", str(path)]) == 2
    assert "wasn't made by Baihua" in capsys.readouterr().err
    assert cli.main(["again", str(tmp_path / "none.flac")]) == 2
