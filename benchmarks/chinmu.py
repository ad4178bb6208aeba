"""How fast ChinMu reads and hears, and with how much memory, beside transformers' ClapModel of equal size.

    python -m benchmarks.chinmu                # the demo model's sizes
    python -m benchmarks.chinmu --size paper   # HTSAT-base and RoBERTa-base: 3 GB and some minutes on a CPU
    python -m benchmarks.chinmu --songs 200    # also a corpus: songs a second, memory at 1/4 and at all of it

Both are random and on one device, thread for thread; the two take turns and the median of the rounds
counts. Each is measured in a process of its own, so that peaks of memory are its own. ClapModel gets
what its own feature extractor gives, ChinMu the same texts and waveforms through `embed_*`. At the
demo's size ClapModel is an HTSAT and a RoBERTa of as many parameters; at the paper's size both have
the very same towers.
"""

import argparse
import json
import multiprocessing
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import positive
from common.errors import run_command

SECONDS = 30.0  # of each song
TEXTS = (
    "慢歌",
    "女声，钢琴",
    "一首下雨天想家的慢歌，女声，钢琴伴奏",
    "中板（119 BPM）贯穿全曲，架子鼓组律动，副歌进入后弦乐铺底",
)
# HTSAT with about the parameters of the demo's tower (2.8 M).
_SMALL_HTSAT = {
    "depths": [2, 2, 2, 2],
    "patch_embeds_hidden_size": 36,
    "hidden_size": 288,
    "num_attention_heads": [2, 4, 4, 8],
}


