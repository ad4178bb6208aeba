"""Training of both codecs on a few seconds of noise: configurations, steps, stopping and resuming."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from processes import in_two
from safetensors.torch import load_file

from common.audio import Audio, read_audio, write_audio
from common.config import parse
from common.errors import AudioError, ConfigError, ManifestError
from common.frames import render
from common.pinyin import FINALS
from common.seeds import generator
from corpus import manifest
from corpus.record import SongRecord
from corpus.synth import sheet
from vae import train as train_module
from vae.config import EarWeights, Phase, TrainConfig
from vae.data import Crops, SongFile, hold_out, read_crop, song_files
from vae.load import load
from vae.scan import scan
from vae.spectral import SpectralVAE
from vae.train import (
    DivergedError,
    crops_of,
    learning_rate,
    phase_at,
    prepare,
    schedule,
    scores_at,
    step,
    train,
)
from vae.watch import picture

ROOT = Path(__file__).parent.parent
SMALL = [
    "--spectral.latent_dim", "12", "--spectral.width", "8", "--spectral.depth", "1",
    "--spectral.expansion", "1", "--calibration", "3", "--seconds", "0.2", "--batch_size", "2",
    "--log_every", "1", "--warmup", "1",
]  # fmt: skip
WHOLE = ["mid_side", "feature", "adversarial"]  # what the full objective adds
FULL = [*SMALL, "--spectral_critic.filters", "2", "--warmup_share", "0.4",
        *(part for name in WHOLE for part in (f"--spectral_weights.{name}", "0.1"))]  # fmt: skip
EAR = ["--config", str(ROOT / "vae/configs/tiny.yaml"), "--seconds", "0.1"]
KINDS = {"spectral": SMALL, "spectral-full": FULL, "ear": EAR}


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("songs")
    records = []
    for number, split in enumerate(("train", "train", "valid")):
        noise = 0.1 * generator(number, "noise").standard_normal((2, 44100))
        write_audio(folder / f"{number}.flac", Audio(noise.astype(np.float32), 44100))
        records.append(SongRecord(str(number), "test", "CC0", split, 1.0, audio=f"{number}.flac"))
    manifest.write(folder / "manifest.jsonl", records)
    return folder / "manifest.jsonl"


def config(kind: str, songs: Path, out: Path, *more: str) -> TrainConfig:
    return parse(TrainConfig, [*KINDS[kind], "--manifest", str(songs), "--out", str(out), *more])


CONFIGS = ROOT / "vae/configs"
ENDS = ["--manifest", "m", "--out", "o", "--max_minutes", "1"]


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_configuration_is_read(path: Path) -> None:
    found = parse(TrainConfig, ["--config", str(path), *ENDS])
    assert found.kind in ("ear", "spectral")


ABLATIONS = {
    "no_transformer": lambda c: not c.ear_transformer,
    "no_weighting": lambda c: c.weighting == "none",
    "a_weighting": lambda c: c.weighting == "A",
    "mid_side_phase": lambda c: c.phase_channels == "MSLR",
    "no_phase": lambda c: (c.ear_weights.correlation, c.ear_weights.phase) == (0, 0),
    "no_critic": lambda c: (c.ear_weights.adversarial, c.ear_weights.feature) == (0, 0),
    "periods": lambda c: c.critic.periods == (2, 3, 5, 7, 11),
}


@pytest.mark.parametrize("path", sorted((CONFIGS / "ablations").glob("*.yaml")), ids=lambda p: p.stem)
def test_an_ablation_changes_one_thing_of_the_paper(path: Path) -> None:
    paper = ["--config", str(CONFIGS / "paper.yaml")]
    whole, found = (parse(TrainConfig, [*c, *ENDS]) for c in (paper, [*paper, "--config", str(path)]))
    assert not ABLATIONS[path.stem](whole)
    assert ABLATIONS[path.stem](found)
    changed = [k for k, v in vars(found).items() if v != getattr(whole, k)]
    assert len(changed) == 1
    assert found.phases == whole.phases and found.ear_weights.magnitude == 50


def test_the_papers_settings() -> None:
    c = parse(TrainConfig, ["--config", str(CONFIGS / "paper.yaml"), *ENDS])
    w = c.ear_weights
    assert (w.magnitude, w.correlation, w.phase, w.feature, w.adversarial, w.kl) == (50, 10, 10, 20, 1, 1e-6)
    assert [p.steps for p in c.phases] == [10_000, 1_000_000, 1_000_000]
    assert c.betas == (0.5, 0.9)
    assert learning_rate(c, 4999, 0) == pytest.approx(1.5e-4)
    assert learning_rate(c, 9999, 0) == pytest.approx(3e-4)
    expected = {10_000: 3e-4, 209_999: 3e-4, 210_000: 1.5e-4, 410_000: 7.5e-5, 610_000: 3.75e-5}
    assert {s: learning_rate(c, s, 0.5) for s in expected} == pytest.approx(expected)
    assert learning_rate(c, 1_999_999, 0.99) == pytest.approx(3.75e-5)
    assert [(phase_at(c, s)[0].losses) for s in (0, 9_999, 10_000)] == ["warmup", "warmup", "all"]  # type: ignore[union-attr]


def test_contradictions_are_named() -> None:
    with pytest.raises(ConfigError, match="max_minutes, max_steps or phases"):
        TrainConfig("m", "o")
    with pytest.raises(ConfigError, match="calibration"):
        TrainConfig("m", "o", start="x", max_steps=1)
    with pytest.raises(ConfigError, match=r"betas are at least 0 and below 1, but got \(2\.0, 3\.0\)"):
        TrainConfig("m", "o", betas=(2.0, 3.0), max_steps=1)
    with pytest.raises(ConfigError, match=r"lr is at least 0, but got -1"):
        TrainConfig("m", "o", kind="ear", phases=(Phase(1, lr=-1.0),))
    with pytest.raises(ConfigError, match="phases belong"):
        TrainConfig("m", "o", phases=(Phase(1),))
    with pytest.raises(ConfigError, match="at least one step"):
        TrainConfig("m", "o", kind="ear", phases=(Phase(0),))
    with pytest.raises(ConfigError, match=r"0 crops of 2\.0 s"):
        TrainConfig("m", "o", batch_size=0, max_steps=1)


@pytest.mark.parametrize(
    "settings",
    [
        {"ear_weights.magnitude": "-1"},
        {"ear_weights.kl": ".nan"},
        {"spectral_weights.log": "-0.5"},
        {"spectral_weights.linear": ".inf"},
        {"ear_windows": "[]"},
        {"ear_windows": "[512, 3]"},
        {"critic.windows": "[0]"},
        {"critic.periods": "[0]"},
        {"critic.filters": "0"},
        {"spectral_critic.filters": "0"},
        {"smooth": ".nan"},
        {"smooth": ".inf"},
        {"distil": "-1"},
        {"seconds": ".nan"},
        {"excerpt_seconds": "0", "excerpts": "1"},
        {"readers": "-1"},
        {"calibration": "-1"},
    ],
    ids=str,
)
def test_numbers_that_no_training_can_use_are_named(settings: dict[str, str]) -> None:
    name = next(iter(settings)).rpartition(".")[2]
    more = [part for key, value in settings.items() for part in (f"--{key}", value)]
    with pytest.raises(ConfigError, match=rf"\b{name}\b") as told:
        parse(TrainConfig, [*more, *ENDS])
    assert "changes nothing" not in str(told.value)


def test_the_shortest_windows_train(songs: Path, tmp_path: Path) -> None:
    more = ("--ear_windows", "[4]", "--critic.windows", "[4]", "--critic.periods", "[1]")
    state = prepare(config("ear", songs, tmp_path / "run", *more))
    state.run.step = 2
    assert all(value.isfinite() for value in step(state).values())


DEMO, EAR_DEMO, PAPER = (["--config", str(CONFIGS / f"{n}.yaml")] for n in ("demo", "ear_demo", "paper"))


def ablation(name: str) -> list[str]:
    return ["--config", str(CONFIGS / f"ablations/{name}.yaml")]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ([*DEMO, *ablation("no_phase")], r"ear_weights\.correlation is 0\.0"),
        ([*DEMO, *ablation("mid_side_phase")], "phase_channels is MSLR"),
        ([*DEMO, *ablation("no_transformer")], "ear_transformer is False"),
        ([*DEMO, *ablation("periods")], r"critic\.periods is \(2, 3, 5, 7, 11\)"),
        ([*DEMO, "--ear", "tiny"], "ear is tiny"),
        ([*DEMO, "--ear_weights.feature", "0"], r"ear_weights\.feature is 0"),
        ([*DEMO, "--ear_windows", "[512]"], "ear_windows is"),
        ([*EAR_DEMO, "--spectral.latent_dim", "48"], r"spectral\.latent_dim is 48"),
        ([*EAR_DEMO, "--spectral_weights.feature", "1"], r"spectral_weights\.feature is 1"),
        ([*PAPER, "--spectral_critic.filters", "4"], r"spectral_critic\.filters is 4"),
    ],
)
def test_settings_of_the_other_kind_of_codec_are_refused(settings: list[str], named: str) -> None:
    with pytest.raises(ConfigError, match=f"{named}.*, but changes nothing where kind is"):
        parse(TrainConfig, [*settings, *ENDS])


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_changes_the_codec_it_is_of(name: str) -> None:
    kinds = {"ear": EAR_DEMO}
    if name in ("no_weighting", "a_weighting", "no_critic"):
        kinds["spectral"] = [*DEMO, "--start", "before", "--calibration", "0"]
    for kind, whole in kinds.items():
        found = parse(TrainConfig, [*whole, *ablation(name), *ENDS])
        assert found.kind == kind
        assert name == "no_critic" or ABLATIONS[name](found)
        assert (train_module.build_critic(found) is None) == (name == "no_critic")


@pytest.mark.parametrize("kind", KINDS)
def test_resuming_equals_not_stopping(kind: str, songs: Path, tmp_path: Path) -> None:
    constant = ("--final_lr", "1.0")  # the schedule knows the whole run, the short one doesn't
    whole = train(config(kind, songs, tmp_path / "whole", "--max_steps", "4", *constant))
    train(config(kind, songs, tmp_path / "parts", "--max_steps", "3", *constant))
    parts = train(config(kind, songs, tmp_path / "parts", "--max_steps", "4", *constant))
    first, second = (load_file(f / "diffusion_pytorch_model.safetensors") for f in (whole, parts))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[k], second[k]) for k in first)
    rows = [json.loads(line) for line in (tmp_path / "parts/metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert all(np.isfinite(row["loss/total"]) for row in rows)


def test_latents_are_final_before_the_first_step(songs: Path, tmp_path: Path) -> None:
    begun = load(train(config("spectral", songs, tmp_path / "a", "--max_steps", "0")))
    trained = load(train(config("spectral", songs, tmp_path / "b", "--max_steps", "2", "--lr", "0.01")))
    wav = 0.1 * torch.randn(1, 2, 9000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(begun.encode(wav).mode(), trained.encode(wav).mode())
    head = "decoder.leave.weight"
    assert not torch.equal(begun.get_parameter(head), trained.get_parameter(head))


def test_going_on_from_a_folder_of_the_other_kind_is_refused(songs: Path, tmp_path: Path) -> None:
    folder = train(config("ear", songs, tmp_path / "ear", "--max_steps", "0"))
    more = ("--max_steps", "1", "--calibration", "0", "--start", str(folder))
    with pytest.raises(ConfigError, match="EarVAE"):
        train(config("spectral", songs, tmp_path / "x", *more))


def test_a_codec_to_go_on_from_keeps_its_sizes(songs: Path, tmp_path: Path) -> None:
    def going_on(kind: str, folder: Path, *more: str) -> train_module.State:
        out = ("--max_steps", "1", "--start", str(folder))
        return prepare(config(kind, songs, tmp_path / "on", *out, *more))

    folder = train(config("ear", songs, tmp_path / "ear", "--max_steps", "0", "--ear_transformer", "false"))
    assert going_on("ear", folder).codec.config["channels"] == 4
    going_on("ear", folder, "--ear_transformer", "false")
    going_on("ear", folder, "--ear", "paper")  # the default, so nobody has asked
    with pytest.raises(ConfigError, match=r"ear \(demo\), in its channels, is 16, but the codec in .* has 4"):
        going_on("ear", folder, "--ear", "demo")
    with pytest.raises(ConfigError, match="ear-VAE 'huge'"):
        going_on("ear", folder, "--ear", "huge")
    whole = train(config("ear", songs, tmp_path / "whole", "--max_steps", "0"))
    with pytest.raises(ConfigError, match=r"ear_transformer, in its layers, is 0, but the codec in .* has 2"):
        going_on("ear", whole, "--ear_transformer", "false")
    folder = train(config("spectral", songs, tmp_path / "spectral", "--max_steps", "0"))
    assert going_on("spectral", folder, "--calibration", "0").codec.latent_dim == 12
    with pytest.raises(ConfigError, match=r"spectral\.latent_dim is 48, but the codec in .* has 12"):
        going_on("spectral", folder, "--calibration", "0", "--spectral.latent_dim", "48")


def test_a_fresh_codec_is_calibrated() -> None:
    with pytest.raises(ConfigError, match="calibration is 0"):
        parse(TrainConfig, [*DEMO, "--calibration", "0", *ENDS])
    assert parse(TrainConfig, [*EAR_DEMO, "--calibration", "0", *ENDS]).kind == "ear"


def test_schedule_rises_and_falls() -> None:
    settings = TrainConfig("m", "o", max_steps=100, warmup=10, final_lr=0.1)
    assert schedule(0, 0.0, settings) == pytest.approx(0.1)
    assert schedule(9, 0.0, settings) == pytest.approx(1.0)
    assert schedule(50, 0.5, settings) == pytest.approx(0.55)
    assert schedule(99, 1.0, settings) == pytest.approx(0.1)


def test_crops_depend_on_seed_and_step_only(songs: Path) -> None:
    files = song_files(songs, "train")
    first = Crops(files, 1000, 44100, 1).batch(4, slice(0, 4), "step", 3)
    assert torch.equal(first, Crops(files, 1000, 44100, 1, readers=2).batch(4, slice(0, 4), "step", 3))
    assert torch.equal(first[2:], Crops(files, 1000, 44100, 1).batch(4, slice(2, 4), "step", 3))
    for other in (Crops(files, 1000, 44100, 2).batch(4, slice(0, 4), "step", 3),
                  Crops(files, 1000, 44100, 1).batch(4, slice(0, 4), "step", 4)):  # fmt: skip
        assert not torch.equal(first, other)


def test_readers_fetch_what_will_be_asked(songs: Path) -> None:
    files, place = song_files(songs, "train"), (2, slice(0, 2), "step", 7)
    crops = Crops(files, 1000, 44100, 1, readers=2)
    crops.prepare(*place)
    assert len(crops._ahead) == 1
    assert torch.equal(crops.batch(*place), Crops(files, 1000, 44100, 1).batch(*place))
    assert not crops._ahead


def test_a_corrupt_file_is_skipped_counted_and_named(
    songs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "broken.flac").write_bytes((songs.parent / "0.flac").read_bytes()[:200])
    files = [*song_files(songs, "train"), SongFile(tmp_path / "broken.flac", 2.0)]
    crops = Crops(files, 1000, 44100, 1)
    for number in range(3):
        assert crops.batch(6, slice(0, 6), "step", number).abs().amax(dim=(1, 2)).min() > 0
    assert list(crops.skipped) == [tmp_path / "broken.flac"]
    assert caplog.text.count("skipped, 1 of 3 files") == 1 and "broken.flac" in caplog.text
    with pytest.raises(ManifestError, match="20 songs in a row"):
        Crops(files[2:], 1000, 44100, 1).batch(1, slice(0, 1), "step", 0)


def test_what_scores_say_is_of_the_songs_that_were_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tone for every song, and one that can't be read: features and scores stay of the same songs."""
    time, files = np.arange(6 * 44100) / 44100, []
    for tone in (300, 600, 900):
        wav = 0.5 * np.sin(2 * np.pi * tone * time)
        soundfile.write(tmp_path / f"{tone}.wav", np.stack([wav, wav], axis=1), 44100)
        files.append(SongFile(tmp_path / f"{tone}.wav", 6.0, sheet(tone, duration=12.0).score))
    (tmp_path / "600.wav").write_bytes(b"RIFF")
    settings = TrainConfig("m", "o", max_steps=0, calibration=8, distil=1.0)
    objective, seen = train_module.build(settings), {}
    monkeypatch.setattr(
        train_module,
        "scores_at",
        lambda places, *_: seen.update(songs=[p[0].path.stem for p in places]) or [],
    )
    monkeypatch.setattr(SpectralVAE, "calibrate", lambda _, wavs, *__: seen.update(wavs=wavs) or {})
    train_module.begin(objective, Crops(files, 1000, 44100, 1), settings)
    peaks = [np.abs(np.fft.rfft(wav[0].numpy())).argmax() / 4 for wav in seen["wavs"]]  # Hz, of 4 s
    assert peaks == [int(song) for song in seen["songs"]]
    assert set(seen["songs"]) == {"300", "900"}


