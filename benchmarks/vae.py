"""The ear-VAE against diffusers' AutoencoderOobleck of the same widths and strides: time and memory.

    python -m benchmarks.vae                       # 10 and 60 s, the published widths, both precisions
    python -m benchmarks.vae --channels 32 --seconds 10 --rounds 1  # in a minute or two
    python -m benchmarks.vae --dtype bfloat16 --compile
    python -m benchmarks.vae --parts                               # SnakeBeta alone, in seconds

Every measurement is a process of its own, so that its peak of memory is its own; both models take turns,
and the least time of the rounds counts. Oobleck runs as it comes, ours in tiles as the file commands run it.
Prints ratios, the arithmetic of a second of audio, and the share of the machine's measured matrix rate.
"""

import argparse
import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks import positive
from common.errors import run_command

STRIDES = (2, 4, 4, 4, 8)
MULTIPLIERS = (1, 2, 4, 8, 16)
RATE = 44100
OURS = {"multipliers": MULTIPLIERS, "strides": STRIDES, "transformer_depth": 0, "heads": 1}
DTYPES = ("float32", "bfloat16")
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=length, nargs="+", default=[10.0, 60.0], help="of audio")
    parser.add_argument("--channels", type=width, default=128, help="of the first layer")
    parser.add_argument(
        "--dtype", choices=DTYPES, nargs="+", default=list(DTYPES), help="both, one after another"
    )
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="cpu: where other work runs beside it"
    )
    parser.add_argument("--compile", action="store_true", help="ours with `EarVAE.fuse`; Oobleck as it comes")
    parser.add_argument("--parts", action="store_true", help="SnakeBeta beside a convolution")
    parser.add_argument("--one", choices=("ours", "oobleck"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        size = (args.seconds[0], args.channels, args.dtype[0])
        print(json.dumps(measure(args.one, *size, args.clock, args.compile)))
        return
    if args.parts:
        parts(args.channels, args.clock)
        return
    import torch

    flop = arithmetic(args.channels)
    rates = {dtype: matrix_rate(dtype, args.clock) for dtype in args.dtype}
    named = ", ".join(f"{rate:.0f} GFLOP/s in {dtype}" for dtype, rate in rates.items())
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, {args.clock} clock, matrices {named}"
    )
    print(f"{args.channels} channels: {flop[0]:.1f} GFLOP to encode a second, {flop[1]:.1f} to decode it")
    print("| dtype | seconds | | Oobleck | ours | ratio | ours × real time | of the matrix rate |")
    print("|---|---|---|---|---|---|---|---|")
    for dtype, rate in rates.items():
        for seconds in args.seconds:
            for cells in compare(args, dtype, seconds, flop, rate):
                print(f"| {dtype} | {seconds:g} | " + " | ".join(cells) + " |", flush=True)


def compare(
    args: argparse.Namespace, dtype: str, seconds: float, flop: tuple[float, float], rate: float
) -> list[list[str]]:
    """Rows of cells for encoding, decoding and memory; the least of the rounds counts."""
    best = {name: child(args, dtype, name, seconds) for name in ("oobleck", "ours")}
    for _ in range(args.rounds - 1):
        for name, kept in best.items():
            again = child(args, dtype, name, seconds)
            best[name] = {k: min(v, again[k]) for k, v in kept.items()}
    theirs, ours = best["oobleck"], best["ours"]
    rows = []
    for part, cost in (("encode", flop[0]), ("decode", flop[1])):
        share = cost * seconds / ours[part] / rate
        ratio, pace = theirs[part] / ours[part], seconds / ours[part]
        times = [f"{theirs[part]:.2f} s", f"{ours[part]:.2f} s"]
        rows.append([part, *times, f"{ratio:.2f}", f"{pace:.2f}", f"{100 * share:.0f} %"])
    memory = [f"{theirs['memory']:.0f} MiB", f"{ours['memory']:.0f} MiB"]
    rows.append(["peak memory", *memory, f"{theirs['memory'] / ours['memory']:.2f}", "", ""])
    return rows


def length(text: str) -> float:
    """Seconds of at least one sample, as a type of argparse's arguments."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 1 / RATE <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"a positive number of seconds is needed, but got {text}")
    return seconds


def width(text: str) -> int:
    """Channels of which half, the latents, are at least one, as a type of argparse's arguments."""
    if not text.isdecimal() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"at least 2 channels are needed, but got {text}")
    return int(text)


