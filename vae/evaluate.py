"""Figures of a codec on the songs of a manifest, beside a baseline without any training.

python -m vae.evaluate --model runs/vae/model --manifest data/corpus/test/manifest.jsonl --songs 24

Prints a table, and with --out writes JSON. Every figure has its count of songs and a 95 % interval
(bootstrap over songs).
"""

import argparse
import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from common.audio import Audio, read_audio, resample, to_channels
from common.errors import ManifestError, run_command
from common.statistics import Estimate, bootstrap, finite
from corpus.manifest import read
from corpus.record import SongRecord
from vae import measures
from vae.analysis import HOP, SHORT, mel_edges, triangles
from vae.load import Codec, load
from vae.measures import SungNote
from vae.phase import frame_transform, griffin_lim, initial_phase, overlap_add

logger = logging.getLogger(__name__)

Copier = Callable[[Float[Tensor, "2 time"]], Float[Tensor, "2 time"]]


def figure(values: Sequence[float]) -> Estimate | None:
    """The mean of per-song values; NaN ones (no note, silence) aren't counted; None when none is left."""
    known = [v for v in values if not math.isnan(v)]
    return bootstrap(known) if known else None


def mel_baseline(
    wav: Float[Tensor, "2 time"], sample_rate: int, bands: int = 64, iterations: int = 16
) -> Float[Tensor, "2 time"]:
    """The copy of whoever keeps 64 mel bands of each channel: every bin gets its nearest band's level.

    Same frames and the same phases as the spectral codec's, so that only the latents differ.
    """
    window = torch.hann_window(SHORT)
    padded = torch.nn.functional.pad(wav, (0, -wav.shape[-1] % HOP))
    edges = mel_edges(bands, 40, 0.45 * sample_rate)
    power = frame_transform(padded, window, HOP).abs().square() @ triangles(edges, SHORT, sample_rate).T
    frequencies = torch.arange(SHORT // 2 + 1) * (sample_rate / SHORT)
    nearest = (frequencies[:, None] - torch.tensor(edges[1:-1])).abs().argmin(dim=1)
    sizes = power.sqrt()[..., nearest]
    mid = sizes.mean(dim=0)
    phasors = griffin_lim(mid, initial_phase(mid, SHORT, HOP), window, HOP, iterations)
    return overlap_add(sizes * phasors, window, HOP)[..., : wav.shape[-1]]


def sung_notes(record: SongRecord) -> list[SungNote]:
    """The notes of the melody with words, as they were sung where that is known, else as written."""
    timed = [s for line in record.timing for s in line.syllables if s.pitch is not None]
    if timed:
        return [SungNote(s.start, s.end, float(s.pitch or 0)) for s in timed]
    spans = record.score.note_spans(sung=True) if record.score is not None else []
    return [SungNote(s.start, s.end, s.pitch) for s in spans]


def compare(original: Tensor, copy: Tensor, notes: Sequence[SungNote], rate: int) -> dict[str, float]:
    """All figures of one copy."""
    found, chance = measures.melody(copy, notes, rate)
    return {
        "stft_distance": measures.stft_distance(original, copy),
        "convergence_4096": measures.spectral_convergence(original, copy),
        "melody": found,
        "melody_chance": chance,
        "melody_original": measures.melody(original, notes, rate)[0],
        "crest_error_db": measures.crest(copy) - measures.crest(original),
        "si_sdr_db": measures.si_sdr(original, copy),
    }


def evaluate(
    codec: Codec, manifest: str | Path, songs: int | None = None, seconds: float | None = None
) -> dict[str, dict[str, Estimate]]:
    """Figures by method (`codec`, `baseline`) and name.

    Args:
        songs: at most so many, the first of the manifest with an audio file; all when None.
        seconds: at most so many of each song; all when None.
    """
    rows: dict[str, list[dict[str, float]]] = {"codec": [], "baseline": []}
    for record in _with_audio(manifest)[:songs]:
        audio = read_audio(Path(manifest).parent / str(record.audio))
        wav = _samples(audio, codec.sample_rate, seconds)
        notes = [n for n in sung_notes(record) if n.end * codec.sample_rate <= wav.shape[-1]]
        copy, extra = _copy(codec, wav)
        rows["codec"].append(compare(wav, copy, notes, codec.sample_rate) | extra)
        rows["baseline"].append(compare(wav, mel_baseline(wav, codec.sample_rate), notes, codec.sample_rate))
        logger.info("%s %s", record.id, {k: round(v, 3) for k, v in rows["codec"][-1].items()})
    return {
        method: {
            name: value for name in table[0] if (value := figure([row[name] for row in table])) is not None
        }
        for method, table in rows.items()
    }


def _with_audio(manifest: str | Path) -> list[SongRecord]:
    records = [r for r in read(manifest) if r.audio is not None]
    if not records:
        raise ManifestError(f"{manifest} names no audio file: render its songs first")
    return records


def _samples(audio: Audio, rate: int, seconds: float | None) -> Float[Tensor, "2 time"]:
    stereo = to_channels(resample(audio, rate), 2).samples
    return torch.from_numpy(stereo[:, : int(seconds * rate)] if seconds is not None else stereo)


@torch.inference_mode()
def _copy(codec: Codec, wav: Tensor) -> tuple[Tensor, dict[str, float]]:
    began = time.perf_counter()
    latents = codec.encode(wav[None]).mode()
    between = time.perf_counter()
    copy = codec.decode(latents, wav.shape[-1])[0]
    ended = time.perf_counter()
    duration = wav.shape[-1] / codec.sample_rate
    return copy, {
        "smoothness": measures.smoothness(latents[0]),
        "latent_deviation": float(latents.std()),
        "encode_speed": duration / (between - began),
        "decode_speed": duration / (ended - between),
    }


def table(report: dict[str, dict[str, Estimate]]) -> str:
    """The report as Markdown."""
    lines = [
        "| figure | codec | 95 % | 64 mel bands, untrained | 95 % | songs |",
        "|---|---|---|---|---|---|",
    ]
    for name, mine in report["codec"].items():
        other = report["baseline"].get(name)
        cells = [_cell(mine), _cell(other) if other else " | "]
        lines.append(f"| {name} | {cells[0]} | {cells[1]} | {mine.count} |")
    return "\n".join(lines)


def _cell(value: Estimate) -> str:
    return f"{value.value:.3f} | {value.low:.3f} … {value.high:.3f}"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", required=True, type=Path, help="folder of a codec")
    parser.add_argument("--manifest", required=True, type=Path)
    parser.add_argument("--songs", type=int, help="at most so many; all when left out")
    parser.add_argument("--seconds", type=float, help="of each song; all when left out")
    parser.add_argument("--out", type=Path, help="JSON of the figures")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    report = evaluate(load(options.model), options.manifest, options.songs, options.seconds)
    print(table(report))
    if options.out is not None:
        data = {method: {k: asdict(v) for k, v in row.items()} for method, row in report.items()}
        options.out.write_text(json.dumps(finite(data), indent=2), encoding="utf-8")


if __name__ == "__main__":
    run_command(main)
