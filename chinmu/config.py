"""The shape of a ChinMu: how audio is heard and how text is read.

Three sizes share one code path: `paper` (HTSAT and a RoBERTa, as CLAP has them), `demo`
(small enough to ship and to train on two cores) and `tiny` (tests); see `configs/`.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from transformers import PreTrainedConfig

from common.config import check_least
from common.errors import ConfigError


@dataclass(frozen=True)
class AudioConfig:
    """The front end (log-mel bands, and chroma for the key) and the tower on top of it."""

    tower: Literal["compact", "htsat"] = "compact"
    # Whose weights training starts from (htsat): the official LAION-CLAP .pt, or a transformers CLAP.
    pretrained: str | None = None
    sample_rate: int = 44100  # Hz
    n_fft: int = 2048
    hop_length: int = 1024
    n_mels: int = 64
    mel_scale: Literal["htk", "slaney"] = "htk"
    f_min: float = 40.0  # Hz
    f_max: float = 16000.0  # Hz
    n_chroma: int = 12  # 12 or none: the share of each pitch class, for what is said of the key
    chroma_n_fft: int = 8192
    mean_db: float = 0.0  # bands become (dB - mean) / std
    std_db: float = 20.0
    edges: Literal["zeros", "reflect"] = "zeros"  # what stands before the first sample; CLAP reflects
    window: float = 10.0  # seconds that the tower hears at once; longer audio is a mean over windows
    # The compact tower: convolutions that halve bands and frames, then a transformer over time.
    channels: tuple[int, ...] = (16, 32, 64, 96)
    width: int = 192
    depth: int = 3
    heads: int = 4
    dropout: float = 0.0
    levels: bool = False  # whether it sums up how loud each band is when quiet and when loud
    sung: int = 0  # width of a network that hears which words are sung (chinmu.sung); 0 for none
    # The HTSAT tower: settings of transformers' ClapAudioConfig that differ from its defaults.
    htsat: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.n_chroma not in (0, 12):
            raise ConfigError(f"n_chroma is 12 pitch classes or 0 for none, but got {self.n_chroma}")
        if self.tower == "htsat" and self.n_chroma:
            raise ConfigError("the htsat tower hears mel bands alone: set n_chroma to 0")
        if not 0 <= self.f_min < self.f_max <= self.sample_rate / 2:
            raise ConfigError(
                f"mel bands need 0 <= f_min < f_max <= {self.sample_rate / 2:g} Hz, "
                f"but got {self.f_min:g} and {self.f_max:g}"
            )
        if self.sung < 0 or (self.tower == "htsat" and self.sung):
            raise ConfigError(f"sung is a width of the compact tower, or 0 for none, but got {self.sung}")
        if self.tower == "htsat" and self.levels:
            raise ConfigError("levels of bands belong to the compact tower: set levels to false")
        if self.tower == "compact" and self.pretrained:
            raise ConfigError(f"only the htsat tower starts from CLAP's weights, but got {self.pretrained!r}")
        check_least(self, 1, "width", "depth", "heads")
        if self.width % self.heads:
            raise ConfigError(f"width {self.width} isn't a multiple of its {self.heads} heads")

    @property
    def n_bands(self) -> int:
        """Rows of the feature matrix: mel bands, then chroma."""
        return self.n_mels + self.n_chroma

    @property
    def window_frames(self) -> int:
        """Frames of one window."""
        return max(1, round(self.window * self.sample_rate / self.hop_length))

    def frames(self, samples: int) -> int:
        """Frames of a waveform of so many samples."""
        return 1 + samples // self.hop_length


@dataclass(frozen=True)
class TextConfig:
    """The text tower: any encoder of transformers, with its own tokenizer or one of characters."""

    pretrained: str | None = None  # a folder or hub name whose weights and tokenizer training starts from
    # Arguments of transformers' AutoConfig.for_model, when nothing pretrained is named.
    encoder: dict[str, Any] = field(
        default_factory=lambda: {
            "model_type": "bert",
            "hidden_size": 160,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "intermediate_size": 640,
            "max_position_embeddings": 256,
            "type_vocab_size": 1,
        }
    )
    # What stands for a whole text: the mean over its tokens, or its last one (Qwen3-Embedding's way).
    pooling: Literal["mean", "last"] = "mean"
    longest: int = 256  # tokens read at once; a longer text is read in equal parts and averaged
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.longest < 8:
            raise ConfigError(f"a text tower reads at least 8 tokens at once, but longest is {self.longest}")


@dataclass(frozen=True)
class ModelConfig:
    """Both towers and the space they share."""

    audio: AudioConfig = field(default_factory=AudioConfig)
    text: TextConfig = field(default_factory=TextConfig)
    dim: int = 512  # of the shared space (Wang 2025, section 3.2)
    first_temperature: float = (
        0.07  # where the learned logit scale starts: 1 / first_temperature (Radford 2021)
    )

    def __post_init__(self) -> None:
        check_least(self, 1, "dim")
        if not self.first_temperature > 0:
            raise ConfigError(f"first_temperature is above 0, but got {self.first_temperature}")


class ChinMuConfig(PreTrainedConfig):
    """`ModelConfig` in the form that a transformers folder keeps."""

    model_type = "chinmu"

    def __init__(
        self,
        audio: dict[str, Any] | None = None,
        text: dict[str, Any] | None = None,
        dim: int = 512,
        first_temperature: float = 0.07,
        **rest: Any,
    ) -> None:
        self.audio = audio if audio is not None else asdict(AudioConfig())
        self.text = text if text is not None else asdict(TextConfig())
        self.dim = dim
        self.first_temperature = first_temperature
        super().__init__(**rest)

    @classmethod
    def of(cls, config: ModelConfig) -> "ChinMuConfig":
        return cls(asdict(config.audio), asdict(config.text), config.dim, config.first_temperature)

    @property
    def audio_config(self) -> AudioConfig:
        values = dict(self.audio)
        return AudioConfig(**values | {"channels": tuple(values.get("channels", AudioConfig.channels))})

    @property
    def text_config(self) -> TextConfig:
        return TextConfig(**self.text)
