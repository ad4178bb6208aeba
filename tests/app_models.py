"""A pipeline of tiny random models, for tests of the application."""

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

import torch
from tiny_encoder import encoder

from app.pipeline import SongPipeline
from chinmu.config import AudioConfig, ModelConfig, TextConfig
from chinmu.model import ChinMu, build
from chinmu.text import character_tokenizer
from dit.model import SongTransformer
from dit.scheduler import InterpolantScheduler
from lyrics_llm import model as lyrics_model
from lyrics_llm.config import ModelConfig as WriterConfig
from lyrics_llm.tokens import Vocabulary
from lyrics_llm.tokens import build as tokenizer
from lyrics_llm.writer import Writer
from vae.spectral import SpectralVAE

PROMPT = "一首下雨天想家的慢歌，女声，钢琴"


def tiny_parts() -> dict[str, object]:
    """New components, the same every time."""
    torch.manual_seed(0)
    return {
        "vae": SpectralVAE(latent_dim=8, width=16, depth=1, iterations=2),
        "chinmu": tiny_chinmu(),
        "writer": tiny_writer(),
        "transformer": tiny_transformer(),
        "scheduler": InterpolantScheduler(solver="euler"),
    }


def tiny_transformer() -> SongTransformer:
    """A new one is the identity and hears no condition; this one hears them all."""
    torch.manual_seed(5)  # its own: the sizes of the other models mustn't decide how loud it is
    model = SongTransformer.named("tiny")
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn(weight.shape))
    return model


def tiny_writer() -> Writer:
    config = WriterConfig(
        hidden_size=16, intermediate_size=32, layers=1, heads=1, kv_heads=1, head_dim=16, longest=4096
    )
    vocabulary = Vocabulary(tokenizer())
    return Writer(lyrics_model.build(config, vocabulary, seed=0), vocabulary)


def tiny_chinmu() -> ChinMu:
    audio = AudioConfig(channels=(4, 4, 4, 4), width=16, depth=1, heads=2)
    return build(
        ModelConfig(audio, TextConfig(encoder=encoder(places=258) | {"type_vocab_size": 1})),
        character_tokenizer([PROMPT]),
    )


@functools.cache
def tiny_folder() -> Path:
    """A folder of them, removed when the tests end."""
    home = Path(tempfile.mkdtemp(prefix="baihua-test-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    SongPipeline(**tiny_parts()).save_pretrained(home / "tiny")
    return home / "tiny"


@functools.cache
def tiny_pipeline() -> SongPipeline:
    """The folder, loaded."""
    return SongPipeline.from_pretrained(tiny_folder())
