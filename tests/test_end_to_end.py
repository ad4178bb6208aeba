"""From nothing to a song: every stage of the recipe at its tiny size, one step each, then its score."""

from pathlib import Path

import numpy as np
import pytest
from processes import fresh_accelerator

from app import bundle
from app.pipeline import SongPipeline
from chinmu import train as chinmu_train
from common.audio import read_audio
from common.loudness import integrated_loudness, true_peak
from common.song import recipe_of
from corpus import manifest, synth
from dit import prepare as dit_prepare
from dit import train as dit_train
from eval import adherence
from lyrics_llm import train as lyrics_train
from vae import train as vae_train

PROMPT = "一首海边的快歌，男声，吉他"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models that have taken one step each on two songs."""
    work = tmp_path_factory.mktemp("work")
    songs = work / "corpus"
    assert not synth.main(["--songs", "2", "--seed", "3", "--duration", "12", "13", "--out", str(songs)])
    listed = str(songs / "manifest.jsonl")
    assert len(manifest.read(listed)) == 2

    def options(room: str, name: str) -> list[str]:
        return ["--config", f"{room}/configs/tiny.yaml", "--out", str(work / name), "--max_steps", "1"]

    vae_train.main([*options("vae", "vae"), "--manifest", listed])
    fresh_accelerator()
    chinmu_train.main([*options("chinmu", "chinmu"), "--manifest", listed, "--data.batch_size", "2"])
    fresh_accelerator()
    lyrics_train.main(options("lyrics_llm", "lyrics"))
    parts = {"vae": str(work / "vae/model"), "chinmu": str(work / "chinmu/model")}
    dit_prepare.main(
        [
            "--manifest",
            listed,
            "--vae",
            parts["vae"],
            "--chinmu",
            parts["chinmu"],
            "--out",
            str(work / "data"),
        ]
    )
    fresh_accelerator()
    dit_train.main([*options("dit", "dit"), "--data", str(work / "data")])
    return bundle.bundle(
        **parts, writer=work / "lyrics/model", transformer=work / "dit/model", out=work / "bundle"
    )


def test_a_description_becomes_a_song_that_can_be_made_again(models: Path, tmp_path: Path) -> None:
    pipeline = SongPipeline.from_pretrained(models)
    song = pipeline(PROMPT, duration=8.0, seed=5, num_inference_steps=2)
    files = song.save(tmp_path / "song.flac")
    assert {f.suffix for f in files} == {".flac", ".lrc", ".abc"}

    audio = read_audio(tmp_path / "song.flac")
    assert audio.sample_rate == 44100 and audio.samples.shape == (2, 8 * 44100)
    assert abs(integrated_loudness(audio) + 14) < 1 and true_peak(audio) < -0.9

    assert song.score is not None and song.lyrics is not None
    assert song.score.duration == pytest.approx(8.0, abs=0.05)
    assert song.lyrics.lines == song.score.lyrics().lines
    measured = adherence.measure(audio, song.score)
    assert measured.chords is None or 0 <= measured.chords <= 1

    kept = recipe_of(tmp_path / "song.flac")["request"]
    again = SongPipeline.from_pretrained(models)(
        kept["description"], duration=kept["duration"], seed=kept["seed"], num_inference_steps=2
    )
    assert np.array_equal(again.audio.samples, song.audio.samples)
