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
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from chinmu import clap
from chinmu.audio import HTSAT, CompactTower, Standard, build_tower
from chinmu.config import AudioConfig, ChinMuConfig, ModelConfig, TextConfig
from chinmu.features import features
from chinmu.text import canonical, parts, tidy, with_characters
from common.audio import Audio, resample
from common.description import fragments
from common.errors import AudioError, CheckpointError, ConfigError, RequestError

logger = logging.getLogger(__name__)

AutoConfig.register("chinmu", ChinMuConfig, exist_ok=True)

LARGEST_SCALE = math.log(100.0)  # of the log of the logit scale (Radford 2021)
_SHORTEST = 0.1  # seconds of audio that can be heard
_LOUDEST = 1e6  # samples beyond are no audio, and the power of 1e16 is no float32
_TEXTS_AT_ONCE, _WINDOWS_AT_ONCE = 256, 32
_LENGTH_GROUPS = 4
_NO_NUMBER = re.compile(r"[^\W\d_一二三四五六七八九十]")


def _text_tower(config: TextConfig) -> PreTrainedModel:
    settings = dict(config.encoder)
    kind = settings.pop("model_type", "bert")
    dropout = {"hidden_dropout_prob": config.dropout, "attention_probs_dropout_prob": config.dropout}
    return _encoder_of(AutoModel.from_config(AutoConfig.for_model(kind, **dropout | settings)))


def _encoder_of(tower: PreTrainedModel) -> PreTrainedModel:
    """The tower without BERT's pooler, whose unused weights would stall data-parallel training.

    Raises:
        ConfigError: it isn't one stack of layers from tokens to vectors.
    """
    if getattr(tower.config, "is_encoder_decoder", False):
        raise ConfigError(f"a text tower is an encoder, but {tower.config.model_type!r} also has a decoder")
    if not hasattr(tower.config, "hidden_size"):
        raise ConfigError(f"{tower.config.model_type!r} reads no text: name an encoder such as bert or qwen3")
    if hasattr(tower, "pooler"):
        tower.register_module("pooler", None)
    return tower


