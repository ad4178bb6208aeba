"""The size of the writer and the settings of its training."""

from dataclasses import dataclass, field, fields
from typing import Any, Literal

from common.config import check_least, check_training
from common.errors import ConfigError
from lyrics_llm.chat_config import ChatConfig


@dataclass(frozen=True)
class ModelConfig:
    """A Qwen3 trained from nothing: the sizes that differ from its defaults."""

    hidden_size: int = 256
    intermediate_size: int = 768
    layers: int = 4
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 64
    longest: int = 2048  # tokens of a whole song

    def __post_init__(self) -> None:
        check_least(self, 1, *(setting.name for setting in fields(self)))
        if self.heads % self.kv_heads:
            raise ConfigError(f"{self.heads} heads can't share {self.kv_heads} keys: use a divisor")

    def qwen(self, vocabulary: int, pad: int, begin: int, end: int) -> dict[str, Any]:
        """The settings of `transformers.Qwen3Config`."""
        return {
            "vocab_size": vocabulary,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "max_position_embeddings": self.longest,
            "tie_word_embeddings": True,
            "pad_token_id": pad,
            "bos_token_id": begin,
            "eos_token_id": end,
        }


@dataclass(frozen=True)
class DataConfig:
    """What a step reads. Song sheets are composed on the fly; no two steps see the same song."""

    songs: int = 12  # sheets a step, of one process
    pool: int = 4  # steps whose songs are drawn together and sorted by length, to waste less padding
    scored: float = 0.3  # share of songs whose score is learned: three quarters of a song's tokens
    told: int = 0  # further descriptions of every song, of which the plan alone is learned
    longest: int = 1024  # tokens; of a longer song the beginning is learned
    seconds: tuple[float, float] | None = None  # shortest and longest song; None as in the corpus
    workers: int = 0  # processes that compose ahead of the training

    def __post_init__(self) -> None:
        if self.songs < 1 or self.pool < 1:
            raise ConfigError(f"a step needs at least one song, but got {self.songs} songs, pool {self.pool}")
        if self.told < 0:
            raise ConfigError(f"a song has no fewer than 0 further descriptions, but told is {self.told}")
        if not 0 <= self.scored <= 1:
            raise ConfigError(f"the share of songs with a score lies between 0 and 1, but got {self.scored}")
        _check_seconds(self.seconds)


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run."""

    out: str  # run folder
    init: str | None = None  # folder of a trained writer to begin from, with its vocabulary and sizes
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    chat: ChatConfig | None = None  # tune this Qwen3 by QLoRA instead; `model` and `data` aren't read then
    seed: int = 0
    lr: float = 2e-3
    weight_decay: float = 0.1
    warmup_steps: int = 60
    clip: float = 1.0  # largest norm of the gradient
    ema_decay: float = 0.99
    mixed_precision: Literal["auto", "no", "bf16", "fp16"] = "auto"  # auto: bf16 where it is fast
    cpu: bool = False  # train on the CPU even where there is a GPU
    max_minutes: float | None = None
    max_steps: int | None = None
    log_steps: int = 20
    save_minutes: float = 3.0
    valid_minutes: float = 4.0
    valid_steps: int = 2  # steps' worth of songs of the split `valid`

    def __post_init__(self) -> None:
        check_training(self, ema="ema_decay", warmup="warmup_steps", every="log_steps")
        check_least(self, 0, "valid_minutes", "valid_steps")
        if self.chat is not None:
            _check_seconds(self.chat.seconds)


def _check_seconds(limits: tuple[float, float] | None) -> None:
    if limits is not None and not 0 < limits[0] <= limits[1]:
        raise ConfigError(f"seconds are those of the shortest and the longest song, but got {limits}")
