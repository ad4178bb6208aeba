"""ChinMu: Chinese descriptions and songs as unit vectors of one space.

Wang 2025 (MuDiT/MuSiT), section 3.1.1, after CLAP (Wu 2023) and MuLan (Huang 2022): two towers,
a projection each to 512 dimensions, a learned logit scale, a symmetric contrastive loss. The
model folder is a transformers folder with its tokenizer inside:

    model = ChinMu.from_pretrained("runs/chinmu/model")
    similarity = model.embed_text(["安静的钢琴曲"]) @ model.embed_audio(wav, 44100).T

Text is read as it is written, whatever its width of characters or the marks between its parts.
Audio of any length is heard in windows that cover it; nothing is cut off.
"""

import logging
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from chinmu.audio import Standard, build_tower
from chinmu.config import AudioConfig, ChinMuConfig, ModelConfig, TextConfig
from chinmu.features import features
from chinmu.text import canonical, parts
from common.audio import Audio, resample
from common.description import fragments
from common.errors import AudioError, CheckpointError, RequestError

logger = logging.getLogger(__name__)

AutoConfig.register("chinmu", ChinMuConfig, exist_ok=True)

LARGEST_SCALE = math.log(100.0)  # of the log of the logit scale (Radford 2021)
_SHORTEST = 0.1  # seconds of audio that can be heard
_TEXTS_AT_ONCE, _WINDOWS_AT_ONCE = 256, 32
_LENGTH_GROUPS = 4


def _text_tower(config: TextConfig) -> PreTrainedModel:
    settings = dict(config.encoder)
    kind = settings.pop("model_type", "bert")
    dropout = {"hidden_dropout_prob": config.dropout, "attention_probs_dropout_prob": config.dropout}
    return _without_pooler(AutoModel.from_config(AutoConfig.for_model(kind, **dropout | settings)))


def _without_pooler(tower: PreTrainedModel) -> PreTrainedModel:
    """Drop BERT's pooler: the mean over tokens is taken, and unused weights stall data-parallel training."""
    if hasattr(tower, "pooler"):
        tower.register_module("pooler", None)
    return tower


class Projection(nn.Module):
    """Tower output, standardised, to the shared space: two layers, as CLAP has them."""

    def __init__(self, inputs: int, dim: int) -> None:
        super().__init__()
        self.standard = Standard(inputs)
        self.inward = nn.Linear(inputs, dim)
        self.outward = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.outward(nn.functional.gelu(self.inward(self.standard(x))))


