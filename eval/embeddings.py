"""Songs as rows of vectors: one interface for every encoder, with a cache that survives a kill.

    python -m eval.embeddings --songs songs --encoders '[corpus, chinmu]' --cache runs/embeddings
    torchrun --nproc_per_node 2 -m eval.embeddings --songs songs --encoders '[mert]' --weights.mert mert

Conventions: an encoder resamples a song to its own rate, mixes it to one channel and gives rows
(N, D), one a window or frame, float32; `convention` says in words which windows and which layer,
and is printed with each score, since a distance means nothing without it. A song's rows are kept
under the hash of its file and the hash of the encoder, so a second run computes what is missing.

    encoder     rate    windows                             D
    ms-clap     44100   7 s every 1 s, zero-padded          1024   not normalised
    laion-clap  48000   10 s every 1 s, zero-padded         512
    encodec     24000   frames of at most 3 minutes         128    before quantisation, 75 Hz
    mert        24000   frames of at most 6 minutes         768    layer 12 of MERT-v1-95M, 75 Hz
    chinmu      44100   10 s every 5 s                      512
    corpus      22050   8 s every 4 s                       192    bundled

The first four as Gui 2024 (fadtk) has them. Differs: audio isn't rounded to 16 bits on the way.
"""

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from common import config as configs
from common.audio import Audio, read_audio, resample, to_channels
from common.errors import AudioError, CheckpointError, RequestError, run_command

logger = logging.getLogger(__name__)

SUFFIXES = (".flac", ".wav", ".ogg", ".mp3")
_UNREAD = (".m4a", ".aac", ".mp4", ".opus", ".wma", ".aif", ".aiff", ".au", ".ape", ".oga", ".webm")
COLLAPSED = 0.8  # mean pairwise cosine of unrelated items
FROZEN = 0.999  # the same for frame encoders, whose vectors share a large mean
_SHOWN = 8  # names in a warning
_PATH = "<path>"  # stands for a file in the reason that is kept under its content
_TEXTS = ("安静的钢琴曲", "愤怒的重金属，男声嘶吼", "欢快的儿童歌曲", "深夜的电子舞曲")
_ENGLISH = ("a quiet piano piece", "a dog barking", "aggressive heavy metal with shouting", "rain on a roof")


class Encoder(Protocol):
    """What turns audio into rows. `embed_text` raises RequestError where an encoder reads no text."""

    name: str
    sample_rate: int  # Hz
    dimensions: int
    convention: str  # windows, layer and pooling, in words
    digest: str  # of weights and convention: rows of equal digests may be compared
    contrastive: bool  # cosines mean something without centring

    def embed(self, audio: Audio) -> np.ndarray: ...

    def embed_text(self, texts: Sequence[str]) -> np.ndarray: ...


# ---- where weights are ---------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """Where an encoder's weights come from: a hub name, and what its official file is called."""

    hub: str
    file: str | None = None  # in the repository, where no transformers folder is meant


SOURCES = {
    "ms-clap": Source("microsoft/msclap", "CLAP_weights_2023.pth"),
    "laion-clap": Source("laion/larger_clap_general"),
    "encodec": Source("facebook/encodec_24khz"),
    "mert": Source("m-a-p/MERT-v1-95M"),
}
BUNDLED = {
    "corpus": Path(__file__).parent / "models/corpus",
    "chinmu": Path(__file__).parents[1] / "app/models/demo/chinmu",
}
NAMES = (*SOURCES, *BUNDLED)
READERS = ("laion-clap", "chinmu")  # encoders that read text too


def weights_root() -> Path:
    """The folder that holds one sub-folder per encoder: $BAIHUA_WEIGHTS, or ~/.cache/baihua."""
    return Path(os.environ.get("BAIHUA_WEIGHTS", Path.home() / ".cache/baihua"))


def locate(name: str, path: str | Path | None = None) -> Path:
    """The weights of an encoder: the given path, the weights folder, the hub's cache, or the bundle.

    Raises:
        CheckpointError: there are none; says what to put where. Nothing is downloaded.
    """
    if name not in NAMES:
        raise RequestError(f"there is no encoder {name!r}; known are {', '.join(NAMES)}")
    own = weights_root() / name
    if path is not None:
        if not Path(path).exists():
            raise CheckpointError(f"there are no weights for {name} at {path}")
        return Path(path)
    if own.exists():
        return own
    found = BUNDLED[name] if name in BUNDLED else _cached(SOURCES[name])
    if found is not None and found.exists():
        return found
    what = "a ChinMu folder" if name not in SOURCES else _described(SOURCES[name])
    raise CheckpointError(f"{name} has no weights here: put {what} at {own}, or give --weights.{_key(name)}")


