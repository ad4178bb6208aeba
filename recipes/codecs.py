"""Codecs side by side on held-out songs: how near their copies are, and whether a song model can learn them.

    python -m recipes.codecs --codecs '{now: demo, before: runs/old/vae}'
    python -m recipes.codecs --song_model_steps 150 --train TRAIN.jsonl --valid VALID.jsonl

Beside the codecs stand what costs no training: Opus near each of their bit rates, and the 64 lowest MDCT
coefficients of every frame. Columns: the metrics of `eval.reconstruction` (profile strict), the share of
sung notes that are still at their pitch, the smoothness of the latents, and, when asked for, the held-out
velocity loss of a small song model after so many steps, as a share of the latents' variance: a codec may
copy well and be deaf to generation, since its latents are noise to whoever has to predict them.
"""

import json
import logging
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import soundfile
import torch
from jaxtyping import Float
from torch import Tensor

from app.folder import check
from common.audio import Audio, read_audio, resample, to_channels
from common.config import parse
from common.errors import ConfigError, ManifestError, SongError, command
from common.statistics import Estimate, bootstrap, finite
from corpus import manifest
from corpus.record import SongRecord
from dit.store import LatentFacts
from eval.reconstruction import METRICS
from vae import measures
from vae.evaluate import sung_notes
from vae.load import Codec, load

logger = logging.getLogger(__name__)

Copy = Float[Tensor, "2 time"]
Copier = Callable[[Copy, int], tuple[Copy, dict[str, float]]]  # with figures of the copying itself

_OPUS_RATE = 48000  # Hz, the only full-band one that Opus has
_BITS = 16  # a latent is kept in bfloat16
# The paper's own codec on its own songs (Wang et al. 2025, table 1, MuChin), for orientation.
PAPER = {
    "mel_distance": 0.55, "stft_distance": 1.17, "icpc": 0.9678, "ccpc": 0.9681, "si_sdr": 9.99,
    "true_peak_distance": 0.05,
}  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """What is compared, and on what."""

    codecs: dict[str, str] = field(default_factory=lambda: {"demo": "demo"})  # name → folder, or `demo`
    manifest: str = "runs/demo/corpus/test/manifest.jsonl"  # held-out songs
    songs: int = 40
    seconds: float = 10.0  # of each, from its middle
    train: str | None = None  # manifest of songs for the song model
    valid: str | None = None  # and of those it is measured on
    chinmu: str = "demo"  # the song model's text encoder
    song_model_steps: int = 0  # 0: no song model
    song_model_songs: int = 60
    out: str = "runs/codecs"  # what takes long is kept here

    def __post_init__(self) -> None:
        if self.songs < 1 or self.seconds <= 0:
            raise ConfigError(f"a comparison needs songs, but got {self.songs} of {self.seconds:g} s")


# ---- copies without training -----------------------------------------------------------------


def mdct_copy(wav: Copy, kept: int = 64, size: int = 1024) -> Copy:
    """The copy of whoever keeps the `kept` lowest MDCT coefficients of each frame of the mid channel.

    Frames advance by `size` samples under a sine window of twice that, whose halves add up to one (Princen
    & Bradley 1986): with all `size` coefficients the mid channel comes back as it was.
    """
    basis, window = _mdct(size)
    length = wav.shape[-1]
    padded = torch.nn.functional.pad(wav.mean(0), (size, size + -length % size))
    frames = padded.unfold(0, 2 * size, size) * window
    coefficients = frames @ basis[:kept].T
    back = (coefficients @ basis[:kept]) * window
    out = torch.zeros(len(frames) + 1, size)
    out[:-1] += back[:, :size]
    out[1:] += back[:, size:]
    mono = out.flatten()[size : size + length]
    return mono.expand(2, length).clone()


def _mdct(size: int) -> tuple[Float[Tensor, "size double"], Float[Tensor, " double"]]:
    n = torch.arange(2 * size, dtype=torch.float64)
    k = torch.arange(size, dtype=torch.float64)[:, None]
    basis = math.sqrt(2 / size) * torch.cos(math.pi / size * (n + 0.5 + size / 2) * (k + 0.5))
    return basis.float(), torch.sin(math.pi / (2 * size) * (n + 0.5)).float()


def opus_copy(wav: Copy, sample_rate: int, effort: float) -> tuple[Copy, float]:
    """(the copy, kbit/s) of Opus in an Ogg file; `effort` 0 … 1 is libsndfile's: more is fewer bits."""
    audio = resample(Audio(wav.numpy(), sample_rate), _OPUS_RATE)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "copy.opus"
        soundfile.write(
            path, audio.samples.T, _OPUS_RATE, format="OGG", subtype="OPUS", compression_level=effort
        )
        bits = 8 * path.stat().st_size / audio.duration / 1000
        made, _ = soundfile.read(path, dtype="float32", always_2d=True)
    back = resample(Audio(np.ascontiguousarray(made.T), _OPUS_RATE), sample_rate).samples
    copy = np.zeros(wav.shape, np.float32)
    width = min(copy.shape[1], back.shape[1])
    copy[:, :width] = back[:, :width]
    return torch.from_numpy(copy), bits


