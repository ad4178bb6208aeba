"""Recognisers of sung syllables behind one interface: ours, any CTC model, Whisper.

    recogniser = load(None)              # the bundled one
    heard = recogniser.hear(path)        # log-probabilities of its tokens over time
    recogniser.syllables(heard)          # what it would write down, in toneless pinyin

A folder is ours (`eval.syllables`), or one of transformers with its processor: a CTC model that writes
characters or pinyin, whose tokens are pooled by their reading, or Whisper, whose transcription becomes
a row of syllables without times. Songs are read in pieces with overlap, so that memory doesn't grow
with their length.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from common.audio import Audio
from common.errors import AudioError, CheckpointError, LyricsError
from common.phones import SPELLINGS, spell
from common.pinyin import SYLLABLES, plain, read, toneless
from eval.ctc import BLANK, Recognised, Speller, WalkCosts
from eval.syllables import features, model

BUNDLED = Path(__file__).parent / "models" / "syllables"
# Most models of others speak in one frame of a syllable and are silent in the rest, so a frame counts
# for more than one of ours, of which a syllable has about eight.
_PEAKED = WalkCosts(filler=3.0, jump=4.0)
_SURE = 0.9  # probability that a transcription without probabilities is given


@dataclass(frozen=True, eq=False)
class Heard:
    """Log-probabilities (frames, tokens); frame k is at k / rate seconds, or at no known time."""

    log_probs: np.ndarray
    rate: float | None  # Hz


@dataclass(frozen=True, eq=False, kw_only=True)
class Recogniser(ABC):
    """Hears sung syllables."""

    name: str
    spellings: dict[str, tuple[int, ...]]  # toneless syllable → its tokens
    accuracy: dict[str, Any] = field(default_factory=dict)  # on held-out songs, where it is known
    costs: WalkCosts = field(default_factory=WalkCosts)  # of a way through the lines of what it hears
    price: float = 0.0  # nats of a syllable in `syllables`

    @abstractmethod
    def hear(self, path: Path) -> Heard:
        """What is sung in a file. Raises AudioError naming it."""

    def syllables(self, heard: Heard) -> list[Recognised]:
        """The syllables that are most likely sung."""
        return Speller(self.spellings, self.price).best(heard.log_probs)


def syllable(reading: str) -> str:
    """The Mandarin syllable of a reading, without its tone; of a Latin word the nearest one.

    Raises:
        LyricsError: the reading has no letters.
    """
    bare = toneless(reading)
    if bare in SPELLINGS:
        return bare
    return _nearest(spell(bare))


def _nearest(spelling: tuple[int, ...]) -> str:
    exact = [s for s, t in SPELLINGS.items() if t == spelling]
    return (exact or [s for s, t in SPELLINGS.items() if t[-1] == spelling[-1]])[0]


def load(folder: str | Path | None, price: float | None = None) -> Recogniser:
    """The recogniser of a folder; the bundled one for None.

    Args:
        price: nats that a syllable costs our recogniser, instead of its own setting.
    Raises:
        CheckpointError: there is no model in the folder, or none that can be used.
    """
    path = BUNDLED if folder is None else Path(folder)
    kind = _kind(path)
    if kind == "ours":
        network, about = model.load(path)
        return Syllables(network=network, accuracy=about.accuracy, price=PRICE if price is None else price)
    return _Whisper.load(path) if kind == "whisper" else _Characters.load(path)


def _kind(folder: Path) -> str:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"no recogniser of sung words can be read from {folder}: {error}") from error
    if not isinstance(config, dict):
        raise CheckpointError(
            f"no recogniser of sung words can be read from {folder}: its config is no object"
        )
    if "tokens" in config:
        return "ours"
    return "whisper" if config.get("model_type") == "whisper" else "ctc"


# ---- audio in pieces -------------------------------------------------------------------------


def pieces(path: Path, kept: float, margin: float) -> Iterator[tuple[np.ndarray, float, float]]:
    """Mono samples at 16 kHz of a file, piece by piece.

    Args:
        kept: seconds from one piece to the next.
        margin: seconds before and after that a piece has where the file has them.
    Yields:
        Samples, the second at which they begin, and the second from which on they count.
    Raises:
        AudioError: the file is missing or is no audio; it is named.
    """
    if not path.is_file():
        raise AudioError(f"there is no audio file {path}")
    try:
        with soundfile.SoundFile(path) as file:
            rate, duration = file.samplerate, file.frames / file.samplerate
            if not file.frames:
                raise AudioError(f"{path} holds no samples")
            for number in range(int(np.ceil(duration / kept))):
                begin = max(0.0, number * kept - margin)
                file.seek(round(begin * rate))
                end = min(file.frames, round(((number + 1) * kept + margin) * rate))
                block = file.read(end - file.tell(), dtype="float32", always_2d=True)
                if len(block) < rate // 20 and number:
                    return  # a rest too short to hear
                single = Audio(block.mean(1, dtype=np.float32)[None], rate)
                yield features.mono(single), begin, number * kept
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise AudioError(f"{path} can't be read as audio (WAV, FLAC, OGG, MP3): {error}") from error


# ---- ours ------------------------------------------------------------------------------------

_KEPT = 20.0  # seconds of a piece
PRICE = 6.0  # nats of a syllable: fewest errors on held-out songs of the corpus (valid)


@dataclass(frozen=True, eq=False, kw_only=True)
class Syllables(Recogniser):
    """The recogniser of `eval.syllables`."""

    network: model.Network
    name: str = "syllables"
    spellings: dict[str, tuple[int, ...]] = field(default_factory=lambda: SPELLINGS)
    price: float = PRICE

    def hear(self, path: Path) -> Heard:
        rate, parts = model.FRAME_RATE, []
        # A whole number of frames, and more than the network and its spectra reach.
        margin = (self.network.config.reach + 2) / rate
        for samples, begin, start in pieces(path, _KEPT, margin):
            heard = self.network.listen(samples)
            first = round((start - begin) * rate)
            parts.append(heard[first : first + round(_KEPT * rate)])
        return Heard(torch.cat(parts).numpy(), rate)


# ---- of transformers -------------------------------------------------------------------------

_INDEX: dict[str, tuple[int, ...]] = {
    s: (i,) for i, s in enumerate(SYLLABLES, 1)
}  # a token for each syllable, after the blank


def _from_folder(folder: Path, model_class: Any) -> tuple[Any, Any]:
    """Model and processor of a folder; nothing is fetched, no foreign code runs."""
    from transformers import AutoProcessor

    try:
        return (
            model_class.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval(),
            AutoProcessor.from_pretrained(folder, local_files_only=True),
        )
    except Exception as error:  # whatever transformers says of a folder that lacks something
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise CheckpointError(f"no recogniser of sung words can be read from {folder}: {lines[0]}") from error


def _as_syllable(token: str) -> str | None:
    """The syllable that a token of a foreign vocabulary stands for: a character's, or pinyin itself."""
    text = token.strip().lower().removeprefix("▁")
    if toneless(text) in SPELLINGS:
        return toneless(text)
    try:
        readings = read(text) if len(text) == 1 and not text.isascii() else []
    except LyricsError:
        return None
    return toneless(readings[0]) if len(readings) == 1 else None