def available(name: str, path: str | Path | None = None) -> bool:
    """Whether the weights of an encoder are on this machine."""
    try:
        locate(name, path)
    except CheckpointError:
        return False
    return True


def _described(source: Source) -> str:
    return f"{source.file} of {source.hub}" if source.file else f"the folder of {source.hub}"


def _key(name: str) -> str:
    return name.replace("-", "_")


def _cached(source: Source) -> Path | None:
    """A repository in the hub's cache, without asking the network."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(source.hub, source.file or "config.json")
    if not isinstance(found, str):
        return None
    return Path(found) if source.file else Path(found).parent


@dataclass(frozen=True)
class Weights:
    """Where the weights of encoders are, when not where `locate` looks."""

    ms_clap: str | None = None
    laion_clap: str | None = None
    encodec: str | None = None
    mert: str | None = None
    chinmu: str | None = None
    corpus: str | None = None


def of(weights: Weights, name: str) -> str | None:
    """The given path of an encoder."""
    return getattr(weights, _key(name), None)


def load(name: str, path: str | Path | None = None, device: str | None = None) -> Encoder:
    """An encoder, checked not to have collapsed.

    Args:
        device: cuda where there is one when None.
    Raises:
        CheckpointError: weights are missing, don't fit, or say the same of everything.
    """
    import torch

    from eval import clap, encoders

    found = locate(name, path)
    where = device or ("cuda" if torch.cuda.is_available() else "cpu")
    makers: dict[str, Callable[[Path, str], Encoder]] = {
        "ms-clap": clap.MsClap,
        "laion-clap": clap.LaionClap,
        "encodec": encoders.Encodec,
        "mert": encoders.Mert,
        "chinmu": encoders.ChinMuEncoder,
        "corpus": encoders.Corpus,
    }
    encoder = makers[name](found, where)
    refuse_collapsed(encoder)
    return encoder


def digest_of(path: Path, convention: str) -> str:
    """The hash of weights (a file, or a folder's weights and settings) and of what is done with them."""
    total = hashlib.sha256(convention.encode())
    files = [path] if path.is_file() else sorted(p for p in path.iterdir() if p.is_file())
    for file in files:
        total.update(file.name.encode())
        total.update(_hash(file).encode())
    return total.hexdigest()[:24]


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---- sound in, windows out -----------------------------------------------------------------


def mono(audio: Audio, rate: int) -> np.ndarray:
    """Samples (time,) of the mean of all channels, at another rate."""
    single = to_channels(audio, 1)
    return (single if single.sample_rate == rate else resample(single, rate)).samples[0]


def every(samples: np.ndarray, window: int, hop: int) -> Iterator[np.ndarray]:
    """Windows that begin every `hop` samples for as long as there is sound, padded with zeros at the end."""
    for start in range(0, len(samples), hop):
        piece = samples[start : start + window]
        yield np.pad(piece, (0, window - len(piece)))


def covering(samples: np.ndarray, window: int, hop: int) -> Iterator[np.ndarray]:
    """Whole windows every `hop` samples and one that ends with the song; a short song is one window."""
    starts = list(range(0, max(1, len(samples) - window + 1), hop))
    if starts[-1] + window < len(samples):
        starts.append(len(samples) - window)
    for start in starts:
        yield samples[start : start + window]


def batches(windows: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Stacks of at most `size` windows, so that the memory doesn't grow with the song."""
    held: list[np.ndarray] = []
    for window in windows:
        held.append(window)
        if len(held) == size:
            yield np.stack(held)
            held = []
    if held:
        yield np.stack(held)


# ---- collapse ------------------------------------------------------------------------------


def pairwise_cosine(rows: np.ndarray) -> float:
    """The mean cosine of all pairs of rows (N, D)."""
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    cosines = unit @ unit.T
    return float(cosines[np.triu_indices(len(rows), 1)].mean())


def refuse_collapsed(encoder: Encoder) -> None:
    """Raise CheckpointError when an encoder says nearly the same of unrelated sounds or texts.

    The hub's laion/larger_clap_music gives unrelated texts a cosine of 0.9993, and everything that is
    scored with it looks alike. Frame encoders (EnCodec, MERT) share a large mean: theirs may be higher.
    """
    limit = COLLAPSED if encoder.contrastive else FROZEN
    sounds = np.stack([encoder.embed(sound).mean(0) for sound in unrelated_sounds()])
    if not np.isfinite(sounds).all():
        raise CheckpointError(f"{encoder.name} gives values that aren't finite: its weights are damaged")
    found = {"sounds": pairwise_cosine(sounds)}
    if encoder.contrastive:
        try:
            texts = _TEXTS if encoder.name == "chinmu" else _ENGLISH
            found["texts"] = pairwise_cosine(encoder.embed_text(texts))
        except RequestError:
            logger.debug("%s reads no text", encoder.name)
    for what, cosine in found.items():
        if cosine > limit:
            raise CheckpointError(
                f"{encoder.name} has collapsed: unrelated {what} have a mean cosine of {cosine:.3f}, "
                f"and more than {limit} means that it tells nothing apart; use other weights"
            )


def unrelated_sounds() -> list[Audio]:
    """Ten seconds each of hiss, clicks, a low chord and a high siren: no encoder should confuse them."""
    rate, rng = 48000, np.random.default_rng(0)
    time = np.arange(10 * rate) / rate
    clicks = np.exp(-((time * 4) % 1) * 60) * rng.standard_normal(len(time))
    chord = sum(np.sign(np.sin(2 * np.pi * f * time)) for f in (82.4, 103.8, 123.5))
    siren = np.sin(2 * np.pi * (1500 * time + 400 / 3 * np.sin(2 * np.pi * 3 * time)))
    kinds = (rng.standard_normal(len(time)), clicks, chord, siren)
    return [Audio((0.5 * k / np.abs(k).max())[None].astype(np.float32), rate) for k in kinds]


# ---- folders and their cache ---------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Embedded:
    """The rows of many songs, read from the cache when asked for."""

    names: tuple[str, ...]  # of the songs: file names without suffix
    paths: tuple[Path, ...]  # of their rows
    missing: dict[str, str]  # file → why it couldn't be heard

    def __len__(self) -> int:
        return len(self.names)

    def rows(self, index: int) -> np.ndarray:
        """The rows (N, D) of one song, float32."""
        return np.load(self.paths[index])

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self.rows(i) for i in range(len(self)))

    def all(self) -> list[np.ndarray]:
        """The rows of every song."""
        return list(self)

    def means(self) -> np.ndarray:
        """Each song's mean row, (songs, D)."""
        return np.stack([rows.mean(0) for rows in self])


def is_song(path: Path) -> bool:
    """Whether a file is called as audio is; a Mac's hidden `._name` files aren't."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and not path.is_dir()


def audio_files(folder: str | Path) -> list[Path]:
    """The audio files of a folder, sorted by name; not those of its sub-folders.

    Raises:
        RequestError: there is no such folder, none in it, or two that differ in their suffix alone.
    """
    root = Path(folder)
    if not root.is_dir():
        raise RequestError(f"there is no folder {root}")
    files = sorted(filter(is_song, root.iterdir()))
    if not files:
        raise RequestError(f"{root} holds no audio ({', '.join(SUFFIXES)})")
    stems = [p.stem for p in files]
    twice = sorted({s for s in stems if stems.count(s) > 1}) if len(set(stems)) < len(stems) else []
    if twice:
        raise RequestError(f"{root} holds {twice[0]!r} twice, in two formats: keep one")
    return files


def unread(folder: str | Path, but: Iterable[str] = ()) -> str | None:
    """A sentence on the sound in a folder that isn't read, files of other formats and sub-folders; or None.

    Args:
        but: names of sub-folders that are read.
    """
    root = Path(folder)

    def is_sound(file: Path, suffixes: Sequence[str]) -> bool:
        return file.suffix.lower() in suffixes and not file.name.startswith(".") and file.is_file()

    entries = sorted(root.iterdir())
    files = [p.name for p in entries if is_sound(p, _UNREAD)]
    inner = [p for p in entries if p.is_dir() and p.name not in set(but)]
    folders = [f"{p.name}/" for p in inner if any(is_sound(f, (*SUFFIXES, *_UNREAD)) for f in p.rglob("*"))]
    if not files and not folders:
        return None
    return (
        f"not read in {root}: {shortly([*files, *folders])} "
        f"({', '.join(SUFFIXES)} are, and not those of sub-folders)"
    )


def shortly(names: Sequence[str]) -> str:
    """The first few names and how many others there are."""
    others = f" and {len(names) - _SHOWN} others" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + others


def embed_files(
    encoder: Encoder, files: Sequence[Path], cache: str | Path, allow_missing: bool = False
) -> Embedded:
    """The rows of every file, from the cache where they are there; several processes share the work.

    Returns:
        The rows, and with `allow_missing` the files that are left out, for the caller to name.
    Raises:
        AudioError: files that can't be heard, all named; with `allow_missing` only where none can.
    """
    from accelerate import PartialState

    folder = Path(cache) / f"{encoder.name}-{encoder.digest}"
    folder.mkdir(parents=True, exist_ok=True)
    state = PartialState()
    with state.split_between_processes(list(files)) as share:
        for number, file in enumerate(share):
            if number % 50 == 0:
                logger.info("%s hears song %d of %d", encoder.name, number + 1, len(share))
            _ensure(encoder, file, folder)
    state.wait_for_everyone()
    return _gather(files, folder, allow_missing)


def _ensure(encoder: Encoder, file: Path, folder: Path) -> None:
    """Compute a file's rows unless they are there; why it failed is kept beside them."""
    try:
        kept = folder / f"{_hash(file)}.npy"
    except OSError:
        return  # named by `_gather`
    if kept.exists():
        return
    try:
        rows = encoder.embed(read_audio(file))
        if not np.isfinite(rows).all():
            raise AudioError(f"{file}: {encoder.name} gives values that aren't finite")
    except AudioError as error:
        # Two files of the same content share the reason, but each has its own name.
        kept.with_suffix(".error").write_text(str(error).replace(str(file), _PATH), encoding="utf-8")
        return
    part = kept.with_name(f".{kept.name}.{os.getpid()}.npy")
    np.save(part, rows.astype(np.float32))
    part.replace(kept)


def _gather(files: Sequence[Path], folder: Path, allow_missing: bool) -> Embedded:
    names, paths = [], []
    missing: dict[str, str] = {}
    for file in files:
        try:
            kept = folder / f"{_hash(file)}.npy"
        except OSError as error:
            missing[str(file)] = f"{file} can't be read: {error}"
            continue
        if kept.exists():
            names.append(file.stem)
            paths.append(kept)
        else:
            missing[str(file)] = _reason(file, kept.with_suffix(".error"))
    refuse_missing(list(missing.values()), len(files), allow_missing)
    return Embedded(tuple(names), tuple(paths), missing)


def refuse_missing(reasons: Sequence[str], files: int, allow_missing: bool) -> None:
    """Raise AudioError where some of so many files can't be heard and mustn't be left out, or none is left.

    Args:
        reasons: why a file can't be heard, with its name.
    """
    if reasons and not allow_missing:
        raise AudioError(
            f"{len(reasons)} of {files} files can't be heard: {'; '.join(r.rstrip('.') for r in reasons)}. "
            "Mend or remove them, or leave them out with --allow-missing"
        )
    if len(reasons) == files:
        raise AudioError("no file could be heard")


def say_missing(reasons: Iterable[str], said: set[str]) -> None:
    """Name what is left out, but for what was said already, say of another encoder."""
    for reason in reasons:
        if reason not in said:
            logger.warning("left out: %s", reason)
            said.add(reason)


def told_of(file: Path, error: AudioError) -> str:
    """Why a file can't be heard, with its name."""
    return str(error) if str(file) in str(error) else f"{file}: {error}"


def _reason(file: Path, kept: Path) -> str:
    """Why a file couldn't be heard, with its own path."""
    reason = kept.read_text(encoding="utf-8") if kept.exists() else f"{_PATH} was not heard"
    return reason.replace(_PATH, str(file)) if _PATH in reason else f"{file}: {reason}"


# ---- command -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    """What to embed."""

    songs: str  # a folder of audio files
    encoders: list[str] = field(default_factory=lambda: ["corpus", "chinmu"])
    cache: str = "runs/embeddings"
    allow_missing: bool = False  # leave out files that can't be heard
    weights: Weights = field(default_factory=Weights)


def main() -> int:
    """Embed a folder and print what came of it."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logger.setLevel(logging.INFO)  # our own progress, not every resampling
    settings = configs.parse(Settings)
    files, said = audio_files(settings.songs), set[str]()
    if words := unread(settings.songs):
        logger.warning("%s", words)
    for name in settings.encoders:
        encoder = load(name, of(settings.weights, name))
        found = embed_files(encoder, files, settings.cache, settings.allow_missing)
        say_missing(found.missing.values(), said)
        windows = sum(len(rows) for rows in found)
        print(f"{name}: {len(found)} songs, {windows} rows, D = {encoder.dimensions}; {encoder.convention}")
    return 0


if __name__ == "__main__":
    run_command(main)
