"""How near a codec's copy is to its original: the metrics of the ear-VAE paper, closed forms known.

python -m eval.reconstruction originals/ copies/ --out figures/codec

Conventions: `reference` and `estimate` are arrays (channels, samples) of one shape, full scale 1, at
`sample_rate` Hz; a metric is one float a file, NaN where the original gives none (it is silent; one
channel where two are compared). A copy that is silent where its original sounds has the worst figure:
coherence 0, SI-SDR −inf, true peaks inf apart. Frames have a Hann window and a quarter hop.

The command compares all pairs that it can, then ends with an error that names the others.

- `stft_distance`: mean over resolutions of ‖Ŷ − Y‖ / ‖Y‖ + mean |ln Ŷ − ln Y|; a gain g costs
  |1 − g| + |ln g|. Lower is better.
- `mel_distance`: the same on mel bands.
- `si_sdr`: scale-invariant signal-to-distortion ratio in dB, zero-mean, mean over channels.
- `icpc`: coherence of the phase error within a channel, 0 … 1, 1 for any gain or polarity.
- `ccpc`: coherence of the error of the phase between left and right; blind to polarity too.
- `ccpc_signed`: its real part, −1 … 1; −1 where one channel was inverted.
- `true_peak_distance`: |difference| of the true peaks in dB.

Profiles: `authors` computes what the paper's script does (A-weighting by a 101-tap filter that is
off by 30 dB at 20 Hz, mel bands that need 44.1 kHz, coherences weighted by the estimate, an absolute
threshold). `strict`, the default, has no weighting, as many mel bands as have a bin at each
resolution, coherences weighted by the reference, and a threshold relative to its peak.

Source: Wang et al. 2025 "Back to Ear", section 4.4, and its public evaluation script; Steinmetz & Reiss
2020 (auraloss) for the distances; Le Roux et al. 2019 "SDR – half-baked or well done?" for SI-SDR.
"""

import argparse
import csv
import functools
import json
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import scipy.signal
import torch
from torch import Tensor
from torch.nn import functional as F

from common.audio import Audio, read_audio, to_channels
from common.errors import AudioError, ConfigError, run_command
from common.loudness import true_peak
from common.statistics import Estimate, bootstrap, finite

logger = logging.getLogger(__name__)

Profile = Literal["strict", "authors"]
Samples = np.ndarray  # (channels, samples)

STFT_SIZES = (4096, 2048, 1024, 512, 256, 128)
MEL_SIZES = {"strict": STFT_SIZES, "authors": (4096, 2048, 1024, 512)}
PHASE_SIZES = (4096, 2048, 1024, 512)
MEL_BANDS = 64
_POWER_FLOOR = 1e-8  # under the root of a magnitude, as in auraloss: its logarithm stays finite
_AUTHORS_WEIGHT = 1e-6  # least product of magnitudes that counts for a coherence
_STRICT_WEIGHT = 1e-4  # least magnitude, as a share of a sine's at the reference's peak
_SEGMENT = 1 << 19  # samples transformed at once
_SUFFIXES = (".flac", ".wav", ".ogg", ".mp3", ".opus")


# ---- distances -------------------------------------------------------------------------------


def stft_distance(
    reference: Samples, estimate: Samples, sample_rate: int, profile: Profile = "strict"
) -> float:
    """Multi-scale STFT distance; 0 for equal signals, NaN for a silent reference."""
    pair = _weighted(*_checked(reference, estimate, profile), sample_rate, profile)
    return _mean([_distance(*pair, n_fft, profile, None) for n_fft in STFT_SIZES])


def mel_distance(
    reference: Samples, estimate: Samples, sample_rate: int, profile: Profile = "strict"
) -> float:
    """Multi-scale mel distance, at most 64 bands; 0 for equal signals, NaN for a silent reference."""
    pair = _weighted(*_checked(reference, estimate, profile), sample_rate, profile)
    return _mean(
        [_distance(*pair, n, profile, mel_bands(n, sample_rate, profile)) for n in MEL_SIZES[profile]]
    )


def _distance(
    reference: Tensor, estimate: Tensor, n_fft: int, profile: Profile, bands: Tensor | None
) -> float:
    missed = whole = logs = 0.0
    count = 0
    for target, made in _frames(reference, estimate, n_fft, profile):
        sizes = [(s.real.square() + s.imag.square()).clamp(min=_POWER_FLOOR).sqrt() for s in (target, made)]
        if bands is not None:
            sizes = [bands @ s for s in sizes]
        difference = sizes[1] - sizes[0]
        missed += float(difference.square().sum(dtype=torch.float64))
        whole += float(sizes[0].square().sum(dtype=torch.float64))
        logs += float((sizes[1].log() - sizes[0].log()).abs().sum(dtype=torch.float64))
        count += difference.numel()
    return math.sqrt(missed / whole) + logs / count if reference.any() else math.nan


