"""The walk of a prompt: right length, same samples from the same seed, faults told, nothing silent."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from app_models import PROMPT, tiny_folder, tiny_parts, tiny_pipeline
from safetensors.torch import load_file

from app.again import request_of
from app.bundle import bundle
from app.folder import hashes
from app.pace import read as read_pace
from app.pipeline import SongPipeline
from app.request import Request
from app.tune import on_phrases
from common.abc import from_abc
from common.errors import CheckpointError, LyricsError, RequestError, ScoreError, SongError
from common.loudness import integrated_loudness, true_peak
from common.lyrics import Lyrics
from common.rhyme import group
from common.score import ChordChange, Note, Score, Section
from common.song import Song
from common.theory import Key

WORDS = "<verse>\n细雨敲着窗\n想起了家"


def sing(description: str = PROMPT, **changes: Any) -> Song:
    """Six seconds, one step, no guidance."""
    quick = {"duration": 6, "num_inference_steps": 1, "guidance_scale": 1, "score_guidance_scale": 1}
    return tiny_pipeline()(description, **{**quick, **changes})


def test_a_song_of_exactly_the_asked_length_mastered() -> None:
    song = sing(duration=6.5)
    assert song.audio.samples.shape == (2, 286650) and song.audio.sample_rate == 44100
    assert integrated_loudness(song.audio) == pytest.approx(-14, abs=0.5)
    assert true_peak(song.audio) <= -0.99
    assert song.score is not None and song.score.duration == pytest.approx(6.5, abs=0.01)
    assert song.lyrics is not None and song.lyrics.lines == song.score.lyrics().lines


def test_a_song_dies_away_at_its_end() -> None:
    samples = sing(duration=6.5).audio.samples
    tail = np.abs(samples[:, -2205:]).max()  # 50 ms
    assert tail < 0.1 * np.abs(samples[:, :-22050]).max()
    assert np.abs(samples[:, -22050 * 3 : -22050]).max() > 5 * tail


def test_the_same_request_gives_the_same_samples_and_another_seed_others() -> None:
    one, same, other = sing(seed=5), sing(seed=5), sing(seed=6)
    np.testing.assert_array_equal(one.audio.samples, same.audio.samples)
    assert one.score == same.score and one.recipe == same.recipe
    assert not np.array_equal(one.audio.samples, other.audio.samples)
    again = SongPipeline.from_pretrained(tiny_folder())
    request = Request(
        PROMPT, None, None, 6, seed=5, num_inference_steps=1, guidance_scale=1, score_guidance_scale=1
    )
    np.testing.assert_array_equal(again.sing(request).audio.samples, one.audio.samples)


def test_the_recipe_makes_the_song_again() -> None:
    song = sing(lyrics=WORDS, seed=9, audience="professional")
    recipe = json.loads(json.dumps(song.recipe))
    asked = {k: v for k, v in recipe["request"].items() if not k.startswith("own_")}
    again = tiny_pipeline()(lyrics=recipe["lyrics"], **asked)
    np.testing.assert_array_equal(again.audio.samples, song.audio.samples)
    assert from_abc(recipe["score"]).lyrics() == song.score.lyrics()  # type: ignore[union-attr]
    assert recipe["models"] == hashes(tiny_folder())
    assert set(recipe["stack"]) >= {"torch", "device", "threads", "python"}


def test_a_length_that_no_song_has_is_brought_into_range_and_said() -> None:
    song = sing("三秒钟的歌", duration=None)
    assert song.audio.duration == pytest.approx(5, abs=0.01) and song.recipe["request"]["duration"] == 5.0
    told = "the description asks for 3 s, but a song lasts 5 to 240 s: it is made 5 s long"
    assert told in song.warnings
    assert told not in sing("三秒钟的歌", duration=6).warnings
    assert tiny_pipeline().estimate_sentence(Request("一分钟的钢琴曲")).startswith("singing 60 s")


def test_own_words_and_own_score_take_the_place_of_the_first_steps() -> None:
    song = sing(lyrics=WORDS)
    assert song.lyrics == Lyrics.parse(WORDS)
    assert song.score is not None and song.score.lyrics().lines == song.lyrics.lines
    scored = sing(score=song.score, duration=None)
    assert scored.score == song.score and scored.audio.duration == pytest.approx(6, abs=0.01)
    assert sing(lyrics=WORDS, score=song.score).warnings == ()
    assert "those given beside it are others" in sing(lyrics="<verse>\n你好", score=song.score).warnings[0]
    assert "the score ends at 6.0 s" in sing(score=song.score, duration=9).warnings[0]


def test_the_instruments_of_a_score_are_told_to_the_song_model() -> None:
    planned = sing().score
    assert planned is not None
    songs = [
        sing("一首歌", score=replace(planned, meta={**planned.meta, "harmony": name, "lead": name}))
        for name in ("钢琴", "古筝", "古筝")
    ]
    assert [str(song.recipe["caption"]).split("，")[-1] for song in songs] == ["钢琴", "古筝", "古筝"]
    same = [np.array_equal(songs[1].audio.samples, song.audio.samples) for song in songs]
    assert same == [False, True, True]


def test_a_song_of_ones_own_words_is_named_after_them() -> None:
    titled, plain = sing(lyrics="《故乡的雨》\n细雨敲着窗\n想起了家"), sing(lyrics=WORDS)
    assert titled.title == "故乡的雨" and plain.title == "细雨敲着窗"
    assert titled.score is not None and titled.score.title == "故乡的雨"
    assert "[ti:故乡的雨]" in titled.lyric_file()[1]  # type: ignore[index]
    assert request_of(titled.recipe).title == "故乡的雨" and "title" not in plain.recipe["request"]
    assert sing(lyrics="《故乡的雨》\n想起了家", use_score=False).title == "故乡的雨"
    named, nameless = replace(tune(5, 4), title="小调"), tune(5, 4)
    assert sing(lyrics="《雨》\n细雨敲着窗\n想起了家", score=named, duration=None).title == "小调"
    assert sing(lyrics="《雨》\n细雨敲着窗\n想起了家", score=nameless, duration=None).title == "雨"


def tune(*lengths: int, meta: dict[str, str] | None = None) -> Score:
    """A melody without words at 120 a minute: phrases of so many quarter notes, the last of each a half."""
    notes: list[Note] = []
    for phrase in lengths:
        for place in range(phrase):
            start = notes[-1].start + notes[-1].duration if notes else 0
            notes.append(Note(start, 24 if place == phrase - 1 else 12, 60 + place, None, None))
    chords, bars = (ChordChange(0, "C"),), -(-(notes[-1].start + notes[-1].duration) // 48)
    return Score(120.0, Key(0), (Section("verse", bars, chords, tuple(notes)),), meta=meta or {})


def test_own_words_are_set_to_an_own_melody_without_words() -> None:
    own = tune(5, 4, meta={"singer": "none", "lead": "钢琴"})
    song = sing("民谣，女声", lyrics="细雨敲着窗\n\n想起了家", score=own, duration=None)
    assert song.score is not None and song.score.lyrics().lines == ("细雨敲着窗", "想起了家")
    assert [(n.start, n.pitch) for n in song.score.note_spans(sung=True)] == [
        (n.start, n.pitch) for n in own.note_spans()
    ]
    assert song.lyric_file() is not None and song.lyric_file()[0] == ".lrc"  # type: ignore[index]
    assert song.score.meta == {"lead": "钢琴"} and not any("are others" in told for told in song.warnings)


def test_fewer_lines_than_phrases_are_sung_again(caplog: pytest.LogCaptureFixture) -> None:
    assert on_phrases(Lyrics.parse("细雨敲着窗"), tune(5, 5)).lines == ("细雨敲着窗",) * 2
    assert "2 phrases and the lyrics 1 lines, so lines are sung again" in caplog.text
    verse, (chorus,) = tune(5, 5), tune(4, 4).sections
    both = replace(verse, sections=(*verse.sections, replace(chorus, tag="chorus")))
    words = on_phrases(Lyrics.parse("主歌\n细雨\n副歌\n回家\n天亮"), both)
    assert [s.lines for s in words.sections] == [("细雨", "细雨"), ("回家", "天亮")]
    words = on_phrases(Lyrics.parse("副歌\n细雨\n回家\n天亮"), both)
    assert [s.lines for s in words.sections] == [("细雨", "回家"), ("天亮", "细雨")]


@pytest.mark.parametrize(
    ("lyrics", "told"),
    [
        ("细雨敲着窗\n想起家\n天亮", r"of 5, 4 notes, but the lyrics have 3 lines .* \(verse 2\)"),
        ("细雨敲着窗\n" + "啦" * 30, "30 syllables, too many for 4 notes"),
    ],
)
def test_words_that_a_melody_cant_carry_are_refused(lyrics: str, told: str) -> None:
    with pytest.raises(LyricsError, match=told) as caught:
        sing("民谣，女声", lyrics=lyrics, score=tune(5, 4), duration=None)
    assert "\n" not in str(caught.value)


def test_a_singer_who_was_asked_for_gets_words_for_the_melody() -> None:
    song = sing("民谣，女声", score=tune(5, 4), duration=None)
    assert song.lyrics is not None and [len(line) for line in song.lyrics.lines] == [5, 4]
    assert any("some are written for the singer" in told for told in song.warnings)
    for played in (sing("民谣", score=tune(5, 4), duration=None),
                   sing("民谣，女声", score=tune(5, 4), duration=None, instrumental=True)):  # fmt: skip
        assert played.lyrics is not None and not played.lyrics.lines and not played.warnings
    lone = replace(tune(9), sections=(Section("verse", 3, (ChordChange(0, "C"),)),))
    unsung = sing("民谣，女声", score=lone, duration=None)
    assert "the score is played and not sung" in unsung.warnings[0] and not unsung.lyrics.lines  # type: ignore[union-attr]


def test_form_and_rhyme_of_the_description_are_followed() -> None:
    lyrics, said = tiny_pipeline().write_lyrics(Request("民谣，女声，主歌-副歌-尾奏，押江阳韵", duration=20))
    assert [section.tag for section in lyrics.sections] == ["verse", "chorus", "outro"]
    assert {group(line) for line in lyrics.lines} == {"江阳"} and not said


def test_lines_in_the_description_are_told_not_to_be_followed() -> None:
    asked = Request("民谣，三段主歌，每句七个字，双押", duration=6)
    said = tiny_pipeline().write_lyrics(asked)[1]
    assert any("form that was asked for doesn't fill 6 s" in told for told in said)
    assert any("每句七个字 isn't followed" in told for told in said)
    assert any("双押 isn't followed" in told for told in said)
    said = tiny_pipeline().write_lyrics(replace(asked, structure="<verse>\n7R\n7R", rhyme="江阳"))[1]
    assert not any("isn't followed" in told for told in said)
    said = tiny_pipeline().write_lyrics(Request("主歌安静，副歌有力，前奏钢琴，押韵", duration=6))[1]
    assert not any("isn't followed" in told for told in said)


def test_without_a_score_there_is_no_plan() -> None:
    song = sing(lyrics=WORDS, use_score=False)
    assert song.score is None and song.recipe["score"] is None
    assert not np.array_equal(song.audio.samples, sing(lyrics=WORDS).audio.samples)
    with pytest.raises(RequestError, match="--no-score"):
        tiny_pipeline().write_score(Request(PROMPT, duration=6, use_score=False))


@pytest.mark.parametrize(
    ("description", "instrumental", "sung"),
    [
        ("一首钢琴曲，纯音乐", None, False),
        (PROMPT, True, False),
        (PROMPT, None, True),
        ("适合跑步，不要人声", None, False),
    ],
)
def test_instrumentals(description: str, instrumental: bool | None, sung: bool) -> None:
    song = sing(description, instrumental=instrumental)
    assert song.lyrics is not None and bool(song.lyrics.lines) == sung
    assert any(song.score.note_spans(sung=True)) == sung  # type: ignore[union-attr]


def test_words_win_over_a_description_without_singing_and_it_says_so() -> None:
    song = sing("纯音乐，钢琴", lyrics=WORDS)
    assert song.lyrics == Lyrics.parse(WORDS)
    assert any("asks for no singing" in warning for warning in song.warnings)


def test_a_form_of_words_is_sung_and_the_recipe_has_it() -> None:
    pipeline = tiny_pipeline()
    asked = Request("钢琴曲", duration=8, num_inference_steps=1, structure="<verse>\n5R\n5R", rhyme="江阳")
    song = pipeline.sing(asked)
    assert [len(line) for line in song.lyrics.lines] == [5, 5], "asked words are sung"
    assert any("words were given or asked for" in warning for warning in song.warnings)
    assert request_of(song.recipe) == asked
    nobody = Request("钢琴曲", duration=8, num_inference_steps=1, rhyme="江阳")
    song = pipeline.sing(nobody)
    assert (
        not song.lyrics.lines
        and "nobody sings in this song: the rhyme asked for isn't heeded" in song.warnings
    )


def test_progress_callbacks_and_latents() -> None:
    stages: list[tuple[str, float]] = []
    steps: list[int] = []
    latents = sing(
        num_inference_steps=3,
        output_type="latent",
        progress=lambda stage, share: stages.append((stage, share)),
        callback_on_step_end=lambda pipe, step, t, values: steps.append(step),
    )
    assert latents.shape == (1, -(-6 * 44100 // 1024), 8)
    assert steps == [0, 1, 2]
    assert [s for s, share in stages if share == 0] == [
        "writing lyrics", "composing", "reading the description", "singing"
    ]  # fmt: skip
    with pytest.raises(RequestError, match="'song' or 'latent'"):
        sing(output_type="pil")


def test_a_generator_of_ones_own_decides_the_noise() -> None:
    def noise(seed: int) -> torch.Tensor:
        return sing(output_type="latent", generator=torch.Generator().manual_seed(seed))

    assert torch.equal(noise(1), noise(1)) and not torch.equal(noise(1), noise(2))
    assert "the caller's own" in sing(generator=torch.Generator()).recipe["request"]["generator"]


@pytest.mark.parametrize(
    ("part", "broken", "told"),
    [
        ("transformer", lambda out: torch.full_like(out, torch.nan), "infinite or missing"),
        ("decode", lambda out: torch.full_like(out, torch.nan), "aren't finite"),
        ("decode", lambda out: torch.zeros_like(out), "silence"),
        ("decode", lambda out: out * 1e-5, "silence"),
    ],
)
def test_nan_and_silence_are_errors(
    monkeypatch: pytest.MonkeyPatch, part: str, broken: Callable[[torch.Tensor], torch.Tensor], told: str
) -> None:
    pipeline = tiny_pipeline()
    owner, name = (pipeline.transformer, "forward") if part == "transformer" else (pipeline.vae, "decode")
    whole = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *args, **kwargs: broken(whole(*args, **kwargs)))
    with pytest.raises(SongError, match=told):
        sing()


def test_a_broken_score_file_is_told() -> None:
    with pytest.raises(ScoreError, match="there is no score file"):
        sing(score="none.abc")


# ---- folders -----------------------------------------------------------------------------------


def test_a_saved_pipeline_has_every_part_and_loads_equal(tmp_path: Path) -> None:
    made = SongPipeline(**tiny_parts())  # type: ignore[arg-type]
    made.save_pretrained(tmp_path / "m")
    index = json.loads((tmp_path / "m" / "model_index.json").read_text("utf-8"))
    assert index["writer"] == ["lyrics_llm.writer", "Writer"] and index["vae"] == [
        "vae.spectral",
        "SpectralVAE",
    ]
    again = SongPipeline.from_pretrained(tmp_path / "m")
    for name in ("vae", "chinmu", "transformer"):
        for key, value in getattr(made, name).state_dict().items():
            assert torch.equal(value, getattr(again, name).state_dict()[key]), (name, key)
    assert again.scheduler.config.solver == "euler"
    assert made.sing(Request(PROMPT, duration=5, num_inference_steps=1)).recipe["models"] == "made in memory"


def test_parts_that_dont_fit_are_refused(tmp_path: Path) -> None:
    from dit.model import SongTransformer

    with pytest.raises(CheckpointError, match=r"latents of 9 dimensions, but the VAE reads 8"):
        SongPipeline.from_pretrained(tiny_folder(), transformer=SongTransformer.named("tiny", latent_dim=9))
    with pytest.raises(CheckpointError, match="a pipeline has no unet"):
        SongPipeline.from_pretrained(tiny_folder(), unet=None)


@pytest.mark.parametrize("part", ["vae", "chinmu", "writer", "transformer"])
def test_damaged_weights_are_one_sentence(tmp_path: Path, part: str) -> None:
    import shutil

    shutil.copytree(tiny_folder(), tmp_path / "m")
    for path in (tmp_path / "m" / part).glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError) as caught:
        SongPipeline.from_pretrained(tmp_path / "m")
    assert "\n" not in str(caught.value) and part in str(caught.value)


def test_a_bundle_is_half_the_size_sings_and_knows_its_pace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.bundle.TRIAL_SECONDS", 6.0)
    parts = {name: tiny_folder() / name for name in ("vae", "chinmu", "writer", "transformer")}
    out = bundle(**parts, out=tmp_path / "demo", scheduler=tiny_folder() / "scheduler")
    assert [p.name for p in tmp_path.iterdir()] == ["demo"]
    weights = load_file(out / "transformer" / "diffusion_pytorch_model.safetensors")
    assert {t.dtype for t in weights.values() if t.ndim >= 2} == {torch.bfloat16}
    assert {t.dtype for t in weights.values() if t.ndim < 2} == {torch.float32}
    pipeline = SongPipeline.from_pretrained(out)
    assert {p.dtype for p in pipeline.transformer.parameters()} == {torch.float32}
    pace = read_pace(out)
    assert pace is not None and pace.step > 0 and pace.decode > 0
    request = Request(PROMPT, duration=30)
    assert "about" in pipeline.estimate_sentence(request) and pipeline.estimate(request) > 0  # type: ignore
    with pytest.raises(CheckpointError, match="can't be bundled"):
        bundle(**(parts | {"vae": tmp_path}), out=tmp_path / "other")
    assert [p.name for p in tmp_path.iterdir()] == ["demo"]
