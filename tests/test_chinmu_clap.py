"""The audio tower from CLAP's weights: official names, transformers folders, and what isn't one."""

from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, ClapAudioModel, ClapConfig, ClapFeatureExtractor, ClapModel

from chinmu import clap
from chinmu.audio import HTSAT
from chinmu.config import AudioConfig, ModelConfig, TextConfig
from chinmu.features import features
from chinmu.model import ChinMu, build
from chinmu.text import character_tokenizer
from common.errors import CheckpointError, ConfigError

RATE = 48000
SHAPE = {
    "depths": [1, 2],
    "num_hidden_layers": 2,
    "hidden_size": 32,
    "patch_embeds_hidden_size": 16,
    "num_attention_heads": [2, 4],
}
HEARD = AudioConfig(
    tower="htsat",
    sample_rate=RATE,
    n_fft=1024,
    hop_length=480,
    mel_scale="slaney",
    f_min=50.0,
    f_max=14000.0,
    n_chroma=0,
    std_db=1.0,
    edges="reflect",
    window=10.01,
)
READ = TextConfig(
    encoder={
        "model_type": "bert",
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
    },
    longest=64,
)


def tiny_clap(**audio) -> ClapModel:
    """A ClapModel with random weights, and band statistics that aren't those of a new one."""
    torch.manual_seed(0)
    text = {"vocab_size": 50, "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = ClapModel(
        ClapConfig(
            audio_config=SHAPE | audio,
            text_config=text | {"intermediate_size": 32, "max_position_embeddings": 40},
            projection_dim=24,
        )
    )
    norm = model.audio_model.audio_encoder.batch_norm
    norm.running_mean.copy_(torch.linspace(-40, -20, 64))
    norm.running_var.copy_(torch.linspace(50, 90, 64))
    return model.eval()


def official_block(stage: int, block: int) -> list[str]:
    """The names of one Swin block in laion_clap 1.1.7."""
    inner = [
        "norm1.weight",
        "norm1.bias",
        "attn.relative_position_bias_table",
        "attn.relative_position_index",
    ]
    inner += [f"{part}.{kind}" for part in ("attn.qkv", "attn.proj", "norm2") for kind in ("weight", "bias")]
    inner += [f"{part}.{kind}" for part in ("mlp.fc1", "mlp.fc2") for kind in ("weight", "bias")]
    masked = ["attn_mask"] if block % 2 and stage < 3 else []
    return [f"layers.{stage}.blocks.{block}.{name}" for name in masked + inner]