class ChinMu(PreTrainedModel):
    """Both towers. `embed_*` are for use (no gradients); `text_vectors` and `audio_vectors` for training."""

    config_class = ChinMuConfig
    base_model_prefix = "chinmu"
    main_input_name = "features"

    def __init__(self, config: ChinMuConfig, tokenizer: PreTrainedTokenizerBase | None = None) -> None:
        super().__init__(config)
        self.audio_config: AudioConfig = config.audio_config
        self.text_config: TextConfig = config.text_config
        self.tokenizer = tokenizer
        self.text_tower = _text_tower(self.text_config)
        self.audio_tower = build_tower(self.audio_config)
        self.text_projection = Projection(self.text_tower.config.hidden_size, config.dim)
        self.audio_projection = Projection(self.audio_tower.out_features, config.dim)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / config.first_temperature)))
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Leave each layer as its class makes it: the towers know their own initialisation."""

    # ---- folders -------------------------------------------------------------------------

    @classmethod
    def from_pretrained(cls, folder: Any, *args: Any, **kwargs: Any) -> "ChinMu":  # type: ignore[override]
        """Load a model folder, in float32 unless `dtype` says otherwise.

        Raises:
            CheckpointError: the folder is missing, or lacks the model or its tokenizer.
        """
        if not (Path(folder) / "config.json").is_file():
            raise CheckpointError(f"{folder} is not a ChinMu folder: it has no config.json")
        try:
            model = super().from_pretrained(folder, *args, **{"dtype": torch.float32} | kwargs)
            model.tokenizer = AutoTokenizer.from_pretrained(folder)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise CheckpointError(f"ChinMu can't be loaded from {folder}: {error}") from error
        return model.eval()

    def save_pretrained(self, folder: Any, *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Write the model and its tokenizer."""
        super().save_pretrained(folder, *args, **kwargs)
        self._tokenizer.save_pretrained(folder)

    @property
    def _tokenizer(self) -> PreTrainedTokenizerBase:
        if self.tokenizer is None:
            raise CheckpointError("this ChinMu has no tokenizer: load it with from_pretrained, or pass one")
        return self.tokenizer

    # ---- training ------------------------------------------------------------------------

    def text_vectors(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Token ids and mask (N, L) → unit vectors (N, dim), by the mean over tokens.

        Words and whole paragraphs share a batch: in groups of similar length little is padding.
        """
        order = mask.sum(1).argsort(stable=True)
        groups = order.split(max(1, -(-len(order) // _LENGTH_GROUPS)))
        pooled = torch.cat([self._pooled(ids[group], mask[group]) for group in groups])
        return _unit(self.text_projection(pooled[order.argsort()]))

    def _pooled(self, ids: Tensor, mask: Tensor) -> Tensor:
        length = int(mask.sum(1).max())
        ids, mask = ids[:, :length], mask[:, :length]
        states = self.text_tower(input_ids=ids, attention_mask=mask).last_hidden_state
        weights = mask[..., None].to(states.dtype)
        return (states * weights).sum(1) / weights.sum(1)

    def audio_vectors(self, windows: Tensor, owner: Tensor, songs: int) -> Tensor:
        """Windows (W, bands, frames) of several songs → unit vectors (songs, dim).

        Args:
            windows: features of equally long windows.
            owner: (W,) the song that each window belongs to; every song has at least one.
            songs: how many songs.
        """
        projected = self.audio_projection(self.audio_tower(windows)).float()
        sums = projected.new_zeros(songs, projected.shape[1]).index_add(0, owner, projected)
        return _unit(sums / torch.bincount(owner, minlength=songs)[:, None])

    @torch.no_grad()
    def calibrate(self, texts: list[str], windows: Tensor) -> None:
        """Measure the means and deviations of every `Standard` layer on one batch, front to back.

        Args:
            texts: a few hundred canonical texts.
            windows: features (W, bands, frames) of as many windows.
        """
        layers = [m for m in self.modules() if isinstance(m, Standard)]
        was_training = self.training
        self.eval()
        for layer in layers:
            layer.measuring = True
        # One pass, undivided: each layer measures what the ones before it, already set, give it.
        ids, mask = self.tokenize(texts)
        self.text_projection(self._pooled(ids, mask))
        self.audio_projection(self.audio_tower(windows))
        for layer in layers:
            layer.measuring = False
        self.train(was_training)

    def forward(
        self, ids: Tensor, mask: Tensor, windows: Tensor, owner: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Text vectors, audio vectors and the logit scale: what the loss needs."""
        text = self.text_vectors(ids, mask)
        audio = self.audio_vectors(windows, owner, len(text))
        return text, audio, self.logit_scale.clamp(max=LARGEST_SCALE).exp()

    # ---- use -----------------------------------------------------------------------------

    def tokenize(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Ids and mask (N, L) of canonical texts, on the model's device; none may be too long."""
        encoded = self._tokenizer(texts, padding=True, return_tensors="pt", verbose=False)
        if (length := encoded["input_ids"].shape[1]) > self.text_config.longest:
            raise RequestError(
                f"a text has {length} tokens, but {self.text_config.longest} can be read at once"
            )
        return encoded["input_ids"].to(self.device), encoded["attention_mask"].to(self.device)

    @torch.inference_mode()
    def embed_text(self, texts: list[str]) -> Tensor:
        """Unit vectors (N, dim) of texts, float32.

        A text of more than `longest` tokens is read in equal parts and averaged.

        Raises:
            RequestError: a text has no word in it.
        """
        pieces, owner = [], []
        for index, text in enumerate(texts):
            plain = canonical(text)
            if not any(c.isalnum() for c in plain):
                raise RequestError(f"a description needs at least one word, but got {text!r}")
            cut = parts(plain, self._tokens(plain), self.text_config.longest)
            if len(cut) > 1:
                logger.info("a text of %d characters is read in %d parts", len(plain), len(cut))
            pieces += cut
            owner += [index] * len(cut)
        vectors = self._read(pieces)
        sums = torch.zeros(len(texts), self.config.dim, device=vectors.device)
        return _unit(sums.index_add(0, torch.tensor(owner, device=vectors.device, dtype=torch.long), vectors))

    def _tokens(self, text: str) -> int:
        """Tokens of a text; counted only where characters alone don't settle it."""
        if len(text) + 2 <= self.text_config.longest:
            return len(text) + 2
        return len(self._tokenizer(text, verbose=False)["input_ids"])

    def _read(self, texts: list[str]) -> Tensor:
        """Vectors of short canonical texts; each distinct one is read once."""
        distinct = sorted(set(texts), key=lambda t: (len(t), t))
        place = {text: i for i, text in enumerate(distinct)}
        blocks = [distinct[i : i + _TEXTS_AT_ONCE] for i in range(0, len(distinct), _TEXTS_AT_ONCE)]
        vectors = [self.text_vectors(*self.tokenize(block)).float() for block in blocks]
        empty = torch.zeros(0, self.config.dim, device=self.device)
        return torch.cat([empty, *vectors])[[place[text] for text in texts]]

    @torch.inference_mode()
    def embed_fragments(self, descriptions: list[str]) -> tuple[Tensor, Tensor]:
        """Each description as a row of fragment vectors (Wang 2025, section 3.1.3).

        Returns:
            Vectors (N, F, dim), zero where a description has fewer fragments than the longest,
            and the mask (N, F) that is True where there is one.
        Raises:
            RequestError: a description has no word in it.
        """
        pieces = [fragments(text) for text in descriptions]
        longest = max(map(len, pieces), default=0)
        flat = self.embed_text([piece for row in pieces for piece in row])
        counts = torch.tensor([len(row) for row in pieces], device=flat.device, dtype=torch.long)
        mask = torch.arange(longest, device=flat.device) < counts[:, None]
        vectors = flat.new_zeros(len(pieces), longest, self.config.dim)
        vectors[mask] = flat
        return vectors, mask

    @torch.inference_mode()
    def embed_audio(self, wav: Tensor, sample_rate: int) -> Tensor:
        """Unit vectors (N, dim) of waveforms, float32.

        Args:
            wav: (N, T) or (N, channels, T) in [-1, 1].
            sample_rate: Hz; resampled (and logged) when it isn't the model's.
        Raises:
            AudioError: shorter than 0.1 s, of another shape, or with values that aren't finite.
        """
        if wav.ndim not in (2, 3):
            raise AudioError(f"audio is (songs, time) or (songs, channels, time), but got {tuple(wav.shape)}")
        if wav.shape[-1] < _SHORTEST * sample_rate:
            raise AudioError(
                f"audio needs at least {_SHORTEST} s, but has {wav.shape[-1] / sample_rate:.3f} s"
            )
        if not torch.isfinite(wav).all():
            raise AudioError("audio has values that are not finite")
        mono = wav.mean(1) if wav.ndim == 3 else wav
        want = self.audio_config.sample_rate
        songs = [_at_rate(song, sample_rate, want).to(self.device) for song in mono]
        return torch.cat([self.embed_features(features(song[None], self.audio_config)[0]) for song in songs])

    @torch.inference_mode()
    def embed_features(self, song: Tensor) -> Tensor:
        """The unit vector (1, dim) of one song's features (bands, frames), over windows that cover it."""
        windows = covering(song, self.audio_config.window_frames).to(self.device, self.dtype)
        total = sum(
            self.audio_projection(self.audio_tower(block)).float().sum(0, keepdim=True)
            for block in windows.split(_WINDOWS_AT_ONCE)
        )
        return _unit(total / len(windows))


def covering(song: Tensor, frames: int) -> Tensor:
    """Evenly spaced windows that cover a song, the first at its start and the last at its end.

    Args:
        song: features (bands, T).
    Returns:
        (W, bands, min(frames, T)) with W = ceil(T / frames).
    """
    length = song.shape[-1]
    frames = min(frames, length)
    count = -(-length // frames)
    starts = torch.linspace(0, length - frames, count).round().long().tolist()
    return torch.stack([song[:, start : start + frames] for start in starts])


def build(config: ModelConfig, tokenizer: PreTrainedTokenizerBase | None = None) -> ChinMu:
    """A new ChinMu: random, but for the text tower where a pretrained one is named.

    Raises:
        ConfigError, CheckpointError: no tokenizer came, or the pretrained tower can't be loaded.
    """
    text = config.text
    if text.pretrained is None:
        if tokenizer is None:
            raise CheckpointError("a text tower with random weights needs a tokenizer of its corpus")
        encoder = {**text.encoder, "vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
        return ChinMu(_with_encoder(config, encoder), tokenizer)
    try:
        tower = AutoModel.from_pretrained(text.pretrained, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(text.pretrained)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"the text tower {text.pretrained} can't be loaded: {error}") from error
    model = ChinMu(_with_encoder(config, tower.config.to_diff_dict()), tokenizer)
    model.text_tower = _without_pooler(tower)
    return model


def _with_encoder(config: ModelConfig, encoder: dict[str, Any]) -> ChinMuConfig:
    """The folder's configuration, which names the encoder itself and no longer where it came from."""
    made = ChinMuConfig.of(config)
    made.text = made.text | {"encoder": encoder, "pretrained": None}
    return made


def _at_rate(mono: Tensor, have: int, want: int) -> Tensor:
    if have == want:
        return mono
    return torch.from_numpy(resample(Audio(mono[None].float().cpu().numpy(), have), want).samples[0])


def _unit(x: Tensor) -> Tensor:
    return nn.functional.normalize(x.float(), dim=-1)