@pytest.mark.parametrize(
    ("suffix", "subtype"), [("flac", None), ("mp3", None), ("ogg", "OPUS"), ("wav", None)]
)
def test_crops_are_read_from_their_place(suffix: str, subtype: str | None, tmp_path: Path) -> None:
    """A tone that rises with time tells where a crop is from."""
    time = np.arange(48000 * 20) / 48000
    wav = 0.5 * np.sin(2 * np.pi * np.cumsum(200 + 100 * time) / 48000)
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, np.stack([wav, wav], axis=1), 48000, subtype=subtype)
    crop = read_crop(SongFile(path, 20.0), 12.0, 4410, 44100)
    peak = np.abs(np.fft.rfft(crop[0] * np.hanning(4410), 44100)).argmax()
    assert peak == pytest.approx(200 + 100 * 12.05, abs=12)


def test_channels_that_a_crop_cant_use(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "six.wav", np.zeros((900, 6)), 44100)
    with pytest.raises(AudioError, match="6 channels"):
        read_crop(SongFile(tmp_path / "six.wav", 1.0), 0.0, 100, 44100)


def test_crop_beyond_the_end_is_silence(songs: Path) -> None:
    crop = read_crop(song_files(songs, "train")[0], 0.9, 8820, 44100)
    assert crop[:, :4410].any() and not crop[:, 4410:].any()