def official_names(depths: list[int]) -> list[str]:
    """Every name of the audio branch's state in laion_clap 1.1.7, read off its HTSAT."""
    front = ["spectrogram_extractor.stft.conv_real.weight", "spectrogram_extractor.stft.conv_imag.weight"]
    front += ["logmel_extractor.melW"]
    front += [f"bn0.{k}" for k in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")]
    front += [f"patch_embed.{part}.{kind}" for part in ("proj", "norm") for kind in ("weight", "bias")]
    middle = []
    for stage, depth in enumerate(depths):
        middle += [name for block in range(depth) for name in official_block(stage, block)]
        if stage < len(depths) - 1:
            between = ("reduction.weight", "norm.weight", "norm.bias")
            middle += [f"layers.{stage}.downsample.{name}" for name in between]
    last = [f"{part}.{kind}" for part in ("norm", "tscam_conv", "head") for kind in ("weight", "bias")]
    return front + middle + last


def transformers_name(name: str) -> str:
    """Written out apart from the map under test."""
    pairs = {
        "bn0": "batch_norm",
        "norm1": "layernorm_before",
        "norm2": "layernorm_after",
        "attn.proj": "attention.output.dense",
        "attn.relative_position_bias_table": "attention.self.relative_position_bias_table",
        "attn.relative_position_index": "attention.self.relative_position_index",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
    }
    for old, new in pairs.items():
        name = name.replace(f".{old}", f".{new}") if f".{old}" in name else name.replace(f"{old}.", f"{new}.")
    return name


def official(model: ClapModel) -> dict[str, torch.Tensor]:
    """The state of `model` as an official checkpoint would name it."""
    own = model.audio_model.audio_encoder.state_dict()
    out = {}
    for name in official_names(SHAPE["depths"]):
        if ".attn.qkv." in name:
            parts = [name.replace("attn.qkv", f"attention.self.{k}") for k in ("query", "key", "value")]
            value = torch.cat([own[transformers_name(part)] for part in parts])
        elif any(part in name for part in ("extractor", "tscam", "head", "attn_mask")):
            value = torch.zeros(3)
        else:
            value = own[transformers_name(name)]
        out[f"module.audio_branch.{name}"] = value
    for side in ("audio", "text"):
        for place, layer in (("0", "linear1"), ("2", "linear2")):
            for kind in ("weight", "bias"):
                value = getattr(getattr(model, f"{side}_projection"), layer).state_dict()[kind]
                out[f"module.{side}_projection.{place}.{kind}"] = value
    return out | {"module.logit_scale_a": torch.tensor(2.6)}


@pytest.fixture
def donor() -> ClapModel:
    return tiny_clap()


def made(source: Path, **audio) -> ChinMu:
    wanted = replace(HEARD, pretrained=str(source), **audio)
    return build(ModelConfig(wanted, READ), character_tokenizer(["慢歌钢琴"])).eval()


def noise(seconds: float) -> torch.Tensor:
    return 0.1 * torch.randn(1, round(seconds * RATE), generator=torch.Generator().manual_seed(1))


def test_htsat_base_has_the_official_number_of_tensors():
    names = official_names([2, 2, 12, 2])
    assert len(set(names)) == 287
    mapped = [new for name in names for new in clap.htsat_names(name, torch.zeros(3, 1))]
    assert len(mapped) == len(set(mapped)) == 344


def test_the_official_checkpoint_gives_the_same_tower_from_the_waveform_on(donor, tmp_path):
    path = tmp_path / "music_audioset_epoch_15_esc_90.14.pt"
    torch.save({"epoch": 15, "state_dict": official(donor)}, path)
    model = made(path)
    assert model.audio_config.htsat == SHAPE | {"enable_fusion": False}
    assert model.audio_config.pretrained is None
    for name, value in donor.audio_model.state_dict().items():
        assert torch.equal(model.audio_tower.model.state_dict()[name], value), name
    wav = noise(10.0)
    extractor = ClapFeatureExtractor(frequency_min=50, frequency_max=14000, truncation="rand_trunc")
    theirs = extractor(wav[0].numpy(), sampling_rate=RATE, return_tensors="pt")["input_features"]
    with torch.no_grad():
        expected = donor.audio_model(input_features=theirs).pooler_output
        heard = model.audio_tower(features(wav, model.audio_config))
    torch.testing.assert_close(heard, expected, atol=1e-4, rtol=1e-4)


def test_a_folder_with_one_official_file_and_a_saved_model_load_alike(donor, tmp_path):
    torch.save(official(donor), tmp_path / "clap.pt")  # without the outer dictionary
    model = made(tmp_path)
    model.save_pretrained(tmp_path / "whole")
    loaded = ChinMu.from_pretrained(tmp_path / "whole")
    wav = noise(12.0)
    torch.testing.assert_close(loaded.embed_audio(wav, RATE), model.embed_audio(wav, RATE))


@pytest.mark.parametrize("whole", [True, False])
def test_a_transformers_folder_gives_its_audio_tower(donor, tmp_path, whole: bool):
    kept = donor if whole else donor.audio_model
    assert isinstance(kept, ClapModel | ClapAudioModel)
    kept.save_pretrained(tmp_path)
    model = made(tmp_path)
    for name, value in donor.audio_model.state_dict().items():
        assert torch.equal(model.audio_tower.model.state_dict()[name], value), name


def test_a_tower_with_fusion_is_the_same_function_without_it(tmp_path):
    donor = tiny_clap(enable_fusion=True, fusion_type="channel_map")
    # Its patches are four copies of the spectrogram side by side; one window has them all alike.
    donor.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="another shape"):
        made(tmp_path)
    donor = tiny_clap(enable_fusion=True)
    donor.save_pretrained(tmp_path)
    model = made(tmp_path)
    heard = features(noise(10.0), model.audio_config)
    with torch.no_grad():
        images = heard.transpose(1, 2)[:, None].repeat(1, 4, 1, 1)
        expected = donor.audio_model(input_features=images, is_longer=torch.zeros(1, 1)).pooler_output
        torch.testing.assert_close(model.audio_tower(heard), expected, atol=1e-5, rtol=1e-5)


def test_what_is_no_clap_is_refused(donor, tmp_path):
    weights = official(donor)
    del weights["module.audio_branch.layers.1.blocks.1.mlp.fc2.weight"]
    torch.save({"state_dict": weights}, tmp_path / "less.pt")
    with pytest.raises(CheckpointError, match=r"lacks 1 tensors, such as .*1\.output\.dense\.weight"):
        made(tmp_path / "less.pt")
    (tmp_path / "damaged.pt").write_bytes(b"no checkpoint")
    with pytest.raises(CheckpointError, match="can't be read"):
        made(tmp_path / "damaged.pt")
    torch.save({"state_dict": {"module.audio_branch.x": torch.zeros(1)}}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="isn't a LAION-CLAP"):
        made(tmp_path / "other.pt")
    BertConfig().save_pretrained(tmp_path / "bert")
    with pytest.raises(CheckpointError, match="'bert'"):
        made(tmp_path / "bert")
    with pytest.raises(CheckpointError, match="can't be loaded"):
        made(tmp_path / "nothing")
    with pytest.raises(ConfigError, match="only the htsat tower"):
        AudioConfig(pretrained="x.pt")


