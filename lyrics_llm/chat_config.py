"""Settings of tuning a Qwen3 by QLoRA."""

from dataclasses import dataclass
from typing import Literal

from common.errors import ConfigError


@dataclass(frozen=True)
class ChatConfig:
    """The model that is tuned, its adapter, and what a step reads.

    The defaults are those of QLoRA for models of this size (Dettmers 2023, arXiv 2305.14314,
    appendix B.2): rank 64, alpha 16, all linear layers, NF4 with double quantisation.
    """

    base: str = "Qwen/Qwen3-4B-Instruct-2507"  # name on the hub, or a folder
    four_bit: bool = True  # the base in NF4, double quantised; else in float32 (CPU) or bfloat16
    r: int = 64
    lora_alpha: int = 16
    lora_dropout: float = 0.05
    target_modules: str | list[str] = "all-linear"
    gradient_checkpointing: bool = False  # less memory, a third more time
    muchin: str | None = None  # folder of the MuChin data set; the corpus alone when None
    muchin_share: float = 0.5  # of the songs, where there is a MuChin
    songs: int = 4  # examples a step, of one process, before accumulation
    accumulate: int = 4  # such steps an update
    longest: int = 2048  # tokens of an example; longer ones are passed over
    lyrics_share: float = 0.7  # of examples that write words; the rest plan, compose and name themes
    seconds: tuple[float, float] | None = (
        None  # shortest and longest song of the corpus; None: as it has them
    )
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"  # of what isn't quantised; auto: float32 on a CPU

    def __post_init__(self) -> None:
        if self.r < 1 or self.songs < 1 or self.accumulate < 1:
            raise ConfigError(
                "rank, songs and accumulation are at least 1, "
                f"but got {self.r}, {self.songs}, {self.accumulate}"
            )
        for name in ("muchin_share", "lyrics_share", "lora_dropout"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} lies between 0 and 1, but got {getattr(self, name)}")