def _places(tower: PreTrainedModel) -> int | None:
    """Tokens that the tower has positions for; None where it doesn't say."""
    places = getattr(tower.config, "max_position_embeddings", None)
    table = getattr(getattr(tower, "embeddings", None), "position_embeddings", None)
    # RoBERTa and its kin number positions from behind that of padding.
    offset = getattr(table, "padding_idx", None)
    return None if not places or places < 0 else places - (0 if offset is None else offset + 1)


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
        places = _places(self.text_tower)
        if places is not None and self.text_config.longest > places:
            raise ConfigError(
                f"the text tower reads {places} tokens, but longest is {self.text_config.longest}"
            )
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
            model.tokenizer = _reader(folder)
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
        """Token ids and mask (N, L), padded behind → unit vectors (N, dim).

        Words and whole paragraphs share a batch: in groups of similar length little is padding.
        """
        order = mask.sum(1).argsort(stable=True)
        groups = order.split(max(1, -(-len(order) // _LENGTH_GROUPS)))
        pooled = torch.cat([self.pooled(ids[group], mask[group]) for group in groups])
        return _unit(self.text_projection(pooled[order.argsort()]))

    def pooled(self, ids: Tensor, mask: Tensor) -> Tensor:
        """What the text tower makes of texts (N, L) before the projection: (N, hidden size)."""
        length = int(mask.sum(1).max())
        ids, mask = ids[:, :length], mask[:, :length]
        states = self.text_tower(input_ids=ids, attention_mask=mask).last_hidden_state
        if self.text_config.pooling == "last":
            return states[torch.arange(len(states), device=states.device), mask.sum(1) - 1]
        weights = mask[..., None].to(states.dtype)
        return (states * weights).sum(1) / weights.sum(1)

    def audio_vectors(self, windows: Tensor, owner: Tensor, songs: int) -> Tensor:
        """Windows (W, bands, frames) of several songs → unit vectors (songs, dim).

        Args:
            windows: features of equally long windows.
            owner: (W,) the song that each window belongs to; every song has at least one.
            songs: how many songs.
        """
        return self._mean(self.audio_tower(windows), owner, songs)

    def _mean(self, heard: Tensor, owner: Tensor, songs: int) -> Tensor:
        projected = self.audio_projection(heard).float()
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
        if isinstance(self.audio_tower, HTSAT) and self.audio_tower.fresh:
            self.audio_tower.measure(windows)
        # One pass, undivided: each layer measures what the ones before it, already set, give it.
        ids, mask = self.tokenize(texts)
        self.text_projection(self.pooled(ids, mask))
        self.audio_projection(self.audio_tower(windows))
        for layer in layers:
            layer.measuring = False
        self.train(was_training)

    def forward(
        self, ids: Tensor, mask: Tensor, windows: Tensor, owner: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """What the loss needs: text vectors, audio vectors, the logit scale, and logits of what is sung.

        The last are (W, T, phones) of the windows, or None where the tower doesn't listen to words.
        """
        text = self.text_vectors(ids, mask)
        heard, phones = self.audio_tower.hear(windows)
        audio = self._mean(heard, owner, len(text))
        return text, audio, self.logit_scale.clamp(max=LARGEST_SCALE).exp(), phones

    def listening(self, sung: int) -> "ChinMu":
        """A copy that also listens to the words that are sung (AudioConfig.sung), and gives the same answers.

        Its new part is random, and what the projection makes of it zero: it is to be trained.
        """
        return self._hearing({"sung": sung})

    def leveled(self, windows: Tensor) -> "ChinMu":
        """A copy that also sums up the levels of its bands (AudioConfig.levels), and gives the same answers.

        What is made of them is zero at first: it is to be trained.

        Args:
            windows: (W, bands, frames) of songs, of which the levels are standardised.
        """
        grown = self._hearing({"levels": True})
        tower = grown.audio_tower
        assert isinstance(tower, CompactTower), "the configuration allows levels to no other"
        tower.measure_levels(windows.to(self.logit_scale.device))
        return grown

    def _hearing(self, audio: dict[str, Any]) -> "ChinMu":
        """A copy with other settings of the audio tower; new inputs of its layers come last, and are zero."""
        config = ChinMuConfig.from_dict(self.config.to_dict() | {"audio": self.config.audio | audio})
        grown = ChinMu(config, self.tokenizer)
        own = self.state_dict()
        for name, value in grown.state_dict().items():
            if name not in own:
                continue
            if own[name].shape == value.shape:
                value.copy_(own[name])
            else:  # the projection's inputs: what the words add comes last
                value.fill_(1.0 if name.endswith("deviation") else 0.0)
                value[..., : own[name].shape[-1]] = own[name]
        return grown

    def knowing(self, characters: str) -> "ChinMu":
        """A copy whose tokenizer knows further characters; they begin as the unknown one, so that it says
        the same of every text at first. A tokenizer of words or their parts stays as it is.
        """
        assert self.tokenizer is not None, "a model that reads has its tokenizer"
        if not self._by_character:
            return self
        tokenizer = with_characters(self.tokenizer, characters)
        text = self.config.text | {"encoder": self.config.text["encoder"] | {"vocab_size": len(tokenizer)}}
        grown = ChinMu(ChinMuConfig.from_dict(self.config.to_dict() | {"text": text}), tokenizer)
        own = self.state_dict()
        for name, value in grown.state_dict().items():
            if own[name].shape == value.shape:
                value.copy_(own[name])
            else:  # the vectors of characters
                value.copy_(own[name][self.tokenizer.unk_token_id].expand_as(value))
                value[: len(own[name])] = own[name]
        return grown

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

        A text of several fragments is read twice, whole and fragment by fragment, and the mean of both
        counts: it finds more songs than either (docs/chinmu.md). Nothing is cut off.

        Raises:
            RequestError: a text has no word in it.
        """
        _check_list(texts)
        whole = self._wholes(texts)
        pieces = map(_pieces, texts)
        split = [(row, piece) for row, some in enumerate(pieces) if len(some) > 1 for piece in some]
        if not split:
            return whole
        owner = torch.tensor([row for row, _ in split], device=whole.device)
        parts = torch.zeros_like(whole).index_add(0, owner, self._wholes([piece for _, piece in split]))
        return torch.where(parts.any(1, keepdim=True), _unit(whole + _unit(parts)), whole)

    def _wholes(self, texts: list[str]) -> Tensor:
        """Unit vectors of texts that are read at once; longer ones in equal parts, and averaged."""
        pieces, owner = [], []
        for index, text in enumerate(texts):
            plain = canonical(text)
            if not _worded(plain):
                raise RequestError(f"a description needs at least one word, but got {_quoted(text)}")
            cut = self._cut(plain)
            if len(cut) > 1:
                logger.info("a text of %d characters is read in %d parts", len(plain), len(cut))
            pieces += cut
            owner += [index] * len(cut)
        vectors = self._read(pieces)
        sums = torch.zeros(len(texts), self.config.dim, device=vectors.device)
        return _unit(sums.index_add(0, torch.tensor(owner, device=vectors.device, dtype=torch.long), vectors))

    def _cut(self, text: str) -> list[str]:
        """A text in equal parts of which each can be read at once."""
        longest = self.text_config.longest
        tokens = len(text) + 2
        if tokens > longest or not self._by_character:
            tokens = self._tokens(text)
        pieces = parts(text, tokens, longest)
        while len(pieces) > 1 and max(map(self._tokens, pieces)) > longest:
            tokens += longest // 2  # tokens aren't evenly long: shorter parts
            pieces = parts(text, tokens, longest)
        return pieces

    @property
    def _by_character(self) -> bool:
        """Whether a character is one token at most."""
        return self._tokenizer.backend_tokenizer.model.__class__.__name__ == "WordLevel"

    def _tokens(self, text: str) -> int:
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
        _check_list(descriptions)
        pieces = [_pieces(text) for text in descriptions]
        longest = max(map(len, pieces), default=0)
        flat = self._wholes([piece for row in pieces for piece in row])
        counts = torch.tensor([len(row) for row in pieces], device=flat.device, dtype=torch.long)
        mask = torch.arange(longest, device=flat.device) < counts[:, None]
        vectors = flat.new_zeros(len(pieces), longest, self.config.dim)
        vectors[mask] = flat
        return vectors, mask

    @torch.inference_mode()
    def embed_audio(self, wav: Tensor, sample_rate: int, lengths: Sequence[int] | None = None) -> Tensor:
        """Unit vectors (N, dim) of waveforms, float32.

        Args:
            wav: (N, T) or (N, channels, T) in [-1, 1].
            sample_rate: Hz; resampled (and logged) when it isn't the model's.
            lengths: samples of each song where shorter ones are padded behind; the padding isn't heard.
        Raises:
            AudioError: shorter than 0.1 s, of another shape or type, or with values that aren't finite.
        """
        if wav.ndim not in (2, 3) or (wav.ndim == 3 and not wav.shape[1]):
            raise AudioError(f"audio is (songs, time) or (songs, channels, time), but got {tuple(wav.shape)}")
        if not wav.is_floating_point():
            raise AudioError(f"samples are floating-point numbers in [-1, 1], but got {wav.dtype}")
        lengths = [wav.shape[-1]] * len(wav) if lengths is None else list(lengths)
        if len(lengths) != len(wav) or max(lengths, default=0) > wav.shape[-1]:
            raise AudioError(f"{len(wav)} songs of {wav.shape[-1]} samples can't have the lengths {lengths}")
        if min(lengths, default=sample_rate) < _SHORTEST * sample_rate:
            raise AudioError(
                f"audio needs at least {_SHORTEST} s, but has {min(lengths) / sample_rate:.3f} s "
                f"({min(lengths)} samples at {sample_rate} Hz)"
            )
        for song, n in zip(wav, lengths):
            if not float(song[..., :n].abs().amax()) < _LOUDEST:  # NaN isn't either
                raise AudioError(f"audio has values that are not finite, or beyond ±{_LOUDEST:g}")
        mono = wav.mean(1) if wav.ndim == 3 else wav
        want = self.audio_config.sample_rate
        songs = (_at_rate(song[:n], sample_rate, want).to(self.device) for song, n in zip(mono, lengths))
        heard = [features(song[None], self.audio_config)[0] for song in songs]
        return self.embed_songs(heard)

    @torch.inference_mode()
    def embed_songs(self, songs: Sequence[Tensor]) -> Tensor:
        """Unit vectors (N, dim) of songs' features (bands, frames), each the mean over windows that cover it.

        Windows of several songs are heard together.
        """
        cut = [covering(song, self.audio_config.window_frames) for song in songs]
        out = torch.zeros(len(songs), self.config.dim, device=self.device)
        for length in sorted({windows.shape[-1] for windows in cut}):
            group = [i for i, windows in enumerate(cut) if windows.shape[-1] == length]
            flat = torch.cat([cut[i] for i in group]).to(self.device, self.dtype)
            blocks = flat.split(_WINDOWS_AT_ONCE)
            heard = torch.cat([self.audio_projection(self.audio_tower(block)).float() for block in blocks])
            counts = [len(cut[i]) for i in group]
            out[group] = torch.stack([part.mean(0) for part in heard.split(counts)])
        return _unit(out)

    @torch.inference_mode()
    def embed_features(self, song: Tensor) -> Tensor:
        """The unit vector (1, dim) of one song's features (bands, frames)."""
        return self.embed_songs([song])


def _check_list(texts: list[str]) -> None:
    """One text alone would be read character by character."""
    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        raise RequestError(f"texts come as a list of strings, but got {_quoted(texts)}")


def _quoted(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) < 60 else shown[:57] + "..."


def _worded(text: str) -> bool:
    return any(c.isalnum() for c in text)


def _pieces(text: str) -> list[str]:
    """A description's fragments: those with a word, which a part of a long row of dashes hasn't.

    Raises:
        RequestError: none has.
    """
    pieces = [piece for piece in fragments(tidy(text)) if _worded(piece)]
    # Bare numbers beside a quote or a bracket may still be those of a list.
    found = [piece for piece in pieces if _NO_NUMBER.search(piece) or _worded(canonical(piece))]
    if not found:
        raise RequestError(f"a description needs at least one word, but got {_quoted(text)}")
    return found


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
    """A new ChinMu: random, but for the towers where a pretrained one is named.

    Raises:
        ConfigError, CheckpointError: no tokenizer came, or a pretrained tower can't be loaded or doesn't fit.
    """
    text, audio = config.text, config.audio
    read = None
    if text.pretrained is None:
        if tokenizer is None:
            raise CheckpointError("a text tower with random weights needs a tokenizer of its corpus")
        encoder = {**text.encoder, "vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    else:
        read, tokenizer = _pretrained_text(text.pretrained)
        encoder = {k: v for k, v in read.config.to_diff_dict().items() if k not in _NOT_SHAPE}
    heard = clap.audio_tower(audio.pretrained) if audio.pretrained else None
    if heard is not None:
        audio = replace(audio, pretrained=None, htsat=audio.htsat | heard.settings)
    # The folder's configuration names the encoders themselves and no longer where they came from.
    text = replace(text, pretrained=None, encoder=encoder)
    model = ChinMu(ChinMuConfig.of(replace(config, text=text, audio=audio)), tokenizer)
    if read is not None:
        model.text_tower = _encoder_of(read)
    if heard is not None and isinstance(model.audio_tower, HTSAT):
        clap.fill(model.audio_tower.model, heard.weights, config.audio.pretrained)
    return model


_NOT_SHAPE = ("architectures", "dtype", "transformers_version", "_name_or_path")


def _pretrained_text(source: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    try:
        tower = AutoModel.from_pretrained(source, dtype=torch.float32)
        return tower, _reader(source)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"the text tower {source} can't be loaded: {error}") from error


def _reader(folder: str | Path) -> PreTrainedTokenizerBase:
    """A folder's tokenizer, padding behind the text as `ChinMu` reads it."""
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="right")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _at_rate(mono: Tensor, have: int, want: int) -> Tensor:
    if have == want:
        return mono
    return torch.from_numpy(resample(Audio(mono[None].float().cpu().numpy(), have), want).samples[0])


def _unit(x: Tensor) -> Tensor:
    return nn.functional.normalize(x.float(), dim=-1)
