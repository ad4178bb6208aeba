"""What ChinMu trains on: crops of songs, and what people say of them.

Audio is read once: the features of every song are cached as float16 in the run folder. A batch is
a pure function of (seed, step, process), so training resumes exactly and workers need no state.
Descriptions come from the manifest or, for synthetic songs, are spoken anew again and again from
the song's plan: variety of phrasing is what makes unseen phrasings understood.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from chinmu.config import AudioConfig
from chinmu.features import features
from chinmu.model import covering
from chinmu.prototypes import Vocabulary, of_song, of_text
from chinmu.sung import STRIDE, phones
from chinmu.telling import TellConfig, Teller, hide
from chinmu.text import canonical
from common.audio import Audio, resample
from common.config import check_least
from common.description import cut
from common.errors import ConfigError
from common.seeds import generator
from corpus.record import SongRecord
from corpus.songs import song_audio
from corpus.sung import UNKNOWN

logger = logging.getLogger(__name__)

# What features depend on: towers of other sizes share the files of a run folder.
_FRONT_END = (
    "sample_rate", "n_fft", "hop_length", "n_mels", "mel_scale", "f_min", "f_max", "n_chroma",
    "chroma_n_fft", "mean_db", "std_db", "edges",
)  # fmt: skip


@dataclass(frozen=True)
class DataConfig:
    """How batches are drawn."""

    batch_size: int = 64  # songs in each process
    crop: tuple[float, float] = (5.0, 35.0)  # seconds, one length for all songs of a step
    tell: TellConfig = field(default_factory=TellConfig)
    gain_db: float = 6.0  # augmentation: ± of the whole song
    tilt_db: float = 6.0  # augmentation: ± from the lowest to the highest band
    mask_bands: int = 8  # augmentation: at most so many neighbouring bands are blanked
    mask_frames: int = 40  # augmentation: at most so many neighbouring frames are blanked
    workers: int = 1  # processes that prepare batches; 0 for none

    def __post_init__(self) -> None:
        if not 0 < self.crop[0] <= self.crop[1]:
            raise ConfigError(f"crop is (shortest, longest) in seconds, but got {self.crop}")
        if self.batch_size < 2:
            raise ConfigError(f"a contrastive batch needs at least 2 songs, but got {self.batch_size}")
        check_least(self, 0, "gain_db", "tilt_db", "mask_bands", "mask_frames", "workers")


@dataclass(frozen=True)
class Batch:
    """Pairs of a text and a crop; row i of `texts` was said of song i."""

    texts: list[str]
    windows: Tensor  # (W, bands, frames)
    sung: Tensor  # (W, ceil(frames / 2)) the phone of every second frame, or corpus.sung.UNKNOWN
    owner: Tensor  # (W,) row of the song
    holds: Tensor  # (n, n · processes) bool: text i of this process holds for song j of all
    named: Tensor  # (n, values) of 0 … 1: the labels that each text names
    known: Tensor  # (n, values): the labels of each song


# ---- audio ---------------------------------------------------------------------------------


def cache(records: Sequence[SongRecord], root: Path, config: AudioConfig, folder: Path) -> list[Path]:
    """Compute the features of every song that the folder lacks; return their files, (bands, T) float16.

    Args:
        root: the manifest's folder, which audio paths are relative to.
    Raises:
        AudioError, ManifestError: a song's audio can't be had.
    """
    front = {name: value for name, value in asdict(config).items() if name in _FRONT_END}
    home = folder / _digest(json.dumps(front, sort_keys=True, default=str))
    home.mkdir(parents=True, exist_ok=True)
    files = [home / f"{_digest(record.id)}.npy" for record in records]
    missing = [(r, f) for r, f in zip(records, files) if not f.exists()]
    for number, (record, file) in enumerate(missing):
        if number % 100 == 0:
            logger.info("features of song %d of %d", number + 1, len(missing))
        values = song_features(song_audio(record, root), config).numpy().astype(np.float16)
        temporary = file.with_suffix(".tmp.npy")
        np.save(temporary, values)
        temporary.replace(file)
    return files


def song_features(audio: Audio, config: AudioConfig) -> Tensor:
    """Features (bands, T) of a whole song."""
    if audio.sample_rate != config.sample_rate:
        audio = resample(audio, config.sample_rate)
    return features(torch.from_numpy(audio.samples)[None], config)[0]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# ---- batches -------------------------------------------------------------------------------


class Pairs(Dataset[Batch]):
    """Batch number `step` at index `step`, for one process of several.

    Args:
        longest: characters of a text that can be read at once; of a longer one a part at random is said.
    Raises:
        ConfigError: fewer songs than a step needs, so that one would meet itself.
    """

    def __init__(
        self,
        records: Sequence[SongRecord],
        files: Sequence[Path],
        audio: AudioConfig,
        config: DataConfig,
        seed: int,
        process: int = 0,
        processes: int = 1,
        augment: bool = True,
        longest: int | None = None,
    ) -> None:
        self.records, self.files, self.audio, self.config = list(records), list(files), audio, config
        self.seed, self.process, self.processes, self.augment = seed, process, processes, augment
        self.longest = longest
        self.teller = Teller(self.records, config.tell, seed)
        self.labels = Vocabulary(self.records)
        self._sung: dict[int, np.ndarray] = {}
        if len(self.records) < config.batch_size * processes:
            raise ConfigError(
                f"a step takes {config.batch_size} × {processes} different songs, but the manifest has "
                f"{len(self.records)}: lower data.batch_size or add songs"
            )

    def __len__(self) -> int:
        return 2**31

    def songs(self, step: int) -> np.ndarray:
        """The songs of a step (processes, n): every epoch is another order of all."""
        size = self.config.batch_size * self.processes
        steps = len(self.records) // size
        order = generator(self.seed, "order", step // steps).permutation(len(self.records))
        return order[step % steps * size :][:size].reshape(self.processes, -1)

    def opening(self, most: int = 256) -> Batch:
        """The first songs of step 0, whatever the processes: what new layers are measured on."""
        songs = min(most, self.config.batch_size * self.processes)
        alone = replace(self.config, batch_size=songs)
        first = Pairs(
            self.records, self.files, self.audio, alone, self.seed, 0, 1, self.augment, self.longest
        )
        return first[0]

    def said(self, most: int) -> tuple[list[str], Tensor]:
        """One text of each song, at most so many, and (n, values) of 0 … 1: the labels that each names."""
        some = range(min(most, len(self.records)))
        texts = [self.teller.say(song, generator(self.seed, "said", song))[0] for song in some]
        return texts, torch.tensor([self.labels.row(of_text(text)) for text in texts])

    def __getitem__(self, step: int) -> Batch:
        everyone = self.songs(step)
        seconds = generator(self.seed, "crop", step).uniform(*self.config.crop)
        texts, windows, sung, owner, holds, named, known = [], [], [], [], [], [], []
        for row, song in enumerate(everyone[self.process]):
            rng = generator(self.seed, "pair", step, song)
            text, kind = self.teller.say(int(song), rng, step)
            if self.longest is not None and len(text) > self.longest:
                some = cut(text, self.longest)
                text = canonical(some[rng.integers(len(some))])
            crop, said = self._crop(int(song), seconds, rng)
            texts.append(hide(text, rng, self.config.tell.hidden) if self.augment else text)
            windows.append(crop)
            sung.append(said)
            owner += [row] * len(crop)
            named.append(self.labels.row(of_text(text)))
            known.append(self.labels.row(of_song(self.records[song])))
            holds.append(self.teller.holds(text, kind, everyone.ravel().tolist()))
        pairs = torch.tensor(holds)
        own = torch.arange(len(texts))
        pairs[own, own + self.process * len(texts)] = True
        labels = torch.tensor(named), torch.tensor(known)
        return Batch(texts, torch.cat(windows), torch.cat(sung), torch.tensor(owner), pairs, *labels)

    def _crop(self, song: int, seconds: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Windows (W, bands, frames) of a random crop, and the phones sung in them (W, T).

        A song shorter than one window is repeated.
        """
        values = np.load(self.files[song], mmap_mode="r")
        wanted = max(1, round(seconds * self.audio.sample_rate / self.audio.hop_length))
        window = min(wanted, self.audio.window_frames)
        start = int(rng.integers(max(1, values.shape[1] - wanted + 1)))
        crop = np.array(values[:, start : start + wanted], dtype=np.float32)
        sung = self._phones(song, values.shape[1])[start : start + wanted]
        if crop.shape[1] < window:
            crop, sung = np.resize(crop.T, (window, crop.shape[0])).T, np.resize(sung, (window,))
        if self.augment:
            self._disturb(crop, rng)
        windows = covering(torch.from_numpy(np.ascontiguousarray(crop)), window)
        return windows, covering(torch.from_numpy(sung)[None], window)[:, 0, ::STRIDE].long()

    def _phones(self, song: int, count: int) -> np.ndarray:
        """(count,) the phone of each frame of a song; all UNKNOWN where no tower asks."""
        if not self.audio.sung:
            return np.full(count, UNKNOWN, dtype=np.int16)
        if song not in self._sung:
            self._sung[song] = phones(self.records[song], self.audio, count).astype(np.int16)
        return self._sung[song]

    def _disturb(self, crop: np.ndarray, rng: np.random.Generator) -> None:
        """Gain, spectral tilt, and blanked bands and frames, on the mel bands in place."""
        c, mel = self.config, crop[: self.audio.n_mels]
        slope = np.linspace(-0.5, 0.5, len(mel), dtype=np.float32)[:, None]
        mel += rng.uniform(-c.gain_db, c.gain_db) / self.audio.std_db
        mel += np.float32(rng.uniform(-c.tilt_db, c.tilt_db) / self.audio.std_db) * slope
        for axis, most in ((0, c.mask_bands), (1, c.mask_frames)):
            width = int(rng.integers(min(most, mel.shape[axis]) + 1))
            start = int(rng.integers(mel.shape[axis] - width + 1))
            np.moveaxis(mel, axis, 0)[start : start + width] = mel.mean()


