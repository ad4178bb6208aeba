"""Which arithmetic trains fastest on this machine."""

import time

import torch


def precision(asked: str, cpu: bool = False) -> str:
    """The precision asked for; for `auto` bf16 on a GPU, else `bf16` or `no`, whichever multiplies faster.

    On CPUs without AVX512-BF16 bfloat16 is emulated, ten times slower.

    Args:
        cpu: the training stays on the CPU, though there may be a GPU.
    """
    if asked != "auto":
        return asked
    if torch.cuda.is_available() and not cpu:
        return "bf16"
    seconds = {}
    for name, dtype in (("no", torch.float32), ("bf16", torch.bfloat16)):
        a = torch.ones(512, 512, dtype=dtype)
        a @ a  # the first call prepares
        start = time.perf_counter()
        for _ in range(4):
            a @ a
        seconds[name] = time.perf_counter() - start
    return min(seconds, key=lambda name: seconds[name])