@dataclass(frozen=True, eq=False, kw_only=True)
class _Characters(Recogniser):
    """A CTC model of transformers. A syllable is as likely as all tokens that are read so; what
    isn't Mandarin counts as a pause."""

    model: Any
    processor: Any
    columns: np.ndarray  # (vocabulary,) place of each token's syllable; 0 for what is none
    spellings: dict[str, tuple[int, ...]] = field(default_factory=lambda: _INDEX)
    costs: WalkCosts = _PEAKED

    @classmethod
    def load(cls, folder: Path) -> "_Characters":
        from transformers import AutoModelForCTC

        network, processor = _from_folder(folder, AutoModelForCTC)
        columns = np.zeros(network.config.vocab_size, dtype=np.int64)
        for token, place in processor.tokenizer.get_vocab().items():
            found = _as_syllable(token)
            if found is not None and place < len(columns):
                columns[place] = _INDEX[found][0]
        if not columns.any():
            raise CheckpointError(f"the recogniser in {folder} writes no Mandarin characters and no pinyin")
        return cls(model=network, processor=processor, columns=columns, name=folder.name)

    @torch.inference_mode()
    def hear(self, path: Path) -> Heard:
        hop = int(getattr(self.model.config, "inputs_to_logits_ratio", 320))
        kept, margin = 15 * features.RATE // hop * hop / features.RATE, 30 * hop / features.RATE
        parts, rate = [], features.RATE / hop
        for samples, begin, start in pieces(path, kept, margin):
            given = self.processor(samples, sampling_rate=features.RATE, return_tensors="pt")
            logits = self.model(**given).logits[0].float()
            pooled = self._pooled(logits.softmax(-1).numpy())
            wanted = max(1, min(round(kept * rate), round(len(samples) / hop - (start - begin) * rate)))
            first = round((start - begin) * rate)
            # The last window of convolutions may lack a frame or two: the end is silent there.
            short = max(0, first + wanted - len(pooled))
            parts.append(np.pad(pooled, ((0, short), (0, 0)), mode="edge")[first : first + wanted])
        return Heard(np.concatenate(parts), rate)

    def _pooled(self, probs: np.ndarray) -> np.ndarray:
        pooled = np.full((len(probs), len(_INDEX) + 1), 1e-8)
        np.add.at(pooled.T, self.columns, probs.T)
        return np.log(pooled / pooled.sum(1, keepdims=True)).astype(np.float32)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Whisper(Recogniser):
    """Whisper's transcription, half a minute at a time; it knows neither times nor probabilities."""

    model: Any
    processor: Any
    spellings: dict[str, tuple[int, ...]] = field(default_factory=lambda: _INDEX)
    costs: WalkCosts = _PEAKED

    @classmethod
    def load(cls, folder: Path) -> "_Whisper":
        from transformers import WhisperForConditionalGeneration

        network, processor = _from_folder(folder, WhisperForConditionalGeneration)
        return cls(model=network, processor=processor, name=folder.name)

    @torch.inference_mode()
    def hear(self, path: Path) -> Heard:
        said: list[str] = []
        for samples, _, _ in pieces(path, 28.0, 1.0):
            given = self.processor(samples, sampling_rate=features.RATE, return_tensors="pt")
            options = {"language": "zh", "task": "transcribe"} if self._multilingual() else {}
            ids = self.model.generate(given.input_features, **options)
            text = self.processor.batch_decode(ids, skip_special_tokens=True)[0]
            said += [syllable(r) for r in read(plain(text))]
        return as_heard(said)

    def _multilingual(self) -> bool:
        return bool(getattr(self.model.generation_config, "is_multilingual", False))


def as_heard(said: list[str]) -> Heard:
    """A transcription as frames without times: each syllable, then a pause, nearly sure."""
    size = len(_INDEX) + 1
    probs = np.full((2 * len(said) + 1, size), (1 - _SURE) / (size - 1))
    probs[::2, BLANK] = _SURE
    probs[np.arange(1, 2 * len(said), 2), [_INDEX[s][0] for s in said]] = _SURE
    return Heard(np.log(probs).astype(np.float32), None)