def _memory() -> float:
    """The most memory that this process has held, MiB (Linux counts in KiB, macOS in bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if platform.system() == "Darwin" else 2**10)


# ---- the two ---------------------------------------------------------------------------------


def _chinmu(size: str) -> Any:
    """A random ChinMu."""
    from chinmu.config import ModelConfig, TextConfig
    from chinmu.model import build
    from chinmu.text import character_tokenizer
    from chinmu.train import TrainConfig
    from common.config import parse

    path = Path(__file__).parents[1] / f"chinmu/configs/{size}.yaml"
    config: ModelConfig = parse(TrainConfig, ["--config", str(path), "--manifest", "", "--out", ""]).model
    if size == "paper":
        encoder = {"model_type": "roberta", "max_position_embeddings": 514}
        config = replace(config, text=TextConfig(encoder=encoder, longest=512))
    return build(config, character_tokenizer(TEXTS, longest=config.text.longest)).eval()


def _clap(size: str) -> Any:
    """A random ClapModel of equal size."""
    from transformers import ClapConfig, ClapModel

    base = {"depths": [2, 2, 12, 2], "patch_embeds_hidden_size": 128, "hidden_size": 1024}
    audio = base | {"num_attention_heads": [4, 8, 16, 32]} if size == "paper" else _SMALL_HTSAT
    text: dict[str, Any] = {"vocab_size": 1200, "max_position_embeddings": 514}
    if size != "paper":
        text |= {"hidden_size": 160, "num_hidden_layers": 3, "num_attention_heads": 4}
        text |= {"intermediate_size": 640}
    return ClapModel(ClapConfig(audio_config=audio, text_config=text)).eval()


def _calls(name: str, size: str) -> tuple[float, Callable[[int], None], Callable[[], None]]:
    """Parameters in millions, and what reads so many texts and what hears one song."""
    import numpy as np
    import torch

    torch.manual_seed(0)
    model = _chinmu(size) if name == "chinmu" else _clap(size)
    parameters = sum(p.numel() for p in model.parameters()) / 1e6
    rate = model.audio_config.sample_rate if name == "chinmu" else 48000
    song = 0.1 * torch.randn(1, 2, round(SECONDS * rate))
    if name == "chinmu":

        def hear() -> None:
            model.embed_audio(song, rate)

        def read(count: int) -> None:
            model.embed_text(_texts(count))

        return parameters, read, hear
    from transformers import ClapFeatureExtractor

    from chinmu.text import canonical, character_tokenizer

    extractor = ClapFeatureExtractor(truncation="rand_trunc", frequency_min=50, frequency_max=14000)
    tokenizer = character_tokenizer(TEXTS)

    @torch.inference_mode()
    def hear_windows() -> None:
        samples = song[0].mean(0).numpy()
        windows = np.split(samples, round(SECONDS / 10))
        inputs = extractor(windows, sampling_rate=rate, return_tensors="pt")
        model.get_audio_features(input_features=inputs["input_features"])

    @torch.inference_mode()
    def read_all(count: int) -> None:
        inputs = tokenizer([canonical(t) for t in _texts(count)], padding=True, return_tensors="pt")
        model.get_text_features(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])

    return parameters, read_all, hear_windows


def _texts(count: int) -> list[str]:
    """Different texts of four lengths: ChinMu would read equal ones once."""
    return [f"{number % 300}拍，{TEXTS[number % len(TEXTS)]}" for number in range(count)]


# ---- measuring -------------------------------------------------------------------------------


def _serve(name: str, size: str, threads: int, pipe: Any) -> None:
    """A process with one of the two, which measures when it is told to."""
    import torch

    torch.set_num_threads(threads)
    before = _memory()
    parameters, read, hear = _calls(name, size)
    read(4)
    hear()
    pipe.send(parameters)
    while (asked := pipe.recv()) is not None:
        began = time.perf_counter()
        if asked == 0:
            hear()
        else:
            read(asked)
        pipe.send(time.perf_counter() - began)
    pipe.send(_memory() - before)


def compare(size: str, rounds: int, texts: int, threads: int) -> dict[str, dict[str, float]]:
    """Texts a second, seconds of song a second, and MiB above torch alone, of the two in turns."""
    spawn = multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    for name in ("chinmu", "clap"):
        pipes[name], theirs = spawn.Pipe()
        process = spawn.Process(target=_serve, args=(name, size, threads, theirs))
        process.start()
        processes.append(process)
    out: dict[str, dict[str, float]] = {name: {"parameters": pipe.recv()} for name, pipe in pipes.items()}
    times: dict[tuple[str, int], list[float]] = {}
    for _ in range(rounds):
        for asked in (texts, 0):
            for name, pipe in pipes.items():
                pipe.send(asked)
                times.setdefault((name, asked), []).append(pipe.recv())
    for name, pipe in pipes.items():
        pipe.send(None)
        out[name]["texts a second"] = texts / statistics.median(times[name, texts])
        out[name]["seconds of song a second"] = SECONDS / statistics.median(times[name, 0])
        out[name]["MiB"] = pipe.recv()
    for process in processes:
        process.join()
    return out


def _corpus(songs: int, pipe: Any) -> None:
    """Embed a corpus of short songs on disk with the bundled model: seconds and peak of memory."""
    import numpy as np

    from chinmu.embed import BUNDLED, embed
    from common.audio import Audio, write_audio
    from corpus import manifest
    from corpus.record import SongRecord

    with tempfile.TemporaryDirectory() as folder:
        noise = 0.1 * np.random.default_rng(0).standard_normal((2, 441000)).astype(np.float32)
        write_audio(Path(folder) / "song.wav", Audio(noise, 44100))
        same = [SongRecord(f"{n}", "noise", "CC0-1.0", "test", 10.0, audio="song.wav") for n in range(songs)]
        manifest.write(Path(folder) / "manifest.jsonl", same)
        began = time.perf_counter()
        embed(Path(folder) / "manifest.jsonl", Path(folder) / "vectors", BUNDLED)
        pipe.send((time.perf_counter() - began, _memory()))


def measure_corpus(songs: int) -> tuple[float, float]:
    """(seconds, MiB) of embedding so many songs of 10 s in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_corpus, args=(songs, theirs))
    process.start()
    found = ours.recv()
    process.join()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chinmu")
    parser.add_argument("--size", choices=("demo", "paper"), default="demo")
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--texts", type=positive, default=256)
    parser.add_argument("--threads", type=positive, default=1)
    parser.add_argument("--songs", type=positive, default=0, help="embed a corpus of so many songs as well")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    given = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {given.threads} threads, size {given.size}")
    found = compare(given.size, given.rounds, given.texts, given.threads)
    for what in ("parameters", "texts a second", "seconds of song a second", "MiB"):
        ours, theirs = found["chinmu"][what], found["clap"][what]
        print(f"{what:26} ChinMu {ours:8.1f}   ClapModel {theirs:8.1f}   ratio {ours / theirs:.2f}")
    if given.songs:
        few, many = measure_corpus(max(1, given.songs // 4)), measure_corpus(given.songs)
        rate = given.songs / many[0]
        print(f"corpus: {given.songs} songs of 10 s, {rate:.1f} songs a second, {many[1]:.0f} MiB at most")
        print(f"memory: {many[1] / few[1]:.3f} of that of a quarter of the songs (goal: at most 1.05)")
        found["corpus"] = {
            "songs": given.songs,
            "seconds": many[0],
            "MiB": many[1],
            "MiB of a quarter": few[1],
        }
    if given.out:
        given.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run_command(main)
