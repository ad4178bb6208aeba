"""Published text-to-music models in miniature: random weights in folders of the real ones' classes."""

from pathlib import Path
from typing import Any

import torch

RATE = 4000  # Hz, of every miniature that chooses
_T5 = {"vocab_size": 104, "d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2}
_CLAP_TEXT = {
    "vocab_size": 60,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "max_position_embeddings": 90,
    "projection_dim": 8,
}
_UNET = {
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "sample_size": 8,
    "in_channels": 4,
    "out_channels": 4,
}


def _t5_tokenizer() -> Any:
    from transformers import T5Tokenizer

    return T5Tokenizer(model_max_length=32)


def _roberta_tokenizer() -> Any:
    """A tokenizer of letters."""
    from transformers import RobertaTokenizer

    table = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *map(chr, range(97, 123)), "\u0120"]
    vocab = {word: number for number, word in enumerate(table)}
    return RobertaTokenizer(vocab=vocab, merges=[], model_max_length=32)


def musicgen(folder: Path) -> Path:
    """T5, a decoder of two layers over two codebooks, and EnCodec, all of eight channels."""
    from transformers import (
        EncodecConfig,
        EncodecFeatureExtractor,
        MusicgenConfig,
        MusicgenDecoderConfig,
        MusicgenForConditionalGeneration,
        MusicgenProcessor,
        T5Config,
    )

    codec = EncodecConfig(
        sampling_rate=RATE, num_filters=2, hidden_size=8, codebook_size=16, codebook_dim=8,
        upsampling_ratios=[8, 10], num_lstm_layers=1, target_bandwidths=[0.4], kernel_size=3,
        last_kernel_size=3,
    )  # fmt: skip
    decoder = MusicgenDecoderConfig(
        vocab_size=16, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, ffn_dim=8,
        num_codebooks=codec.num_quantizers, pad_token_id=16, bos_token_id=16, max_position_embeddings=256,
    )  # fmt: skip
    torch.manual_seed(0)
    config = MusicgenConfig(text_encoder=T5Config(**_T5), audio_encoder=codec, decoder=decoder)
    model = MusicgenForConditionalGeneration(config)
    for name, value in model.audio_encoder.named_buffers():
        if name.endswith("codebook.embed"):  # zeros, which would decode every code alike
            value.normal_()
    settings = model.generation_config
    settings.decoder_start_token_id = settings.pad_token_id = settings.bos_token_id = 16
    model.save_pretrained(folder)
    MusicgenProcessor(EncodecFeatureExtractor(sampling_rate=RATE), _t5_tokenizer()).save_pretrained(folder)
    return folder


def _vocoder() -> Any:
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    model = SpeechT5HifiGan(
        SpeechT5HifiGanConfig(
            model_in_dim=8, sampling_rate=RATE, upsample_initial_channel=8, upsample_rates=[5, 8],
            upsample_kernel_sizes=[10, 16], resblock_kernel_sizes=[3], resblock_dilation_sizes=[[1]],
            normalize_before=False,
        )
    )  # fmt: skip
    with torch.no_grad():  # the usual weights would whisper below what 16 bits can hold
        for weight in model.parameters():
            weight.normal_(0, 0.2)
    return model


def _image_vae() -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        in_channels=1, out_channels=1, latent_channels=4, block_out_channels=(8, 16), norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
    )  # fmt: skip


def _ddim() -> Any:
    from diffusers import DDIMScheduler

    return DDIMScheduler(beta_start=0.0015, beta_end=0.02, beta_schedule="scaled_linear", clip_sample=False)


