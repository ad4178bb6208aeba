"""What every test run begins with."""

import os
import sys
from collections.abc import Iterator

import pytest

# One thread each: tests are tiny, and a process forked from one whose OpenMP threads have started
# waits for them for ever (the two-process tests fork).
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(autouse=True)
def own_accelerator() -> Iterator[None]:
    """Each test has an accelerator of its own."""
    yield
    if "accelerate.state" in sys.modules:  # only tests that train import it, which takes seconds
        from processes import fresh_accelerator

        fresh_accelerator()