def effort_for(wav: Copy, sample_rate: int, kbits: float) -> float:
    """The effort at which Opus comes nearest to `kbits` kbit/s on this audio."""
    efforts = np.linspace(0, 1, 21)
    return float(min(efforts, key=lambda effort: abs(opus_copy(wav, sample_rate, effort)[1] - kbits)))


# ---- copies ----------------------------------------------------------------------------------


def kbits_of(codec: Codec) -> float:
    """Of its latents in 16 bits, kbit/s."""
    return codec.latent_dim * codec.sample_rate / codec.hop_length * _BITS / 1000


def copiers(settings: Settings) -> dict[str, Copier]:
    """Every row's way to copy a waveform.

    Raises:
        CheckpointError: a folder isn't a codec's.
    """
    codecs = {name: load(codec_folder(folder)) for name, folder in settings.codecs.items()}
    found = {name: _of(codec) for name, codec in codecs.items()}
    rates = sorted({kbits_of(codec) for codec in codecs.values()})
    for rate in rates:
        found["Opus" if len(rates) == 1 else f"Opus near {rate:.1f}"] = _opus(rate)
    found["64 MDCT coefficients"] = lambda wav, rate: (mdct_copy(wav), {"kbits": 64 * rate / 1024 * 0.016})
    return found


def codec_folder(name: str) -> Path:
    """`demo` is the bundled one; a folder of models has its codec in `vae/`."""
    folder = Path(check(name)) if name == "demo" else Path(name)
    return folder / "vae" if (folder / "vae").is_dir() else folder


def _of(codec: Codec) -> Copier:
    @torch.inference_mode()
    def copy(wav: Copy, rate: int) -> tuple[Copy, dict[str, float]]:
        if rate != codec.sample_rate:
            raise SongError(
                f"the songs have {rate} Hz, the codec {codec.sample_rate} Hz: resample them first"
            )
        latents = codec.encode(wav[None]).mode()
        figures = {"kbits": kbits_of(codec), "smoothness": measures.smoothness(latents[0])}
        return codec.decode(latents, wav.shape[-1])[0], figures

    return copy


def _opus(kbits: float) -> Copier:
    chosen: list[float] = []

    def copy(wav: Copy, rate: int) -> tuple[Copy, dict[str, float]]:
        if not chosen:  # its rate at one effort is the same for all songs (docs/vae.md)
            chosen.append(effort_for(wav, rate, kbits))
        made, bits = opus_copy(wav, rate, chosen[0])
        return made, {"kbits": bits}

    return copy


# ---- measuring -------------------------------------------------------------------------------


def excerpts(settings: Settings) -> Iterator[tuple[SongRecord, Copy, int, float]]:
    """(record, stereo excerpt, its rate, where it begins in seconds) of the first songs with audio.

    Raises:
        ManifestError: no song has audio.
    """
    records = [r for r in manifest.read(settings.manifest) if r.audio is not None][: settings.songs]
    if not records:
        raise ManifestError(f"{settings.manifest} names no audio file: render its songs first")
    for record in records:
        audio = to_channels(read_audio(Path(settings.manifest).parent / str(record.audio)), 2)
        width = round(settings.seconds * audio.sample_rate)
        first = max(0, (audio.samples.shape[1] - width) // 2)
        stretch = np.ascontiguousarray(audio.samples[:, first : first + width])
        yield record, torch.from_numpy(stretch), audio.sample_rate, first / audio.sample_rate


def measure(settings: Settings) -> dict[str, dict[str, Estimate]]:
    """Figures by row and column; the row `originals` has what needs no copy."""
    ways = copiers(settings)
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in ["originals", *ways]}
    for number, (record, wav, rate, first) in enumerate(excerpts(settings), 1):
        end = first + wav.shape[-1] / rate
        notes = [
            measures.SungNote(n.start - first, n.end - first, n.pitch)
            for n in sung_notes(record)
            if n.start >= first and n.end <= end
        ]
        rows["originals"].append({"pitch": measures.melody(wav, notes, rate)[0]})
        for name, way in ways.items():
            made, figures = way(wav, rate)
            for metric, of in METRICS.items():
                figures[metric] = of(wav.numpy(), made.numpy(), rate, "strict")
            figures["pitch"] = measures.melody(made, notes, rate)[0]
            rows[name].append(figures)
        logger.info("%d of %d: %s", number, settings.songs, record.id)
    return {name: _summary(found) for name, found in rows.items()}


def _summary(rows: Sequence[dict[str, float]]) -> dict[str, Estimate]:
    columns = dict.fromkeys(name for row in rows for name in row)
    known = {name: [row[name] for row in rows if math.isfinite(row.get(name, math.nan))] for name in columns}
    for name, values in known.items():
        if asked := sum(name in row for row in rows) - len(values):
            logger.warning("%s isn't finite in %d of %d songs: they don't count", name, asked, len(rows))
    return {name: bootstrap(values) for name, values in known.items() if values}


