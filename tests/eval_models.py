"""Tiny random encoders in the files of the real ones: official checkpoints and transformers folders."""

import json
from pathlib import Path

import torch
from torch import Tensor

AUDIO = {
    "depths": [1, 1],
    "num_attention_heads": [2, 4],
    "num_hidden_layers": 2,
    "patch_embeds_hidden_size": 16,
    "hidden_size": 32,
    "enable_fusion": False,
}
TEXT = {
    "vocab_size": 60,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 1,
    "intermediate_size": 96,
    "max_position_embeddings": 90,
}


def spread(model: torch.nn.Module, seed: int = 0) -> None:
    """Weights and statistics large enough that no two inputs look alike."""
    maker = torch.Generator().manual_seed(seed)
    for name, value in model.state_dict().items():
        if not value.is_floating_point():
            continue
        if name.endswith("running_var"):
            value.uniform_(20, 80, generator=maker)
        elif name.endswith("running_mean"):
            value.normal_(-30, 5, generator=maker)
        elif value.ndim > 1:
            value.normal_(0, 2 / value[0].numel() ** 0.5, generator=maker)


def htsat_official(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """transformers' HTSAT encoder under the names of the official one, front end and classifier included."""
    out: dict[str, Tensor] = {}
    for name, value in weights.items():
        plain = name.replace("batch_norm.", "bn0.") if name.startswith("batch_norm.") else name
        plain = plain.replace("layernorm_before", "norm1").replace("layernorm_after", "norm2")
        plain = plain.replace("attention.output.dense", "attn.proj").replace("intermediate.dense", "mlp.fc1")
        plain = plain.replace("output.dense", "mlp.fc2")
        if ".attention.self.query." in plain:
            parts = [weights[name.replace("query", kind)] for kind in ("query", "key", "value")]
            out[plain.replace("attention.self.query", "attn.qkv")] = torch.cat(parts)
        elif ".attention.self.relative_position" in plain:
            out[plain.replace("attention.self", "attn")] = value
        elif ".attention.self." not in plain:
            out[plain] = value
    out["spectrogram_extractor.stft.conv_real.weight"] = torch.zeros(513, 1, 1024)
    out["tscam_conv.weight"] = torch.zeros(527, 32, 2, 3)
    out["head.weight"] = torch.zeros(527, 527)
    out["layers.0.blocks.0.attn_mask"] = torch.zeros(4, 64, 64)
    return out


def tokenizer(folder: Path) -> None:
    """A tokenizer of characters, saved as a transformers folder has it."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<s>", "<pad>", "</s>", "<unk>", *map(chr, range(32, 88))]
    backend = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    fast = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", unk_token="<unk>")
    fast.save_pretrained(folder)


def laion(folder: Path) -> tuple[Path, Path]:
    """The same random LAION-CLAP as a transformers folder and as an official file with its tokenizer."""
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

    model = ClapModel(ClapConfig(audio_config=AUDIO, text_config=TEXT, projection_dim=24)).eval()
    spread(model)
    plain, official = folder / "folder", folder / "official"
    model.save_pretrained(plain)
    tokenizer(plain)
    extractor = ClapFeatureExtractor(frequency_min=50, frequency_max=14000, truncation="rand_trunc")
    extractor.save_pretrained(plain)
    weights = model.state_dict()
    inner = "audio_model.audio_encoder."
    tower = {k.removeprefix(inner): v for k, v in weights.items() if k.startswith(inner)}
    named = {f"module.audio_branch.{k}": v for k, v in htsat_official(tower).items()}
    for name, value in weights.items():
        if name.startswith("text_model."):
            named["module.text_branch." + name.removeprefix("text_model.")] = value
        elif "projection" in name:
            side, layer, rest = name.split(".")
            named[f"module.{side}.{0 if layer == 'linear1' else 2}.{rest}"] = value
        elif name.startswith("logit"):
            named[f"module.{name}"] = value
    official.mkdir()
    tokenizer(official)
    torch.save({"epoch": 15, "state_dict": named}, official / "music_audioset_epoch_15_esc_90.14.pt")
    return plain, official


def msclap(folder: Path) -> Path:
    """A random MS-CLAP 2023 in its official file."""
    from transformers import ClapAudioConfig, ClapAudioModel

    tower = ClapAudioModel(ClapAudioConfig(**AUDIO)).eval()
    spread(tower)
    inner = {k.removeprefix("audio_encoder."): v for k, v in tower.state_dict().items()}
    maker = torch.Generator().manual_seed(1)
    named = {f"audio_encoder.base.htsat.{k}": v for k, v in htsat_official(inner).items()}
    named["audio_encoder.base.htsat.logmel_extractor.melW"] = torch.rand(513, 64, generator=maker) / 513
    named["audio_encoder.projection.linear1.weight"] = torch.randn(20, 32, generator=maker)
    named["audio_encoder.projection.linear2.weight"] = torch.randn(20, 20, generator=maker)
    named["audio_encoder.projection.layer_norm.weight"] = torch.ones(20)
    named["audio_encoder.projection.layer_norm.bias"] = torch.zeros(20)
    named["caption_encoder.base.wte.weight"] = torch.zeros(3, 3)
    torch.save({"model": named}, folder / "CLAP_weights_2023.pth")
    return folder / "CLAP_weights_2023.pth"


def mert(folder: Path, **settings: object) -> Path:
    """A random MERT: HuBERT's weights under MERT's old names, with MERT's own settings beside them."""
    from transformers import HubertConfig, HubertModel

    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    convolutions = {
        "conv_dim": [8, 8],
        "conv_kernel": [10, 8],
        "conv_stride": [20, 16],
        "num_feat_extract_layers": 2,
        "num_conv_pos_embeddings": 8,
        "num_conv_pos_embedding_groups": 2,
    }
    model = HubertModel(HubertConfig(**small, **convolutions)).eval()
    spread(model)
    named = {}
    for name, value in model.state_dict().items():
        plain = name.replace("conv.parametrizations.weight.original0", "conv.weight_g")
        named[plain.replace("conv.parametrizations.weight.original1", "conv.weight_v")] = value
    folder.mkdir(exist_ok=True)
    torch.save(named, folder / "pytorch_model.bin")
    own = {
        "model_type": "mert_model",
        "feature_extractor_cqt": False,
        "deepnorm": False,
        "attention_relax": -1.0,
    }
    (folder / "config.json").write_text(json.dumps({**small, **convolutions, **own, **settings}))
    model.save_pretrained(folder / "hubert")
    return folder


def encodec(folder: Path, **settings: object) -> Path:
    """A random EnCodec of 24 kHz as a transformers folder."""
    from transformers import EncodecConfig, EncodecModel

    tiny = {"num_filters": 2, "hidden_size": 16, "codebook_size": 8, "codebook_dim": 16, "num_lstm_layers": 1}
    EncodecModel(EncodecConfig(**tiny | settings)).save_pretrained(folder)
    return folder