class Runs:
    """What a hostile file would have run."""

    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_file_of_any_protocol_with_numbers_of_numpy_is_read(tmp_path, zipped: bool, protocol: int):
    """As the official ones are, which torch's own reader of tensors refuses."""
    path = tmp_path / "official.pt"
    state = {"module.x": torch.arange(6.0).reshape(2, 3).T, "module.half": torch.ones(2).half()}
    kept = {"epoch": 15, "acc": np.float64(90.14), "all": np.ones(3), "state_dict": OrderedDict(state)}
    torch.save(kept, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    read = clap.checkpoint(path, "state_dict")
    assert all(torch.equal(read[name], value) for name, value in state.items()) and len(read) == len(state)


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_of_a_file_is_run(tmp_path, capsys, zipped: bool):
    torch.save(
        {"state_dict": {"x": torch.ones(1)}, "y": Runs()},
        tmp_path / "x.pt",
        _use_new_zipfile_serialization=zipped,
    )
    with pytest.raises(CheckpointError, match="print, which is no tensor"):
        clap.checkpoint(tmp_path / "x.pt", "state_dict")
    assert not capsys.readouterr().out


def test_short_windows_are_repeated_and_too_long_ones_refused(donor):
    tower = HTSAT(replace(HEARD, htsat=SHAPE)).eval()
    clap.fill(tower.model, donor.audio_model.state_dict(), "the donor")
    heard = features(noise(3.0), HEARD)[..., :250]
    with torch.no_grad():
        torch.testing.assert_close(tower(heard), tower(heard.repeat(1, 1, 5)[..., :1001]))
    with pytest.raises(ConfigError, match="hears 1024 frames at once"):
        HTSAT(replace(HEARD, htsat=SHAPE, window=30.0))


def test_the_bands_statistics_are_measured_once_and_never_trained():
    torch.manual_seed(0)
    model = build(
        ModelConfig(replace(HEARD, window=2.0, htsat=SHAPE | {"spec_size": 128}), READ),
        character_tokenizer(["慢歌钢琴"]),
    )
    windows = features(torch.cat([noise(2.0), 3 * noise(2.0)]), model.audio_config)[..., :200]
    model.calibrate(["慢歌", "钢琴"], windows)
    norm = model.audio_tower.model.audio_encoder.batch_norm
    torch.testing.assert_close(norm.running_mean, windows.mean((0, 2)))
    measured = norm.running_mean.clone()
    model.train()
    alone = model.audio_vectors(windows[:1], torch.tensor([0]), 1)
    assert not norm.training and torch.equal(norm.running_mean, measured)
    model.eval()
    pair = model.audio_vectors(windows, torch.tensor([0, 1]), 2)
    assert alone.shape == (1, 512) and pair.shape == (2, 512)
    calibrated = tiny_clap().audio_model
    tower = HTSAT(replace(HEARD, htsat=SHAPE))
    clap.fill(tower.model, calibrated.state_dict(), "the donor")
    assert not tower.fresh and HTSAT(replace(HEARD, htsat=SHAPE)).fresh


def test_the_package_itself_agrees_where_it_is_installed(tmp_path):
    htsat = pytest.importorskip("laion_clap.clap_module.htsat")
    from types import SimpleNamespace

    shape = {"window_size": 1024, "hop_size": 480, "sample_rate": RATE, "mel_bins": 64, "fmin": 50}
    shape |= {"fmax": 14000, "class_num": 527, "clip_samples": 480000, "audio_length": 1024}
    theirs = htsat.create_htsat_model(SimpleNamespace(model_type="HTSAT", model_name="tiny", **shape)).eval()
    path = tmp_path / "clap.pt"
    torch.save({"state_dict": {f"audio_branch.{k}": v for k, v in theirs.state_dict().items()}}, path)
    model, wav = made(path), noise(10.0)
    with torch.no_grad():
        expected = theirs({"waveform": wav, "longer": torch.zeros(1, dtype=torch.bool)}, device="cpu")
        heard = model.audio_tower(features(wav, model.audio_config))
    torch.testing.assert_close(heard, expected["embedding"], atol=1e-4, rtol=1e-4)