@functools.cache
def mel_bands(n_fft: int, sample_rate: int, profile: Profile = "strict") -> Tensor:
    """Slaney's mel filters (bands, bins) from 0 Hz to half the rate, of unit area each.

    `strict` has as many of 64 as leave no filter without a bin: an empty one would make a logarithm of
    nothing. Raises AudioError when `authors`' 64 don't fit.
    """
    fit = largest_mel_count(n_fft, sample_rate, MEL_BANDS)
    if profile == "authors" and fit < MEL_BANDS:
        raise AudioError(f"{MEL_BANDS} mel bands of {n_fft} points at {sample_rate} Hz: some would be empty")
    return torch.from_numpy(_mel_filters(n_fft, sample_rate, min(MEL_BANDS, fit))).float()


def _mel_filters(n_fft: int, sample_rate: int, bands: int) -> np.ndarray:
    """Triangles between every third of `bands` + 2 points equally spaced in mel (Slaney 1998)."""

    def to_mel(hertz: np.ndarray) -> np.ndarray:
        high = 15 + np.log(np.maximum(hertz, 1e-9) / 1000) * (27 / math.log(6.4))
        return np.where(hertz < 1000, hertz * 0.015, high)

    def to_hertz(mel: np.ndarray) -> np.ndarray:
        return np.where(mel < 15, mel / 0.015, 1000 * np.exp((mel - 15) * (math.log(6.4) / 27)))

    edges = to_hertz(np.linspace(0.0, to_mel(np.array(sample_rate / 2)), bands + 2))
    bins = np.arange(n_fft // 2 + 1) * (sample_rate / n_fft)
    low, middle, high = (edges[i : i + bands, None] for i in range(3))
    slopes = np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle))
    return np.maximum(0.0, slopes) * (2 / (high - low))


@functools.cache
def largest_mel_count(n_fft: int, sample_rate: int, limit: int | None = None) -> int:
    """The most mel filters, up to `limit`, of which none is empty: 184 for 1024 points at 44.1 kHz."""
    count, limit = 1, limit or n_fft // 2
    while count < limit and _mel_filters(n_fft, sample_rate, count + 1).any(axis=1).all():
        count += 1
    return count


# ---- waveforms -------------------------------------------------------------------------------


def si_sdr(reference: Samples, estimate: Samples, sample_rate: int, profile: Profile = "strict") -> float:
    """Scale-invariant SDR in dB, mean over channels.

    `strict` leaves silent channels of the reference out, and channels whose copies are exact beside others
    that aren't; it is inf for equal signals and −inf where a channel's copy is silent. `authors` adds 1e-8
    to every quotient, so that silence has −80 dB and equal signals a figure that depends on their length.
    """
    x, y = (w.double() for w in _checked(reference, estimate, profile))
    if profile == "strict":
        sounding = [c for c in range(len(x)) if (x[c] - x[c].mean()).any()]
        x, y = x[sounding], y[sounding]
    x, y = (w - w.mean(dim=1, keepdim=True) for w in (x, y))
    eps = 1e-8 if profile == "authors" else 0.0
    wanted = ((x * y).sum(1) / (x.square().sum(1) + eps))[:, None] * x
    ratio = wanted.square().sum(1) / ((y - wanted).square().sum(1) + eps)
    ratio = torch.where(y.any(dim=1), ratio, torch.zeros_like(ratio))  # a silent copy has 0 / 0 in `strict`
    decibels = (10 * (ratio + eps).log10()).tolist()
    if -math.inf in decibels:
        return -math.inf
    return _mean([value for value in decibels if value < math.inf] or decibels)


def true_peak_dbtp(samples: Samples, sample_rate: int) -> float:
    """The largest magnitude between samples of any channel, in dBTP (BS.1770-4, four times oversampled)."""
    return true_peak(Audio(np.asarray(samples, np.float32), sample_rate))


def true_peak_distance(
    reference: Samples, estimate: Samples, sample_rate: int, profile: Profile = "strict"
) -> float:
    """|Difference| of the true peaks in dB; NaN for a silent reference, inf for a silent copy alone.

    Both profiles are the same.
    """
    peaks = [true_peak_dbtp(w.numpy(), sample_rate) for w in _checked(reference, estimate, profile)]
    return abs(peaks[0] - peaks[1]) if math.isfinite(peaks[0]) else math.nan