def pieces(batch: Batch, songs: int) -> list[Batch]:
    """A batch in parts of at most so many songs, for towers; what concerns the whole batch is left out."""
    out = []
    for start in range(0, len(batch.texts), songs):
        texts = batch.texts[start : start + songs]
        own = (batch.owner >= start) & (batch.owner < start + len(texts))
        nothing = batch.holds[:0], batch.named[:0], batch.known[:0]
        out.append(Batch(texts, batch.windows[own], batch.sung[own], batch.owner[own] - start, *nothing))
    return out


def batches(pairs: Pairs, start: int) -> Iterator[Batch]:
    """The batches from step `start` on, without end, prepared ahead by the configured workers."""
    sampler = range(start, len(pairs))
    loader: DataLoader[Batch] = DataLoader(
        pairs, sampler=sampler, batch_size=None, num_workers=pairs.config.workers, in_order=True
    )
    return iter(loader)


def all_texts(teller: Teller, seed: int, rounds: int = 4) -> Iterator[str]:
    """What a vocabulary is made from: what is written of the songs, and some things said of them anew."""
    for song, record in enumerate(teller.records):
        yield from (d.text for d in record.descriptions)
        for turn in range(rounds if teller.config.anew else 0):
            rng = generator(seed, "vocabulary", song, turn)
            yield from (d.text for d in teller.descriptions(song, rng))
            yield teller.say(song, rng)[0]
