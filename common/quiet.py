"""Imports without a warning that doesn't concern who reads it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_kernel_warning() -> Iterator[None]:
    """Import diffusers' models within the block; after it, bitsandbytes may warn as before.

    They import bitsandbytes, which then warns of a faster kernel for 4-bit weights on CPUs that no codec
    and no song model has.
    """
    logger = logging.getLogger("bitsandbytes.backends.cpu.ops")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