# ---- phases ----------------------------------------------------------------------------------


def icpc(reference: Samples, estimate: Samples, sample_rate: int, profile: Profile = "strict") -> float:
    """Individual-channel phase coherence, 0 … 1 (equation 4): mean over resolutions and channels.

    C_t = |Σ_f w e^{j(φ̂−φ)}| / Σ_f w, averaged over time with the weights Σ_f w; w is |Ŝ||S| for
    `authors` and |S|² for `strict`, where it exceeds the threshold.
    """
    x, y = _checked(reference, estimate, profile)

    def phasors(target: Tensor, made: Tensor) -> tuple[Tensor, Tensor]:
        other = target if profile == "strict" else made
        return _phase(made * target.conj()), target.abs() * other.abs()

    rows = [_coherence(x[[c]], y[[c]], n, profile, phasors)[0] for c in range(len(x)) for n in PHASE_SIZES]
    return _mean(rows)


def ccpc(reference: Samples, estimate: Samples, sample_rate: int, profile: Profile = "strict") -> float:
    """Cross-channel phase coherence, 0 … 1 (equation 5): as `icpc`, of ∠(L̂R̂*) − ∠(LR*).

    w is |L̂||R̂| for `authors` and |L||R| for `strict`. NaN unless there are two channels that sound.
    """
    return _cross(reference, estimate, profile)[0]


def ccpc_signed(
    reference: Samples, estimate: Samples, sample_rate: int, profile: Profile = "strict"
) -> float:
    """Re Σ w e^{jΔ} / Σ w over all bins, −1 … 1: `ccpc` that sees an inverted channel."""
    return _cross(reference, estimate, profile)[1]


def _cross(reference: Samples, estimate: Samples, profile: Profile) -> tuple[float, float]:
    x, y = _checked(reference, estimate, profile)
    if len(x) != 2 or not x.any(dim=1).all():
        return math.nan, math.nan

    def phasors(target: Tensor, made: Tensor) -> tuple[Tensor, Tensor]:
        ours, theirs = (s[:1] * s[1:].conj() for s in (made, target))
        return _phase(ours * theirs.conj()), (theirs if profile == "strict" else ours).abs()

    rows = [_coherence(x, y, n_fft, profile, phasors) for n_fft in PHASE_SIZES]
    return _mean([row[0] for row in rows]), _mean([row[1] for row in rows])


def _coherence(
    reference: Tensor,
    estimate: Tensor,
    n_fft: int,
    profile: Profile,
    phasors: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
) -> tuple[float, float]:
    """(Σ_t C_t E_t / Σ_t E_t, the signed one) of unit phasors and weights (1, bins, frames)."""
    least = _AUTHORS_WEIGHT
    if profile == "strict":
        least = (_STRICT_WEIGHT * float(reference.abs().max()) * n_fft / 4) ** 2
    lengths = signed = weights = 0.0
    for target, made in _frames(reference, estimate, n_fft, profile):
        unit, weight = phasors(target.to(torch.complex128), made.to(torch.complex128))
        weight = weight * (weight > least)
        total = (weight * unit).sum(dim=1)
        lengths += float(total.abs().sum())
        signed += float(total.real.sum())
        weights += float(weight.sum())
    if weights:
        return lengths / weights, signed / weights
    if estimate is reference:
        return math.nan, math.nan
    # The weights of `authors` are the estimate's too: nothing is left of them where it alone is silent.
    own = _coherence(reference, reference, n_fft, profile, phasors)
    return own if math.isnan(own[0]) else (0.0, 0.0)


def _phase(values: Tensor) -> Tensor:
    """Unit phasors; 0 where there is no phase, so that silence in the place of sound isn't coherent."""
    return values / values.abs().clamp(min=1e-300)


# ---- frames ----------------------------------------------------------------------------------


