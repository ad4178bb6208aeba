"""ChinMu's towers, folder and use."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_encoder import encoder
from transformers import AutoConfig, AutoModel, PreTrainedModel

from chinmu.audio import summary
from chinmu.config import AudioConfig, ChinMuConfig, ModelConfig, TextConfig
from chinmu.features import features
from chinmu.model import ChinMu, build, covering
from chinmu.text import canonical, character_tokenizer, parts
from common.errors import AudioError, CheckpointError, ConfigError, RequestError

CHARACTERS = "一首安静的钢琴曲流行摇滚慢歌女声男声温柔悲伤快乐的夏天,。0123456789bpmr&"
TINY = ModelConfig(
    audio=AudioConfig(window=2.0, channels=(4, 8), width=32, depth=1, heads=2),
    text=TextConfig(encoder=encoder(32, 64), longest=64),
)


def tiny(config: ModelConfig = TINY) -> ChinMu:
    torch.manual_seed(0)
    return build(config, character_tokenizer([CHARACTERS], longest=config.text.longest)).eval()


@pytest.fixture(scope="module")
def model() -> ChinMu:
    return tiny()


def noise(seconds: float, songs: int = 1, rate: int = 44100) -> torch.Tensor:
    return 0.1 * torch.randn(songs, 2, int(seconds * rate), generator=torch.Generator().manual_seed(1))


# ---- features ------------------------------------------------------------------------------


def test_features_have_a_frame_for_each_hop_and_peak_at_the_band_of_a_tone():
    config = AudioConfig()
    time = torch.arange(44100) / 44100
    values = features(torch.sin(2 * np.pi * 440 * time)[None], config)
    assert values.shape == (1, 76, config.frames(44100))
    mel = values[0, :64].mean(-1)
    edges = np.linspace(2595 * np.log10(1 + 40 / 700), 2595 * np.log10(1 + 16000 / 700), 66)
    expected = np.abs(edges[1:-1] - 2595 * np.log10(1 + 440 / 700)).argmin()
    assert int(mel.argmax()) == expected
    assert int(values[0, 64:].mean(-1).argmax()) == 9  # A


def test_ten_times_the_amplitude_is_twenty_decibels():
    config = replace(AudioConfig(), n_chroma=0)
    wav = noise(1.0)
    difference = features(10 * wav, config) - features(wav, config)
    torch.testing.assert_close(difference, torch.full_like(difference, 20 / config.std_db), atol=1e-3, rtol=0)


def test_blocks_of_frames_join_without_a_seam():
    config = AudioConfig(n_fft=64, hop_length=16, chroma_n_fft=1024, n_mels=8)
    wav = noise(1.0)[..., : 16 * 2600]
    whole = features(wav, config)
    later = features(wav[..., 16 * 1000 :], config)
    torch.testing.assert_close(
        whole[..., 1010:], later[..., 10:], atol=1e-4, rtol=1e-3
    ) if config.n_chroma == 0 else None
    torch.testing.assert_close(whole[:, :8, 1010:], later[:, :8, 10:], atol=1e-4, rtol=1e-3)


def test_the_slaney_filters_have_unit_area():
    from chinmu.features import _mel_filters_of

    filters = _mel_filters_of(48000, 1024, 64, 50.0, 14000.0, "slaney")
    areas = filters.sum(0) * 48000 / 1024
    np.testing.assert_allclose(areas[20:], 1.0, atol=0.05)


def test_the_summary_shows_the_period_of_a_pulse():
    mel = torch.zeros(1, 64, 430)
    mel[..., ::20] = 1.0
    lags = summary(mel, 64)[:, 3 * 64 :].reshape(4, 96)
    assert [int(group[5:].argmax()) + 5 for group in lags] == [19] * 4  # lag 20 stands at index 19


@given(st.integers(1, 500), st.integers(1, 120))
@settings(max_examples=60, deadline=None)
def test_windows_cover_a_song_from_end_to_end(length: int, frames: int):
    song = torch.arange(length, dtype=torch.float32)[None]
    windows = covering(song, frames)
    assert windows.shape == (-(-length // min(frames, length)), 1, min(frames, length))
    assert set(windows.flatten().int().tolist()) == set(range(length))


# ---- text ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other", ["安静，钢琴，90BPM", "安静, 钢琴 ,90bpm", "安静、钢琴；９０ＢＰＭ。", " 安静,\n钢琴,90BPM!"]
)
def test_width_marks_and_spaces_change_nothing(model: ChinMu, other: str):
    torch.testing.assert_close(
        model.embed_text([other]), model.embed_text(["安静,钢琴,90bpm"]), atol=0, rtol=0
    )


def test_an_unknown_character_is_read_as_unknown_and_a_decimal_point_stays():
    tokenizer = character_tokenizer(["安静3.5"])
    ids = tokenizer("安鑫")["input_ids"]
    assert ids[2] == tokenizer.unk_token_id and ids[1] != tokenizer.unk_token_id
    assert canonical("3.5拍。") == "3.5拍"


def test_padding_changes_no_vector(model: ChinMu):
    texts = ["慢歌", "一首安静的钢琴曲", "流行", "温柔悲伤快乐的夏天一首安静的钢琴曲流行摇滚"]
    together = model.embed_text(texts)
    alone = torch.cat([model.embed_text([text]) for text in texts])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(4))


def test_the_end_of_a_long_text_still_counts(model: ChinMu):
    start = "一首安静的钢琴曲" * 20
    first, second = model.embed_text([start + "快乐", start + "悲伤"])
    assert not torch.equal(first, second)
    pieces = parts("字" * 200, 202, 64)
    assert "".join(pieces) == "字" * 200 and max(map(len, pieces)) <= 62


def test_fragments_stand_in_rows_with_a_mask(model: ChinMu):
    vectors, mask = model.embed_fragments(["安静，钢琴，女声", "慢歌"])
    assert vectors.shape == (2, 3, 512) and mask.tolist() == [[True] * 3, [True, False, False]]
    torch.testing.assert_close(vectors[0, 1], model.embed_text(["钢琴"])[0], atol=1e-5, rtol=0)
    assert not vectors[1, 1:].any()


@pytest.mark.parametrize("text", ["", "  ", "，。"])
def test_a_description_without_a_word_is_refused(model: ChinMu, text: str):
    with pytest.raises(RequestError, match="at least one word"):
        model.embed_text(["慢歌", text])


# ---- audio ---------------------------------------------------------------------------------


def test_audio_of_any_length_gives_one_unit_vector(model: ChinMu):
    for seconds in (0.2, 2.0, 7.3):
        vector = model.embed_audio(noise(seconds), 44100)
        assert vector.shape == (1, 512)
        assert float(vector.norm()) == pytest.approx(1.0, abs=1e-5)


def test_each_part_of_a_song_counts_and_songs_of_a_batch_do_not_meet(model: ChinMu):
    wav = noise(6.0, songs=2)
    both = model.embed_audio(wav, 44100)
    torch.testing.assert_close(both[:1], model.embed_audio(wav[:1], 44100), atol=1e-5, rtol=0)
    changed = wav[:1].clone()
    changed[..., -44100:] *= 0.01
    assert (model.embed_audio(changed, 44100) - both[:1]).abs().max() > 1e-3


def test_mono_equals_both_channels_alike_and_other_rates_are_resampled(model: ChinMu):
    mono = noise(3.0)[:, 0]
    stereo = torch.stack([mono, mono], dim=1)
    torch.testing.assert_close(
        model.embed_audio(mono, 44100), model.embed_audio(stereo, 44100), atol=1e-5, rtol=0
    )
    time = torch.arange(3 * 48000) / 48000
    low = torch.sin(2 * np.pi * 220 * time)[None]
    high = torch.sin(2 * np.pi * 220 * torch.arange(3 * 44100) / 44100)[None]
    assert float((model.embed_audio(low, 48000) * model.embed_audio(high, 44100)).sum()) > 0.999


def test_songs_of_different_lengths_share_a_batch_and_padding_is_not_heard(model: ChinMu):
    lengths = [44100 * 5, 44100 * 2 + 77, 44100 // 2]
    wav = noise(5.0, songs=3)
    together = model.embed_audio(wav, 44100, lengths)
    for row, length in enumerate(lengths):
        alone = model.embed_audio(wav[row : row + 1, :, :length], 44100)
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-5, rtol=0)
    assert torch.equal(together, model.embed_audio(wav, 44100, lengths))
    with pytest.raises(AudioError, match="can't have the lengths"):
        model.embed_audio(wav, 44100, [44100])
    with pytest.raises(AudioError, match=r"has 0\.050 s"):
        model.embed_audio(wav, 44100, [44100, 44100, 2205])


def test_bad_audio_is_refused(model: ChinMu):
    with pytest.raises(AudioError, match=r"at least 0\.1 s"):
        model.embed_audio(torch.zeros(1, 100), 44100)
    with pytest.raises(AudioError, match="not finite"):
        model.embed_audio(torch.full((1, 44100), torch.nan), 44100)
    with pytest.raises(AudioError, match="songs, time"):
        model.embed_audio(torch.zeros(44100), 44100)
    with pytest.raises(AudioError, match=r"\(1, 0, 44100\)"):
        model.embed_audio(torch.zeros(1, 0, 44100), 44100)
    with pytest.raises(AudioError, match="floating-point"):
        model.embed_audio(torch.ones(1, 44100, dtype=torch.int16), 44100)
    with pytest.raises(AudioError, match=r"\(4409 samples at 44100 Hz\)"):
        model.embed_audio(torch.zeros(1, 4409), 44100)
    with pytest.raises(AudioError, match="beyond"):  # its power is infinite in float32
        model.embed_audio(torch.full((1, 44100), 1e30), 44100)


def test_what_is_not_heard_may_be_anything(model: ChinMu):
    wav = noise(1.0)
    padded = torch.nn.functional.pad(wav, (0, 100), value=torch.nan)
    assert torch.equal(model.embed_audio(padded, 44100, [44100]), model.embed_audio(wav, 44100))
    assert model.embed_audio(padded[..., -44100:-100].half(), 44100).shape == (1, 512)


@pytest.mark.parametrize("wrong", ["慢歌", [None], ["慢歌", 3]])
def test_texts_come_as_a_list(model: ChinMu, wrong):
    for embed in (model.embed_text, model.embed_fragments):
        with pytest.raises(RequestError, match="list of strings"):
            embed(wrong)


@pytest.mark.parametrize(
    "text", ["女声" + "=" * 200, "a" + "\u0301" * 300, "女声，一)'", "歌名：" + "_" * 150 + "女声"]
)
def test_a_row_of_marks_is_no_fragment(model: ChinMu, text: str):
    vectors, mask = model.embed_fragments([text])
    assert mask.all() and model.embed_text([text]).isfinite().all()
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(mask.shape))


# ---- folders -------------------------------------------------------------------------------


def test_a_saved_model_is_the_same_model_without_a_warning(model: ChinMu, tmp_path):
    model.save_pretrained(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = ChinMu.from_pretrained(tmp_path)
    texts, wav = ["安静的钢琴曲", "鑫"], noise(3.0)
    assert torch.equal(loaded.embed_text(texts), model.embed_text(texts))
    assert torch.equal(loaded.embed_audio(wav, 44100), model.embed_audio(wav, 44100))
    assert not loaded.training


def test_a_bfloat16_folder_computes_in_float32(tmp_path):
    model = tiny().to(torch.bfloat16)
    model.save_pretrained(tmp_path)
    loaded = ChinMu.from_pretrained(tmp_path)
    assert loaded.dtype == torch.float32
    assert torch.equal(loaded.embed_text(["慢歌"]), model.float().embed_text(["慢歌"]))


def test_missing_folders_are_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        ChinMu.from_pretrained(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="tokenizer"):
        ChinMu(tiny().config).embed_text(["慢歌"])
    with pytest.raises(CheckpointError, match="needs a tokenizer"):
        build(TINY)


def test_the_tower_of_clap_runs_behind_the_same_interface(tmp_path):
    shape = {
        "depths": [1, 1],
        "hidden_size": 16,
        "patch_embeds_hidden_size": 8,
        "num_attention_heads": [2, 2],
    }
    audio = AudioConfig(
        tower="htsat",
        sample_rate=48000,
        n_fft=1024,
        hop_length=480,
        n_chroma=0,
        std_db=1.0,
        window=2.0,
        htsat=shape | {"spec_size": 128},
    )
    model = tiny(replace(TINY, audio=audio))
    model.save_pretrained(tmp_path)
    wav = noise(3.0, rate=48000)
    vector = model.embed_audio(wav, 48000)
    assert vector.shape == (1, 512)
    torch.testing.assert_close(ChinMu.from_pretrained(tmp_path).embed_audio(wav, 48000), vector)


def test_a_pretrained_text_tower_keeps_its_weights(tmp_path):
    donor = tiny()
    donor.text_tower.save_pretrained(tmp_path)
    donor.tokenizer.save_pretrained(tmp_path)
    model = build(replace(TINY, text=TextConfig(pretrained=str(tmp_path), longest=64)))
    for name, value in donor.text_tower.state_dict().items():
        assert torch.equal(model.text_tower.state_dict()[name], value)
    model.save_pretrained(tmp_path / "whole")
    loaded = ChinMu.from_pretrained(tmp_path / "whole")
    torch.testing.assert_close(loaded.embed_text(["慢歌"]), model.eval().embed_text(["慢歌"]))


TOWERS = {
    "bert": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16},
    "roberta": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16},
    "electra": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16},
    "distilbert": {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 16},
    "qwen3": {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "intermediate_size": 16,
        "head_dim": 8,
    },
}


def donor_folder(kind: str, folder: Path) -> PreTrainedModel:
    """A text encoder of some kind as the hub would have it: weights in bfloat16, a tokenizer beside them."""
    torch.manual_seed(0)
    tokenizer = character_tokenizer([CHARACTERS])
    tower = AutoModel.from_config(
        AutoConfig.for_model(kind, vocab_size=len(tokenizer), pad_token_id=0, **TOWERS[kind])
    )
    tower.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.padding_side = "left"  # as Qwen3's is
    tokenizer.save_pretrained(folder)
    return tower.float().eval()


@pytest.mark.parametrize("kind", TOWERS)
def test_any_encoder_of_transformers_reads_the_text(kind: str, tmp_path: Path):
    tower = donor_folder(kind, tmp_path)
    pooling = "last" if kind == "qwen3" else "mean"
    text = TextConfig(pretrained=str(tmp_path), longest=64, pooling=pooling)  # type: ignore[arg-type]
    model = build(replace(TINY, text=text)).eval()
    for name, value in model.text_tower.state_dict().items():
        assert torch.equal(value, tower.state_dict()[name]), name
    ids = model.tokenizer("慢歌", return_tensors="pt")["input_ids"]
    states = tower(input_ids=ids).last_hidden_state
    pooled = states[:, -1] if pooling == "last" else states.mean(1)
    expected = torch.nn.functional.normalize(model.text_projection(pooled), dim=-1)
    together = model.embed_text(["慢歌", "一首安静的钢琴曲,温柔的女声"])
    torch.testing.assert_close(together[:1], expected.detach(), atol=1e-5, rtol=0)
    model.save_pretrained(tmp_path / "whole")
    loaded = ChinMu.from_pretrained(tmp_path / "whole")
    assert loaded.dtype == torch.float32 and loaded.text_config.pooling == pooling
    torch.testing.assert_close(loaded.embed_text(["慢歌"]), expected.detach(), atol=1e-5, rtol=0)


def test_text_towers_that_do_not_fit_are_refused(tmp_path: Path):
    donor_folder("roberta", tmp_path)
    with pytest.raises(ConfigError, match=r"reads 511 tokens, but longest is 512"):
        build(replace(TINY, text=TextConfig(pretrained=str(tmp_path), longest=512)))
    both = {"model_type": "t5", "d_model": 16, "num_layers": 1, "num_heads": 2, "d_ff": 16, "d_kv": 8}
    with pytest.raises(ConfigError, match="also has a decoder"):
        tiny(replace(TINY, text=TextConfig(encoder=both)))
    with pytest.raises(CheckpointError, match="can't be loaded"):
        build(replace(TINY, text=TextConfig(pretrained=str(tmp_path / "nothing"))))
    with pytest.raises(ConfigError, match="at least 8 tokens"):
        TextConfig(longest=4)


def test_a_text_of_many_tokens_a_character_is_cut_where_it_fits(model: ChinMu, monkeypatch):
    """Byte-level tokenizers spend up to three tokens on a rare character."""
    monkeypatch.setattr(ChinMu, "_by_character", False)
    monkeypatch.setattr(ChinMu, "_tokens", lambda self, text: 2 + len(text) + 2 * text.count("鑫"))
    text = "歌" * 300 + "鑫" * 60
    pieces = model._cut(text)
    assert "".join(pieces) == text and max(map(model._tokens, pieces)) <= 64


def test_configurations_that_contradict_themselves_are_refused():
    with pytest.raises(ConfigError, match="n_chroma"):
        AudioConfig(tower="htsat")
    with pytest.raises(ConfigError, match="f_max"):
        AudioConfig(sample_rate=16000)
    with pytest.raises(ConfigError, match="heads"):
        AudioConfig(width=100, heads=3)
    assert ChinMuConfig.of(TINY).audio_config == TINY.audio


def test_calibrated_towers_tell_songs_and_texts_apart_before_any_training():
    model = tiny()
    wav = torch.stack([scale * noise(2.0, rate=44100)[0].cumsum(-1) for scale in (0.01, 0.02, 0.1, 0.2)])
    windows = features(torch.cat([wav, noise(2.0, songs=4)]), model.audio_config)
    texts = ["慢歌", "一首安静的钢琴曲", "流行", "男声摇滚"]

    def likeness() -> float:
        audio = model.audio_vectors(windows, torch.arange(8), 8)
        text = model.embed_text(texts)
        pairs = [(x @ x.T)[~torch.eye(len(x), dtype=torch.bool)].mean() for x in (audio, text)]
        return float(sum(pairs).detach()) / 2

    before = likeness()
    model.calibrate(texts, windows)
    assert before > 0.7 and likeness() < before - 0.3
    assert not any(m.training for m in model.modules())


def test_a_text_is_read_whole_and_by_its_fragments(model: ChinMu):
    text = "安静的慢歌，女声，钢琴"
    parts, mask = model.embed_fragments([text])
    assert int(mask.sum()) == 3
    alone = model.embed_text(["安静的慢歌", "女声", "钢琴"])
    torch.testing.assert_close(parts[0], alone, atol=1e-5, rtol=1e-4)
    whole = model._wholes([text])
    both = torch.nn.functional.normalize(whole + torch.nn.functional.normalize(alone.sum(0), dim=-1), dim=-1)
    torch.testing.assert_close(model.embed_text([text, "女声"])[:1], both, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        model.embed_text(["女声，！"]), model.embed_text(["女声"]), atol=1e-4, rtol=1e-3
    )


def test_levels_hear_what_sounds_between_the_notes():
    """Of a band that is silent but for a tenth of the time, a steady hiss shows in the least levels alone."""
    loud = torch.full((1, 64, 200), -3.0)
    loud[..., ::10] = 1.0
    hissing = loud.clone()
    hissing[:, 40:] = hissing[:, 40:].clamp_min(-1.0)
    quiet, heard = summary(loud, 64, levels=True)[0], summary(hissing, 64, levels=True)[0]
    assert len(quiet) == len(summary(loud, 64)[0]) + 4 * 64
    low, high = slice(-256, -192), slice(-64, None)  # 5 % and 95 %
    assert torch.equal(quiet[low], torch.full((64,), -3.0)) and torch.equal(quiet[high], torch.ones(64))
    assert heard[low].tolist() == [-3.0] * 40 + [-1.0] * 24 and torch.equal(heard[high], quiet[high])
    assert torch.equal(summary(loud, 64), quiet[None, :-256])


def test_a_trained_model_learns_levels_and_says_the_same_at_first(tmp_path):
    torch.manual_seed(0)
    plain = tiny()
    windows = torch.randn(6, plain.audio_config.n_bands, 40)
    grown = plain.leveled(windows).eval()
    wav = torch.randn(2, 44100 * 3) * 0.1
    torch.testing.assert_close(grown.embed_audio(wav, 44100), plain.embed_audio(wav, 44100))
    standard = grown.audio_tower.summary[0]
    new = slice(-4 * plain.audio_config.n_mels, None)
    whole = summary(windows, plain.audio_config.n_mels, levels=True)
    measured = standard(whole)[:, new].mean(0)
    torch.testing.assert_close(measured, torch.zeros_like(measured), atol=1e-4, rtol=0)
    grown.save_pretrained(tmp_path)
    assert ChinMu.from_pretrained(tmp_path).audio_config.levels
    loss = grown.audio_tower(windows).sum()
    loss.backward()
    assert grown.audio_tower.summary[1].weight.grad[:, new].abs().sum() > 0


def test_levels_belong_to_the_compact_tower():
    with pytest.raises(ConfigError, match="levels"):
        AudioConfig(tower="htsat", n_chroma=0, levels=True)
