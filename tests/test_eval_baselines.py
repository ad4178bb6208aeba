"""Baselines on tiny songs: who answers, resuming, what is left out; published models in miniature."""

import json
from pathlib import Path

import numpy as np
import pytest
from eval_generators import MINIATURES, RATE

from common.audio import Audio, read_audio, read_tags, write_audio
from common.errors import CheckpointError, ConfigError, RequestError
from common.loudness import integrated_loudness
from eval import baselines, generators, prompts, run
from eval.baselines import Settings, make, own, strangers
from eval.prompts import Prompt
from vae.spectral import SpectralVAE

SONGS, SECONDS = 4, 0.5


class Level:
    """Hears how loud a song is, and reads "loud" and "quiet"."""

    name, sample_rate, dimensions, contrastive = "chinmu", 8000, 2, True
    convention, digest = "one window", "level"

    def embed(self, audio: Audio) -> np.ndarray:
        angle = float(np.abs(audio.samples).mean()) * np.pi
        return np.array([[np.cos(angle), np.sin(angle)]], np.float32)

    def embed_text(self, texts: list[str]) -> np.ndarray:
        return np.array([[0.0, 1.0] if "响" in t else [1.0, 0.0] for t in texts], np.float32)


def song(level: float, seed: int) -> Audio:
    rng = np.random.default_rng(seed)
    return Audio((level * rng.uniform(-1, 1, (2, 44100))).astype(np.float32), 44100)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real songs, training songs of rising level, prompts of both audiences, and a codec."""
    root = tmp_path_factory.mktemp("baselines")
    rows = []
    for number in range(SONGS):
        write_audio(root / f"real/s{number}.flac", song(0.3, number))
        write_audio(root / f"train/t{number}.flac", song(0.1 + 0.25 * number, 100 + number))
        for audience, text in (("amateur", "响的歌"), ("professional", "轻的歌")):
            rows.append({"id": f"s{number}-{audience}", "description": text, "audience": audience})
    (root / "prompts.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    SpectralVAE(latent_dim=4, width=8, depth=1, iterations=2).save_pretrained(str(root / "vae"))
    return root


@pytest.fixture
def settings(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(baselines.embeddings, "load", lambda *_: Level())
    monkeypatch.setenv("BAIHUA_WEIGHTS", str(tmp_path / "weights"))
    return Settings(
        str(folder / "prompts.jsonl"), str(tmp_path / "out"), references=str(folder / "real"),
        train=str(folder / "train"), vae=str(folder / "vae"), seconds=SECONDS, cache=str(tmp_path / "cache"),
    )  # fmt: skip


def with_(settings: Settings, **changes: object) -> Settings:
    return Settings(**(settings.__dict__ | changes))  # type: ignore[arg-type]


def test_every_prompt_is_answered_by_every_kind_that_the_inputs_allow(settings: Settings, folder: Path):
    done, left_out = make(settings)
    assert [m.system for m in done] == ["real", "vae", "retrieval", "random", "wrong", "noise"]
    assert all(m.songs == m.fresh == 2 * SONGS for m in done)
    systems = run.systems_of(settings.out)
    asked = prompts.read(settings.prompts)
    for name, files in systems.items():
        assert set(prompts.answered([f.stem for f in files], asked)) == set(asked), name
        assert {round(read_audio(f).duration, 3) for f in files} == {SECONDS}
    # Each that is left out says what to put where.
    assert [text.split()[0] for text in left_out] == list(generators.PUBLISHED)
    assert all("put the folder of" in text and "--weights." in text for text in left_out)


def test_what_each_kind_answers_with(settings: Settings, folder: Path):
    make(settings)
    out = Path(settings.out)

    def sound(kind: str, name: str = "s2-amateur") -> np.ndarray:
        return read_audio(out / kind / f"{name}.flac").samples

    truth = read_audio(folder / "real/s2.flac").samples[:, : round(SECONDS * 44100)]
    np.testing.assert_array_equal(sound("real"), truth)
    assert sound("vae").shape == truth.shape and not np.array_equal(sound("vae"), truth)
    assert not np.array_equal(sound("wrong"), truth)
    np.testing.assert_array_equal(sound("wrong"), sound("wrong", "s2-professional"))
    # The loudest and the softest training song.
    assert read_tags(out / "retrieval/s2-amateur.flac")["song"] == f"t{SONGS - 1}"
    assert read_tags(out / "retrieval/s2-professional.flac")["song"] == "t0"
    assert read_tags(out / "random/s2-amateur.flac")["song"] in {f"t{i}" for i in range(SONGS)}
    noise = read_audio(out / "noise/s2-amateur.flac")
    assert integrated_loudness(noise) == pytest.approx(-14, abs=0.5)
    assert not np.array_equal(noise.samples, sound("noise", "s1-amateur"))


def test_a_second_run_makes_what_is_missing_and_the_same(settings: Settings):
    make(with_(settings, kinds=["random", "noise"]))
    lost = Path(settings.out) / "noise/s1-amateur.flac"
    before, stamp = lost.read_bytes(), (Path(settings.out) / "random/s1-amateur.flac").stat().st_mtime_ns
    lost.unlink()
    done, _ = make(with_(settings, kinds=["random", "noise"]))
    assert [m.fresh for m in done] == [0, 1]
    assert lost.read_bytes() == before
    assert (Path(settings.out) / "random/s1-amateur.flac").stat().st_mtime_ns == stamp


def test_songs_of_another_request_are_refused(settings: Settings):
    make(with_(settings, kinds=["noise"]))
    for changes in ({"seed": 1}, {"seconds": 0.4}):
        with pytest.raises(ConfigError, match="another request"):
            make(with_(settings, kinds=["noise"], **changes))


def test_a_stop_leaves_whole_files_only(settings: Settings):
    class Falls:
        name, made_by, count = "falls", "test", 0

        def generate(self, prompt: Prompt, seconds: float, seed: int) -> Audio:
            self.count += 1
            if self.count == 3:
                raise KeyboardInterrupt
            return song(0.2, self.count)

    asked, system = prompts.read(settings.prompts), Falls()
    with pytest.raises(KeyboardInterrupt):
        baselines.answer(system, asked, settings)
    assert len(list((Path(settings.out) / "falls").iterdir())) == 2
    assert baselines.answer(system, asked, settings).fresh == 2 * SONGS - 2


def test_strangers_are_others_songs():
    for count in (2, 3, 9):
        mine = {f"p{i}": f"song{i // 2}" for i in range(2 * count)}
        found = strangers(mine, seed=3)
        assert all(found[name] != mine[name] for name in mine)
        assert sorted(set(found.values())) == sorted(set(mine.values()))
        assert found == strangers(mine, seed=3)
    with pytest.raises(RequestError, match="at least two songs"):
        strangers({"a": "x", "b": "x"}, 0)


def test_prompts_without_a_song_of_their_own_are_named():
    asked = {"a": Prompt("a", "歌"), "b": Prompt("b", "歌", reference="elsewhere")}
    with pytest.raises(RequestError, match="1 of 2 prompts, such as 'b'"):
        own(asked, {"a": Path("a.flac")})


def test_what_lacks_an_input_is_left_out_or_refused(settings: Settings, tmp_path: Path):
    done, left_out = make(with_(settings, references=None, train=None))
    assert [m.system for m in done] == ["noise"]
    assert left_out[0] == "real is left out: it needs --references"
    for kind, why in (("random", "--train"), ("musicgen", "facebook/musicgen-small"), ("vae", "no codec")):
        with pytest.raises(RequestError, match=f"{kind} can't be made: .*{why}"):
            make(with_(settings, kinds=[kind], train=None, vae=str(tmp_path / "none")))


def test_the_command_says_what_is_wrong(settings: Settings, folder: Path, capsys: pytest.CaptureFixture[str]):
    given = ["--prompts", settings.prompts, "--out", settings.out, "--seconds", "0.5"]
    assert baselines.main([*given, "--kinds", "[noise]"]) == 0
    assert f"noise: {2 * SONGS} songs, {2 * SONGS} of them new" in capsys.readouterr().out
    for wrong in (["--kinds", "[choir]"], ["--seconds", "0"], ["--references", str(folder / "none")],
                  ["--prompts", str(folder / "none.jsonl")]):  # fmt: skip
        assert baselines.main([*given, "--kinds", "[real]", *wrong]) == 2
        assert capsys.readouterr().err.count("\n") == 1


# ---- published models ----------------------------------------------------------------------

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")  # diffusers' Oobleck


@pytest.mark.parametrize("name", MINIATURES)
def test_a_published_model_sings_by_its_seed(name: str, tmp_path: Path):
    folder = MINIATURES[name](tmp_path / name)
    system = generators.load(name, folder, device="cpu", steps=2)
    prompt = Prompt("a", "一首歌", english="a song")
    first, again, other = (system.generate(prompt, 0.5, seed).samples for seed in (3, 3, 4))
    assert first.shape[0] == (2 if name == "stable-audio" else 1)
    assert 0.45 * RATE < first.shape[1] <= 0.5 * RATE
    assert 0.0 < np.abs(first).max() <= 1.0
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_model_of_english_is_told_the_translation(tmp_path: Path):
    system = generators.load("musicgen", MINIATURES["musicgen"](tmp_path), device="cpu")
    told, read = [], system.processor  # type: ignore[attr-defined]

    def listen(text: list[str], **settings: object) -> object:
        told.extend(text)
        return read(text=text, **settings)

    system.processor = listen  # type: ignore[attr-defined]
    system.generate(Prompt("a", "一首歌", english="a song"), 0.1, 0)
    system.generate(Prompt("a", "一首歌"), 0.1, 0)
    assert told == ["a song", "一首歌"]


def test_a_model_that_stops_early_says_so(caplog: pytest.LogCaptureFixture):
    class Short:
        name, longest = "short", 2.0

    assert generators._shortened(Short(), 1.5) == 1.5 and not caplog.records
    assert generators._shortened(Short(), 3.0) == 2.0
    assert "short makes 2 s where 3 were asked for" in caplog.text


def test_samples_beyond_full_scale_are_brought_back():
    made = generators._audio(np.array([0.5, -2.0, 1.0, 9.0]), 3, 1.0)
    np.testing.assert_allclose(made.samples, [[0.25, -1.0, 0.5]])


def test_weights_are_looked_for_and_never_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BAIHUA_WEIGHTS", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"put the folder of cvssp/audioldm2-music at .*audioldm2"):
        generators.locate("audioldm2")
    with pytest.raises(CheckpointError, match=f"no weights at {tmp_path}/elsewhere"):
        generators.locate("stable-audio", tmp_path / "elsewhere")
    with pytest.raises(RequestError, match="known are musicgen"):
        generators.locate("jukebox")
    (tmp_path / "musicgen").mkdir()
    (tmp_path / "musicgen/config.json").write_text("{}")
    assert generators.locate("musicgen") == tmp_path / "musicgen"
    with pytest.raises(CheckpointError, match="MusicGen can't be loaded from"):
        generators.load("musicgen")


def test_a_translation_is_read_beside_the_words(tmp_path: Path):
    (tmp_path / "p.csv").write_text("id,description,english\na,慢歌,a slow song\nb,快歌,\n", encoding="utf-8")
    asked = prompts.read(tmp_path / "p.csv")
    assert [generators.words(p) for p in asked.values()] == ["a slow song", "快歌"]
    assert asked["a"].text == "慢歌"