def test_crop_is_resampled(tmp_path: Path) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(48000) / 48000)
    write_audio(tmp_path / "a.wav", Audio(np.stack([tone, tone]).astype(np.float32), 48000))
    crop = read_crop(SongFile(tmp_path / "a.wav", 1.0), 0.1, 22050, 44100)
    assert np.abs(np.fft.rfft(crop[0] * np.hanning(22050))).argmax() == 500


def test_missing_songs_are_named(songs: Path, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="'test'"):
        song_files(songs, "test")
    with pytest.raises(AudioError, match=r"gone\.flac"):
        read_crop(SongFile(tmp_path / "gone.flac", 1.0), 0.0, 100, 44100)


# ---- the adversary -------------------------------------------------------------------------------


def weights(module: torch.nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in module.parameters()]


def test_warm_up_leaves_the_critic_alone(songs: Path, tmp_path: Path) -> None:
    state = prepare(config("ear", songs, tmp_path / "run"))
    critic = weights(state.critic)
    values = step(state)
    assert set(values) == {"loss/magnitude", "loss/kl", "loss/total", "codec/gradient", "codec/lr"}
    assert all(torch.equal(a, b) for a, b in zip(critic, weights(state.critic)))


@pytest.mark.parametrize("kind", ["ear", "spectral-full"])
def test_each_update_touches_its_own_weights(
    kind: str, songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = prepare(config(kind, songs, tmp_path / "run", "--max_steps", "3"))
    state.run.step = 2
    seen = {}

    def watched(name):
        update = getattr(train_module, name)

        def run(*args):
            before = weights(state.objective), weights(state.critic)
            found = update(*args)
            after = weights(state.objective), weights(state.critic)
            seen[name] = [
                sum(not torch.equal(a, b) for a, b in zip(*pair)) / len(pair[0])
                for pair in zip(before, after)
            ]
            assert all(p.grad is None for m in (state.objective, state.critic) for p in m.parameters())
            return found

        monkeypatch.setattr(train_module, name, run)

    watched("update_critic")
    watched("update_codec")
    values = step(state)
    assert {"loss/feature", "loss/adversarial", "critic/loss"} < set(values)
    codec, critic = zip(seen["update_critic"], seen["update_codec"])
    assert codec[0] == 0 and critic[1] == 0
    # The blocks of a spectral decoder wait for its last layer, which begins at zero.
    assert codec[1] > (0.9 if kind == "ear" else 0.7) and critic[0] > 0.9
    assert all(p.requires_grad for p in state.critic.parameters())


def test_total_holds_the_adversary(songs: Path, tmp_path: Path) -> None:
    state = prepare(config("ear", songs, tmp_path / "run"))
    state.run.step = 2
    values = {name: float(value) for name, value in step(state).items()}
    w = state.config.ear_weights
    expected = w.magnitude * values["loss/magnitude"] + w.correlation * values["loss/correlation"]
    expected += w.phase * (values["loss/frequency"] + values["loss/delay"]) + w.kl * values["loss/kl"]
    expected += w.feature * values["loss/feature"] + w.adversarial * values["loss/adversarial"]
    assert values["loss/total"] == pytest.approx(expected, rel=1e-4)


def test_total_of_a_spectral_codec(songs: Path, tmp_path: Path) -> None:
    state = prepare(config("spectral-full", songs, tmp_path / "run", "--max_steps", "3"))
    state.run.step = 2
    values = {name: float(value) for name, value in step(state).items()}
    w = state.config.spectral_weights
    names = ("log", "linear", *WHOLE)
    assert values["loss/total"] == pytest.approx(
        sum(getattr(w, name) * values[f"loss/{name}"] for name in names), rel=1e-4
    )
    assert all(values[f"loss/{name}"] > 0 for name in names)


def test_without_weights_there_is_no_critic(songs: Path, tmp_path: Path) -> None:
    more = ("--config", str(CONFIGS / "ablations/no_critic.yaml"))
    state = prepare(config("ear", songs, tmp_path / "run", *more))
    state.run.step = 2
    assert state.critic is None
    assert not any(name.startswith("critic/") for name in step(state))


def after_steps(songs: Path, out: Path, *more: str) -> dict[str, torch.Tensor]:
    state = prepare(config("ear", songs, out, "--seconds", "0.05", *more))
    for number in (1, 2):  # the warm-up's last, and the adversary's first
        state.run.step = number
        step(state)
    models = {"codec": state.accelerator.unwrap_model(state.objective),
              "critic": state.accelerator.unwrap_model(state.critic)}  # fmt: skip
    return {f"{k}.{n}": p.detach().clone() for k, m in models.items() for n, p in m.named_parameters()}


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], atol=2e-5, rtol=1e-4, msg=name)