# ---- a song model on them --------------------------------------------------------------------


def song_loss(settings: Settings, name: str) -> float:
    """The held-out velocity loss at t = 0.8, with the score, of a small song model on a codec's latents.

    As a share of the latents' variance, since latents of a small deviation have small losses.

    Raises:
        SongError: a command failed, or no songs are named.
    """
    if settings.train is None or settings.valid is None:
        raise SongError("a song model needs songs: name their manifests with --train and --valid")
    work = Path(settings.out) / name
    models = ["--vae", str(codec_folder(settings.codecs[name])), "--chinmu", str(_chinmu(settings))]
    for split, path, count in (
        ("train", settings.train, settings.song_model_songs),
        ("valid", settings.valid, 16),
    ):
        listed = _first(Path(path), count, work / f"{split}.jsonl")
        _call("dit.prepare", "--manifest", str(listed), *models, "--out", str(work / split))
    small = ["--model.size", "demo", "--model.dim", "192", "--model.depth", "4", "--model.heads", "3"]
    small += ["--batch_size", "4"]
    data = ["--data", str(work / "train"), "--valid", str(work / "valid"), "--out", str(work / "model")]
    steps = ["--max_steps", str(settings.song_model_steps), "--seed", "1"]
    _call("dit.train", *data, *small, *steps)
    lines = (work / "model" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    found = [row for row in map(json.loads, lines) if "valid/true_0.8" in row]
    return float(found[-1]["valid/true_0.8"]) / LatentFacts.read(work / "train").std ** 2


def _chinmu(settings: Settings) -> Path:
    return Path(check(settings.chinmu)) / "chinmu" if settings.chinmu == "demo" else Path(settings.chinmu)


def _first(source: Path, count: int, out: Path) -> Path:
    """The first songs of a manifest that have audio, as a manifest beside links to it: paths lead inside."""
    out.parent.mkdir(parents=True, exist_ok=True)
    records = [r for r in manifest.read(source) if r.audio is not None][:count]
    for record in records:
        link = out.parent / str(record.audio)
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to((source.parent / str(record.audio)).resolve())
    manifest.write(out, records)
    return out


def _call(module: str, *arguments: str) -> None:
    logger.info("python -m %s %s", module, " ".join(arguments))
    done = subprocess.run([sys.executable, "-m", module, *arguments], check=False)
    if done.returncode:
        raise SongError(f"python -m {module} failed (status {done.returncode}): see what it printed above")


# ---- the table -------------------------------------------------------------------------------

_HEADS = {
    "kbits": "kbit/s", "mel_distance": "mel ↓", "stft_distance": "STFT ↓", "icpc": "ICPC ↑", "ccpc": "CCPC ↑",
    "si_sdr": "SI-SDR ↑", "true_peak_distance": "dBTP ↓", "pitch": "pitch ↑", "smoothness": "lag-1 ↑",
    "song_loss": "song model ↓",
}  # fmt: skip


def table(rows: dict[str, dict[str, Estimate]], losses: dict[str, float]) -> str:
    """Markdown; intervals of 95 % over songs in brackets."""
    lines = [f"| | {' | '.join(_HEADS.values())} |", "|---" * (len(_HEADS) + 1) + "|"]
    for name, row in rows.items():
        cells = [_cell(row.get(column)) for column in _HEADS if column != "song_loss"]
        cells.append(f"{losses[name]:.3f}" if name in losses else "–")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    paper = [f"{PAPER[c]:g}" if c in PAPER else "–" for c in _HEADS]
    return "\n".join([*lines, f"| ear-VAE, the paper on MuChin | {' | '.join(paper)} |"])


def _cell(value: Estimate | None) -> str:
    if value is None:
        return "–"
    digits = 1 if abs(value.value) >= 10 else 2
    interval = f"({value.low:.{digits}f} … {value.high:.{digits}f})" if value.has_interval else "(one song)"
    return f"{value.value:.{digits}f} {interval}"


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Print the table and write it, with JSON, to the folder `out`."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logger.setLevel(logging.INFO)
    settings = parse(Settings, argv)
    rows = measure(settings)
    losses = {name: song_loss(settings, name) for name in settings.codecs if settings.song_model_steps}
    out = Path(settings.out)
    out.mkdir(parents=True, exist_ok=True)
    figures = {name: {k: asdict(v) for k, v in row.items()} for name, row in rows.items()}
    kept = finite({"rows": figures, "song_loss": losses})
    text = json.dumps(kept, indent=2, ensure_ascii=False, allow_nan=False)
    (out / "codecs.json").write_text(text + "\n", encoding="utf-8")
    print(table(rows, losses))
    return 0


if __name__ == "__main__":
    sys.exit(main())