def child(args: argparse.Namespace, dtype: str, name: str, seconds: float) -> dict[str, float]:
    """One measurement in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.vae", "--one", name, "--seconds", str(seconds)]
    command += ["--channels", str(args.channels), "--dtype", dtype, "--clock", args.clock]
    command += ["--compile"] if args.compile else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise SystemExit(f"{name} failed: {reason}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measure(
    name: str, seconds: float, channels: int, dtype: str, clock: str, compiled: bool
) -> dict[str, float]:
    """Seconds to encode and to decode, and MiB of memory at the peak."""
    import torch

    torch.manual_seed(0)
    wav = 0.1 * torch.randn(1, 2, int(seconds * RATE))
    kind = getattr(torch, dtype)
    encode, decode = ours(channels, kind, compiled) if name == "ours" else oobleck(channels, kind)
    with torch.inference_mode():
        decode(encode(wav[..., : RATE // 4]))  # what is done once: compiling too
        began = CLOCKS[clock]()
        latents = encode(wav)
        between = CLOCKS[clock]()
        decode(latents)
        ended = CLOCKS[clock]()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux
    return {"encode": between - began, "decode": ended - between, "memory": peak}


def ours(channels: int, dtype: Any, compiled: bool) -> tuple[Callable, Callable]:
    """Encoder and decoder of an EarVAE without the transformer, which Oobleck lacks, in tiles."""
    import torch

    from vae.model import EarVAE
    from vae.tiles import blocks_of, encode_tiles

    model = EarVAE(channels=channels, **OURS, latent_dim=channels // 2)
    model = model.to(dtype).eval()
    if compiled and not model.fuse():
        raise SystemExit("torch.compile doesn't work here: the warning above says why")

    def encode(wav: torch.Tensor) -> torch.Tensor:
        return torch.cat([p.mode() for p in encode_tiles(model, blocks_of(wav[0]))], dim=2)

    def decode(latents: torch.Tensor) -> torch.Tensor:
        return torch.cat([piece.float() for piece in model.decode_tiles(latents)], dim=2)

    return encode, decode


def oobleck(channels: int, dtype: Any) -> tuple[Callable, Callable]:
    """Encoder and decoder of diffusers, at once."""
    import torch
    from diffusers import AutoencoderOobleck

    model: Any = AutoencoderOobleck(
        encoder_hidden_size=channels,
        downsampling_ratios=list(STRIDES),
        channel_multiples=list(MULTIPLIERS),
        decoder_channels=channels,
        decoder_input_channels=channels // 2,
        audio_channels=2,
    )
    model = model.to(dtype).eval()
    hop = 1024

    def encode(wav: torch.Tensor) -> torch.Tensor:
        whole = torch.nn.functional.pad(wav, (0, -wav.shape[2] % hop))
        return model.encode(whole.to(dtype)).latent_dist.mode()

    def decode(latents: torch.Tensor) -> torch.Tensor:
        return model.decode(latents).sample.float()

    return encode, decode


def arithmetic(channels: int) -> tuple[float, float]:
    """GFLOP of the convolutions for a second of audio, each way."""
    import torch

    from vae.model import Conv, EarVAE, Upsample

    total = 0.0

    def count(layer: Conv, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        nonlocal total
        frames = (inputs[0] if isinstance(layer, Upsample) else output).shape[2]
        total += 2 * layer.weight_v.numel() * frames / 1e9

    with torch.device("meta"):
        model = EarVAE(channels=channels, **OURS, latent_dim=channels // 2)
        for layer in model.modules():
            if isinstance(layer, Conv):
                layer.register_forward_hook(count)
        model.encoder(torch.empty(1, 2, 1024 * 100))
        encoded, total = total, 0.0
        model.decoder(torch.empty(1, channels // 2, 100))
    return encoded * RATE / 102400, total * RATE / 102400


def parts(channels: int, clock: str, length: int = 1 << 16) -> None:
    """SnakeBeta as torch expressions and as `vae.snake`, beside the convolution that follows it."""
    import torch
    from torch.nn import functional as F

    from vae.snake import fused, snake

    compiled = fused()
    x, weight = torch.randn(1, channels, length), torch.randn(channels, channels, 7)
    alpha, beta = torch.randn(channels) / 4, torch.randn(channels) / 4
    calls: dict[str, Callable[[], torch.Tensor]] = {
        "as expressions": lambda: (
            x + torch.sin(alpha.exp()[:, None] * x).square() / (beta.exp()[:, None] + 1e-9)
        ),
        "vae.snake": lambda: snake(x, alpha, beta),
        "compiled": lambda: (compiled or snake)(x, alpha, beta),
        "convolution, 7 taps": lambda: F.conv1d(x, weight, padding=3),
    }
    print(f"{channels} channels, {length} samples, {torch.get_num_threads()} threads, {clock} clock")
    with torch.inference_mode():
        for name, call in calls.items():
            times = []
            for _ in range(5):
                began = CLOCKS[clock]()
                call()
                times.append(CLOCKS[clock]() - began)
            print(f"{name}: {1000 * min(times):.0f} ms")


def matrix_rate(dtype: str, clock: str) -> float:
    """GFLOP/s of a product of two large square matrices, the best of five."""
    import torch

    size = 2048
    matrix = torch.randn(size, size).to(getattr(torch, dtype))
    times = []
    for _ in range(5):
        began = CLOCKS[clock]()
        matrix @ matrix
        times.append(CLOCKS[clock]() - began)
    return 2 * size**3 / min(times) / 1e9


if __name__ == "__main__":
    run_command(main)