def audioldm(folder: Path) -> Path:
    """CLAP's text tower, a UNet told by its class embedding, a VAE of mels and a vocoder."""
    from diffusers import AudioLDMPipeline, UNet2DConditionModel
    from transformers import ClapTextConfig, ClapTextModelWithProjection

    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        **_UNET, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=(8, 16), attention_head_dim=2,
        class_embed_type="simple_projection", projection_class_embeddings_input_dim=8,
        class_embeddings_concat=True,
    )  # fmt: skip
    AudioLDMPipeline(
        vae=_image_vae(), text_encoder=ClapTextModelWithProjection(ClapTextConfig(**_CLAP_TEXT)),
        tokenizer=_roberta_tokenizer(), unet=unet, scheduler=_ddim(), vocoder=_vocoder(),
    ).save_pretrained(folder)  # fmt: skip
    return folder


def audioldm2(folder: Path) -> Path:
    """CLAP and T5 into a GPT-2, whose states a UNet attends to beside T5's."""
    from diffusers import AudioLDM2Pipeline, AudioLDM2ProjectionModel, AudioLDM2UNet2DConditionModel
    from transformers import (
        ClapConfig,
        ClapFeatureExtractor,
        ClapModel,
        GPT2Config,
        GPT2LMHeadModel,
        T5Config,
        T5EncoderModel,
    )

    torch.manual_seed(0)
    audio = {
        "depths": [1, 1], "num_attention_heads": [1, 2], "num_hidden_layers": 2, "hidden_size": 16,
        "patch_embeds_hidden_size": 8,
    }  # fmt: skip
    clap = ClapModel(ClapConfig(audio_config=audio, text_config=_CLAP_TEXT, projection_dim=8))
    unet = AudioLDM2UNet2DConditionModel(
        **_UNET, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=(8, 8), attention_head_dim=2,
    )  # fmt: skip
    gpt2 = GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=1, n_head=1, vocab_size=16, n_positions=160))
    gpt2.config.max_new_tokens = 4
    AudioLDM2Pipeline(
        vae=_image_vae(), text_encoder=clap, text_encoder_2=T5EncoderModel(T5Config(**_T5)),
        projection_model=AudioLDM2ProjectionModel(8, 8, 8),
        language_model=gpt2, tokenizer=_roberta_tokenizer(), tokenizer_2=_t5_tokenizer(),
        feature_extractor=ClapFeatureExtractor(), unet=unet, scheduler=_ddim(), vocoder=_vocoder(),
    ).save_pretrained(folder)  # fmt: skip
    return folder


def stable_audio(folder: Path) -> Path:
    """T5, a transformer over the latents of a small Oobleck codec, and a solver that needs no torchsde."""
    from diffusers import (
        AutoencoderOobleck,
        EDMDPMSolverMultistepScheduler,
        StableAudioDiTModel,
        StableAudioPipeline,
        StableAudioProjectionModel,
    )
    from transformers import T5Config, T5EncoderModel

    torch.manual_seed(0)
    transformer = StableAudioDiTModel(
        sample_size=50, in_channels=4, num_layers=1, attention_head_dim=8, num_attention_heads=2,
        num_key_value_attention_heads=2, out_channels=4, cross_attention_dim=8, time_proj_dim=8,
        global_states_input_dim=16, cross_attention_input_dim=8,
    )  # fmt: skip
    vae = AutoencoderOobleck(
        encoder_hidden_size=4, downsampling_ratios=[8, 10], decoder_channels=4, decoder_input_channels=4,
        audio_channels=2, channel_multiples=[1, 2], sampling_rate=RATE,
    )  # fmt: skip
    StableAudioPipeline(
        vae=vae, text_encoder=T5EncoderModel(T5Config(**_T5)), tokenizer=_t5_tokenizer(),
        transformer=transformer, projection_model=StableAudioProjectionModel(8, 8, 0, 32),
        scheduler=EDMDPMSolverMultistepScheduler(sigma_min=0.3, prediction_type="v_prediction"),
    ).save_pretrained(folder)  # fmt: skip
    return folder


MINIATURES = {
    "musicgen": musicgen,
    "audioldm": audioldm,
    "audioldm2": audioldm2,
    "stable-audio": stable_audio,
}