def test_accumulation_is_a_larger_batch(songs: Path, tmp_path: Path) -> None:
    whole = after_steps(songs, tmp_path / "a", "--batch_size", "4")
    parts = after_steps(songs, tmp_path / "b", "--batch_size", "1", "--accumulation", "4")
    assert_same(whole, parts)


def _one_of_two(songs: Path, out: Path) -> None:
    found = after_steps(songs, out, "--batch_size", "2")
    assert torch.distributed.get_world_size() == 2
    if torch.distributed.get_rank() == 0:
        torch.save(found, out / "weights.pt")


def test_two_processes_are_a_larger_batch(songs: Path, tmp_path: Path) -> None:
    in_two(_one_of_two, songs, tmp_path / "two")
    whole = after_steps(songs, tmp_path / "one", "--batch_size", "4")
    assert_same(whole, torch.load(tmp_path / "two/weights.pt"))


def test_what_is_not_finite_ends_the_training(songs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(config("ear", songs, run, "--max_steps", "2"))
    state = prepare(config("ear", songs, run))
    assert state.run.restore()
    kept = load_file(run / "model/diffusion_pytorch_model.safetensors")
    with torch.no_grad():
        state.codec.decoder.layers[0].bias[0] = torch.nan
    before = weights(state.objective)
    with pytest.raises(DivergedError, match=r"step 2: .*loss/magnitude.* isn't finite.*checkpoint: go on"):
        state.critic = None
        step(state)
    assert all(torch.equal(a, b) or a.isnan().any() for a, b in zip(before, weights(state.objective)))
    found = load_file(run / "nan/step-2-process-0.safetensors")
    assert found["wav"].shape == (2, 2, 4410) and found["noise"].shape[1] == 8
    assert "NaN" in (run / "nan/step-2-process-0.json").read_text()
    assert (run / "checkpoint/complete").read_text() == "2"
    again = load_file(run / "model/diffusion_pytorch_model.safetensors")
    assert all(torch.equal(kept[k], again[k]) for k in kept)


def test_what_ends_before_the_first_checkpoint_has_none(songs: Path, tmp_path: Path) -> None:
    state = prepare(config("ear", songs, tmp_path / "run"))
    with torch.no_grad():
        state.codec.decoder.layers[0].bias[0] = torch.nan
    with pytest.raises(DivergedError, match=r"step 0: .* and there is no checkpoint: begin again"):
        step(state)
    assert not (tmp_path / "run/checkpoint").exists()


def test_excerpts_are_heard_and_seen(songs: Path, tmp_path: Path) -> None:
    more = ("--excerpts", "1", "--excerpt_seconds", "0.5", "--excerpt_minutes", "0")
    train(config("ear", songs, tmp_path / "run", "--max_steps", "1", *more))
    names = {p.name for p in (tmp_path / "run/excerpts").iterdir()}
    assert names == {"0-original.flac", "0-0000001.flac", "0-0000001.png"}
    assert read_audio(tmp_path / "run/excerpts/0-0000001.flac").samples.shape == (2, 22050)
    for name, least in {"excerpts/0-0000001.png": (900, 772), "curves.png": (100, 100)}.items():
        with Image.open(tmp_path / "run" / name) as image:
            assert image.size >= least


def test_without_a_valid_split_songs_to_hear_are_kept_from_every_phase(
    songs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    listed = tmp_path / "music.jsonl"
    scan(songs.parent, 0, listed)
    phases = [{"steps": 1}, {"steps": 1, "songs": str(songs.parent), "filter": 1}]
    more = ("--manifest", str(listed), "--excerpts", "2", "--excerpt_seconds", "0.5")
    more += ("--phases", json.dumps(phases))
    with caplog.at_level(logging.INFO):
        state = prepare(config("ear", songs, tmp_path / "run", *more))
    (told,) = [line for line in caplog.messages if "kept from the training" in line]
    heard = told.rpartition(": ")[2]
    assert (
        heard in {"0.flac", "1.flac", "2.flac"} and len(state.held_out) == 1
    )  # at most a tenth, at least one
    whole = torch.from_numpy(read_crop(SongFile(songs.parent / heard, 1.0), 0.25, 22050, 44100))
    assert torch.equal(state.held_out[0], whole)
    for number, phase in enumerate(state.config.phases):
        trained = {song.path.name for song in crops_of(state, phase).songs}
        assert trained == {"0.flac", "1.flac", "2.flac"} - {heard}, number
    # The same songs in another order: the same one is kept.
    files = song_files(listed, "train")
    assert [s.path.name for s in hold_out(files[::-1], 1, 1)] == [heard]
    assert len(hold_out(files * 20, 4, 1)) == 4


def test_a_manifest_without_a_valid_split_keeps_songs_too(songs: Path, tmp_path: Path) -> None:
    records = [r for r in manifest.read(songs) if r.split == "train"]
    for record in records:
        (tmp_path / str(record.audio)).write_bytes((songs.parent / str(record.audio)).read_bytes())
    manifest.write(tmp_path / "m.jsonl", records)
    more = ("--manifest", str(tmp_path / "m.jsonl"), "--excerpts", "1", "--excerpt_seconds", "0.5")
    state = prepare(config("ear", songs, tmp_path / "run", *more))
    assert len(state.held_out) == len(crops_of(state, state.config.phases[0]).songs) == 1


def test_excerpts_need_held_out_songs(songs: Path, tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone/0.flac").write_bytes((songs.parent / "0.flac").read_bytes())
    for more in (("--manifest", str(tmp_path / "alone")), ("--excerpts_from", str(tmp_path / "gone"))):
        with pytest.raises(ConfigError, match="excerpts_from"):
            prepare(config("ear", songs, tmp_path / "run", *more, "--excerpts", "1"))
    assert not (tmp_path / "run").exists()  # told before anything is built


def test_a_tone_is_higher_in_the_picture_than_a_lower_one() -> None:
    time = torch.arange(22050) / 44100
    rows = [picture([0.5 * torch.sin(2 * torch.pi * f * time).expand(2, -1)]) for f in (200, 2000)]
    assert rows[0].mean(axis=1).argmax() > rows[1].mean(axis=1).argmax()


def test_a_tiny_codec_overfits_a_second(tmp_path: Path) -> None:
    time = np.arange(44100) / 44100
    wav = sum(0.1 * np.sin(2 * np.pi * f * time) for f in (220, 330, 440))
    write_audio(tmp_path / "a.wav", Audio(np.stack([wav, wav]).astype(np.float32), 44100))
    settings = TrainConfig(
        str(tmp_path), str(tmp_path / "run"), kind="ear", ear="tiny", ear_windows=(512, 128), seconds=0.05,
        ear_weights=EarWeights(adversarial=0, feature=0), batch_size=1, max_steps=40, lr=1e-2, warmup=5,
    )  # fmt: skip
    state = prepare(settings)
    losses = []
    for _ in range(40):
        losses.append(float(step(state)["loss/magnitude"]))
        state.run.advance()
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [("subframes", 0, "subframes is at least 1"), ("latent_dim", 500, "latent_dim is at most the 171")],
)
def test_a_size_that_no_codec_has_is_refused(
    songs: Path, tmp_path: Path, name: str, value: int, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        train(config("spectral", songs, tmp_path, "--max_steps", "0", f"--spectral.{name}", str(value)))


@pytest.mark.parametrize(
    "more", [["--smooth", "1", "--calibration", "0"], ["--kind", "ear", "--distil", "1"]]
)
def test_axes_are_chosen_in_a_calibration(songs: Path, tmp_path: Path, more: list[str]) -> None:
    with pytest.raises(ConfigError, match="axes of a spectral codec"):
        config("spectral", songs, tmp_path, "--max_steps", "1", *more)


def test_what_scores_say_of_crops(tmp_path: Path) -> None:
    score = sheet(3, duration=12.0).score
    codec = SpectralVAE(latent_dim=4, width=4, depth=1, expansion=1)
    song = SongFile(tmp_path / "a.flac", 12.0, score)
    (told,) = scores_at([(song, 3.0)], codec, 2.0)
    whole = render(score, codec.frame_rate, 400)
    first = round(3.0 * codec.frame_rate)
    assert torch.equal(told[:, :12], torch.from_numpy(whole.channels[first : first + len(told), :12]))
    assert len(told) == codec.frames(2 * 44100) and told[:, -len(FINALS) :].sum(1).eq(1).all()
    with pytest.raises(ConfigError, match="the score of"):
        scores_at([(SongFile(tmp_path / "b.flac", 12.0), 0.0)], codec, 2.0)
