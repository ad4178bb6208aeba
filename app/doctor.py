"""`baihua doctor`: what is installed, what the machine can do, and what will be slow.

It is asked when something is wrong, so no part of it may fail: a part that can't be found out says so.
"""

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from app import pace
from app.folder import DEMO, check, hashes, weights
from app.request import Request
from common.errors import SongError

PACKAGES = ("torch", "transformers", "diffusers", "accelerate", "safetensors", "numpy", "soundfile", "gradio")
MIB, GIB = 1 << 20, 1 << 30
Lines = Iterator[str]


def report(model: str = DEMO) -> str:
    """The whole report as text."""
    parts: tuple[tuple[str, Callable[[], Lines]], ...] = (
        ("Versions", _versions),
        ("Models", lambda: _models(model)),
        ("Machine", _machine),
        ("What to expect", lambda: _expect(model)),
    )
    return "\n\n".join("\n".join((title, *(f"  {line}" for line in _safely(part)))) for title, part in parts)


def _safely(part: Callable[[], Lines]) -> Lines:
    try:
        yield from part()
    except Exception as error:  # a report of what is broken must not break
        yield f"can't be found out: {type(error).__name__}: {error}"


def _versions() -> Lines:
    yield f"baihua {version('baihua')}, Python {platform.python_version()}, {platform.platform()}"
    yield ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    yield "ffmpeg: " + (shutil.which("ffmpeg") or "absent (only audio streaming would need it)")


def version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "MISSING"


def _models(model: str) -> Lines:
    try:
        folder = check(model)
    except SongError as error:
        yield f"PROBLEM: {error}"
        return
    sizes = {name: path.stat().st_size for name, path in weights(folder).items()}
    yield f"{folder}: {sum(sizes.values()) / MIB:.1f} MiB"
    for name, digest in hashes(folder).items():
        yield f"{name}: {sizes[name] / MIB:.1f} MiB, sha256 {digest[:16]}"


def _machine() -> Lines:
    import torch

    yield f"{_processor()}: {cores()} cores for this process, {torch.get_num_threads()} threads"
    yield f"bf16 on the CPU: {'yes' if fast_bf16() else 'no (emulated)'}"
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        yield f"GPU {index}: {properties.name}, {properties.total_memory / GIB:.0f} GiB"
    total, free = memory()
    yield f"memory: {total / GIB:.1f} GiB, {free / GIB:.1f} GiB free"
    disk = shutil.disk_usage(Path.cwd())
    yield f"disk here: {disk.free / GIB:.1f} GiB free"


def _expect(model: str) -> Lines:
    try:
        measured = pace.read(check(model))
    except SongError:
        measured = None
    if measured is None:
        yield "how long a song takes isn't known: nobody measured these models"
    else:
        seconds = measured.seconds(Request("一首歌"), pace.probe())
        yield f"30 s of song: about {seconds:.0f} s, once loaded"
    if cores() < 2:
        yield "SLOW: one core only; two are what the demo was made for"
    if not fast_bf16():
        yield "SLOW for training: this CPU has no bf16 instructions"
    if memory()[1] < 2 * GIB:
        yield "SLOW: less than 2 GiB of memory is free, the machine may swap"
    if shutil.disk_usage(Path.cwd()).free < 100 * MIB:
        yield "PROBLEM: less than 100 MiB of disk is free here; a song of 4 minutes needs about 30"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def fast_bf16() -> bool:
    """Whether the CPU computes bf16 in hardware."""
    info = Path("/proc/cpuinfo")
    flags = info.read_text(encoding="utf-8", errors="replace") if info.is_file() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags or " bf16" in flags


def memory() -> tuple[int, int]:
    """(total, available) bytes."""
    info = Path("/proc/meminfo")
    if info.is_file():
        rows = dict(
            line.split(":", 1) for line in info.read_text(encoding="ascii").splitlines() if ":" in line
        )
        return tuple(int(rows[name].split()[0]) << 10 for name in ("MemTotal", "MemAvailable"))  # type: ignore
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return pages, pages
