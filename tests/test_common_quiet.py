"""Commands that have no use for the 4-bit kernels of bitsandbytes hear nothing of them; others still do."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from common.quiet import without_kernel_warning

NAME = "bitsandbytes.backends.cpu.ops"


def test_it_is_quiet_within_the_block_alone(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger(NAME)
    level = logger.level
    with pytest.raises(ImportError), without_kernel_warning():
        logger.warning("pip install kernels")
        logger.error("broken")
        raise ImportError
    assert caplog.messages == ["broken"]
    assert logger.level == level


@pytest.mark.parametrize("module", ["vae.roundtrip", "vae.train", "dit.train"])
def test_commands_say_nothing_before_they_begin(module: str) -> None:
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], cwd=root, capture_output=True, text=True, check=True
    )
    assert not done.stderr