def _frames(
    reference: Tensor, estimate: Tensor, n_fft: int, profile: Profile
) -> Iterator[tuple[Tensor, Tensor]]:
    """STFTs (channels, bins, frames) of both, some frames at a time, so that memory doesn't grow.

    Frame t is centred on sample t · hop; beyond the ends is silence (`authors`: a mirror).
    """
    half, hop, length = n_fft // 2, n_fft // 4, reference.shape[1]
    mode = "reflect" if profile == "authors" else "constant"
    if profile == "authors" and length <= half:
        raise AudioError(f"{length} samples are too few for a mirror of {half}: use the strict profile")
    window = torch.hann_window(n_fft)
    pair = [F.pad(w[None].float(), (half, half), mode=mode)[0] for w in (reference, estimate)]
    count = 1 + length // hop
    step = max(1, _SEGMENT // hop)
    for first in range(0, count, step):
        frames = min(step, count - first)
        span = slice(first * hop, (first + frames - 1) * hop + n_fft)
        target, made = (
            torch.stft(w[:, span], n_fft, hop, window=window, center=False, return_complex=True) for w in pair
        )
        yield target, made


def _checked(reference: Samples, estimate: Samples, profile: Profile) -> tuple[Tensor, Tensor]:
    if profile not in get_args(Profile):
        raise ConfigError(f"the profile is {' or '.join(get_args(Profile))}, but got {profile!r}")
    x, y = (torch.from_numpy(np.ascontiguousarray(w, dtype=np.float32)) for w in (reference, estimate))
    if x.ndim != 2 or x.shape != y.shape or not x.numel():
        raise AudioError(
            f"a copy is compared with its original as arrays (channels, samples) of one shape, but got "
            f"{tuple(x.shape)} and {tuple(y.shape)}"
        )
    if not (torch.isfinite(x).all() and torch.isfinite(y).all()):
        raise AudioError("the original or the copy holds NaN or infinite samples")
    return x, y


def _mean(values: Sequence[float]) -> float:
    known = [v for v in values if not math.isnan(v)]
    return sum(known) / len(known) if known else math.nan


# ---- the authors' weighting ------------------------------------------------------------------


def _weighted(x: Tensor, y: Tensor, sample_rate: int, profile: Profile) -> tuple[Tensor, Tensor]:
    if profile == "strict":
        return x, y
    taps = torch.from_numpy(authors_a_weighting(sample_rate)).float()[None, None]
    filtered = [F.conv1d(w[:, None], taps, padding=taps.shape[2] // 2)[:, 0] for w in (x, y)]
    return filtered[0], filtered[1]


@functools.cache
def authors_a_weighting(sample_rate: int, taps: int = 101) -> np.ndarray:
    """The FIR filter that the paper's figures were computed with: −19.8 dB at 20 Hz where A has −50.5.

    Source: auraloss (Steinmetz & Reiss 2020): least squares on the bilinear transform of IEC 61672's A.
    """
    first, second, third, fourth = (2 * math.pi * f for f in (20.598997, 107.65265, 737.86223, 12194.217))
    numerator = [fourth**2 * 10 ** (1.9997 / 20), 0.0, 0.0, 0.0, 0.0]
    poles = [-fourth, -fourth, -first, -first, -third, -second]
    b, a = scipy.signal.bilinear(numerator, np.poly(poles).real, fs=sample_rate)
    frequencies, response = scipy.signal.freqz(b, a, worN=512, fs=sample_rate)
    return scipy.signal.firls(taps, frequencies, np.abs(response), fs=sample_rate)


# ---- folders ---------------------------------------------------------------------------------

METRICS: dict[str, Callable[[Samples, Samples, int, Profile], float]] = {
    "mel_distance": mel_distance,
    "stft_distance": stft_distance,
    "icpc": icpc,
    "ccpc": ccpc,
    "si_sdr": si_sdr,
    "true_peak_distance": true_peak_distance,
    "ccpc_signed": ccpc_signed,
}
_HEADS = ("Mel dist ↓", "STFT dist ↓", "ICPC ↑", "CCPC ↑", "SI-SDR ↑ (dB)", "dBTP dist ↓", "signed CCPC ↑")


@dataclass(frozen=True)
class Pair:
    """An original and its copy."""

    name: str  # path within the folder, without suffix
    song: str  # files of one sub-folder are parts of one song
    reference: Path
    estimate: Path


def pairs(reference: str | Path, estimate: str | Path) -> list[Pair]:
    """Files of two folders by name; suffixes may differ.

    Raises:
        AudioError: a name is in one folder only or twice in one, or there is no sound at all.
    """
    found = [_sounds(Path(folder)) for folder in (reference, estimate)]
    alone = [(a.keys() - b.keys(), f) for a, b, f in zip(found, found[::-1], (reference, estimate))]
    for names, folder in alone:
        if names:
            raise AudioError(f"{sorted(names)[0]} and {len(names) - 1} more are in {folder} only")
    if not found[0]:
        raise AudioError(f"{reference} holds no sound files ({', '.join(_SUFFIXES)})")
    return [
        Pair(name, str(Path(name).parent) if "/" in name else name, path, found[1][name])
        for name, path in sorted(found[0].items())
    ]


def _sounds(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise AudioError(f"there is no folder {folder}")
    sounds: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in _SUFFIXES and not path.name.startswith("."):
            name = path.relative_to(folder).with_suffix("").as_posix()
            if name in sounds:
                raise AudioError(f"{path} and {sounds[name]} have one name: keep one of them")
            sounds[name] = path
    return sounds


def measure(pair: Pair, profile: Profile = "strict") -> dict[str, float]:
    """All metrics of one file; the mono original of a stereo copy has two equal channels, as codecs hear it.

    Raises:
        AudioError: rate, channels or length differ; nothing is resampled or trimmed.
    """
    x, y = read_audio(pair.reference), read_audio(pair.estimate)
    if (x.channels, y.channels) == (1, 2):
        logger.info("%s: the mono original becomes two equal channels, as the copy has two", pair.name)
        x = to_channels(x, 2)
    if (x.sample_rate, x.samples.shape) != (y.sample_rate, y.samples.shape):
        sizes = [f"{len(a.samples)} × {a.samples.shape[1]} samples at {a.sample_rate} Hz" for a in (x, y)]
        raise AudioError(f"{pair.name}: the original has {sizes[0]}, the copy {sizes[1]}")
    return {name: metric(x.samples, y.samples, x.sample_rate, profile) for name, metric in METRICS.items()}


def summary(rows: Sequence[dict[str, float]], songs: Sequence[str]) -> dict[str, Estimate | None]:
    """Means over files with intervals over songs, of the files whose figure is finite (see `left_out`)."""
    estimates: dict[str, Estimate | None] = {}
    for name in METRICS:
        known = [(row[name], song) for row, song in zip(rows, songs) if math.isfinite(row[name])]
        estimates[name] = bootstrap([k[0] for k in known], [k[1] for k in known]) if known else None
    return estimates


def left_out(rows: Sequence[dict[str, float]]) -> dict[str, int]:
    """How many files have no place in the mean of each metric: NaN (a silent original) or infinite."""
    return {name: sum(not math.isfinite(row[name]) for row in rows) for name in METRICS}


def table(estimates: dict[str, Estimate | None], profile: Profile, missing: dict[str, int]) -> str:
    """The row of the paper's Table 1, with the signed CCPC, intervals and counts.

    Args:
        missing: the files that are not in the mean of each metric, of `left_out`.
    """
    cells = []
    for name, e in estimates.items():
        interval = f"{e.low:.3f} … {e.high:.3f}" if e is not None and e.has_interval else "–"
        cell = "–" if e is None else f"{e.value:.3f} ({interval})"
        cells.append(f"{cell}; left out: {missing[name]}" if missing[name] else cell)
    songs = max((e.count for e in estimates.values() if e is not None), default=0)
    return "\n".join(
        [
            f"| profile | {' | '.join(_HEADS)} | songs |",
            "|---" * (len(_HEADS) + 2) + "|",
            f"| {profile} | {' | '.join(cells)} | {songs} |",
        ]
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("reference", type=Path, metavar="REF_DIR", help="originals; a sub-folder is one song")
    parser.add_argument("estimate", type=Path, metavar="EST_DIR", help="copies of the same names")
    parser.add_argument("--profile", choices=("strict", "authors"), default="strict")
    parser.add_argument("--out", type=Path, help="writes OUT.json (figures) and OUT.csv (one row a file)")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    found = pairs(options.reference, options.estimate)
    files, rows, refused = [], [], []
    for number, pair in enumerate(found, 1):
        try:
            rows.append(measure(pair, options.profile))
        except AudioError as error:
            refused.append(str(error))
            logger.warning("%d of %d is refused: %s", number, len(found), error)
        else:
            files.append(pair)
            logger.info("%d of %d: %s", number, len(found), pair.name)
    if rows:
        estimates = summary(rows, [pair.song for pair in files])
        print(table(estimates, options.profile, left_out(rows)))
        if options.out is not None:
            _write(options.out, options.profile, files, rows, estimates)
    if refused:
        raise AudioError(f"{len(refused)} of {len(found)} pairs can't be compared: {'; '.join(refused)}")


def _write(
    out: Path,
    profile: Profile,
    files: Sequence[Pair],
    rows: Sequence[dict[str, float]],
    estimates: dict[str, Estimate | None],
) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    figures = {name: None if e is None else asdict(e) for name, e in estimates.items()}
    data = {"profile": profile, "files": len(files), "figures": figures, "left_out": left_out(rows)}
    out.with_name(out.name + ".json").write_text(json.dumps(finite(data), indent=2) + "\n", encoding="utf-8")
    with out.with_name(out.name + ".csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "song", *METRICS])
        for pair, row in zip(files, rows):
            writer.writerow([pair.name, pair.song, *row.values()])


if __name__ == "__main__":
    run_command(main)
