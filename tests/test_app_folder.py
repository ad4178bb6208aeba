"""Model folders: what is missing is told in one sentence, before anything heavy is imported."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from app import folder, pace
from app.folder import COMPONENTS, check, hashes
from app.request import Request
from common.errors import CheckpointError


def write_folder(path: Path) -> Path:
    """The files of a model folder, with nothing in them."""
    index = {name: ["room.module", "Class"] for name in COMPONENTS}
    path.mkdir(parents=True)
    (path / "model_index.json").write_text(json.dumps({"_class_name": "SongPipeline", **index}))
    for name in COMPONENTS:
        (path / name).mkdir()
        (path / name / ("scheduler_config.json" if name == "scheduler" else "config.json")).write_text("{}")
        if name != "scheduler":
            (path / name / "model.safetensors").write_bytes(name.encode())
    return path


def test_a_whole_folder_passes(tmp_path: Path) -> None:
    whole = write_folder(tmp_path / "m")
    assert check(whole) == whole
    assert list(hashes(whole)) == [
        f"{n}/model.safetensors" for n in ("chinmu", "transformer", "vae", "writer")
    ]
    assert hashes(whole)["vae/model.safetensors"] == hashlib.sha256(b"vae").hexdigest()


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        ("rm -r .", "there is no model folder"),
        ("rm model_index.json", "isn't a model folder: it has no model_index.json"),
        ("echo '{' > model_index.json", "can't read model_index.json"),
        ("echo '[]' > model_index.json", "model_index.json of the model folder .* isn't a JSON object"),
        ("echo '{}' > model_index.json", "names no vae"),
        ("rm -r writer", "writer/ has no config"),
        ("rm vae/config.json", "vae/ has no config"),
        ("echo x > chinmu/config.json", "can't read chinmu/config.json"),
        ("rm transformer/model.safetensors", "transformer/ has no weights"),
        ("rm scheduler/scheduler_config.json", "scheduler/ has no config"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, harm: str, told: str) -> None:
    whole = write_folder(tmp_path / "m")
    harm = harm.replace("rm -r .", f"rm -r {whole}")
    subprocess.run(harm, shell=True, check=True, cwd=whole)
    with pytest.raises(CheckpointError, match=told) as caught:
        check(whole)
    assert "\n" not in str(caught.value)


def test_demo_models_that_arent_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "BUNDLED", tmp_path / "demo")
    with pytest.raises(CheckpointError, match="make demo-models"):
        check("demo")


def test_an_estimate_grows_with_the_song_and_shrinks_with_the_machine(tmp_path: Path) -> None:
    measured = pace.Pace(write=0.1, step=0.02, decode=0.05, probe=0.01)
    request = Request("一首歌", duration=30, num_inference_steps=10)
    assert measured.seconds(request, 0.01) == pytest.approx(30 * (0.1 + 0.2 + 0.05))
    assert measured.seconds(request, 0.02) == pytest.approx(60 * 0.35)
    pace.write(tmp_path, measured)
    assert pace.read(tmp_path) == measured
    assert pace.read(tmp_path / "elsewhere") is None


@pytest.mark.parametrize(
    "text", ["{", "{}", '{"write": 1, "step": 1, "decode": 1, "probe": 0}', "[]", '{"x": 1}']
)
def test_a_pace_that_cant_be_used(tmp_path: Path, text: str) -> None:
    (tmp_path / "pace.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"pace"):
        pace.read(tmp_path)


def test_help_imports_nothing_heavy() -> None:
    heavy = ("torch", "numpy", "gradio", "diffusers", "transformers", "soundfile", "scipy")
    code = f"import sys, app.cli; app.cli.parser(); print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]"
