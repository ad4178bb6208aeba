"""Two processes on one machine, as `accelerate launch --num_processes 2` starts them."""

from collections.abc import Callable
from typing import Any

from accelerate import debug_launcher
from accelerate.state import AcceleratorState


def in_two(run: Callable[..., Any], *args: Any) -> None:
    """Call `run(*args)` in both of two forked processes that know of each other; their failures are ours."""
    debug_launcher(_forked, args=(run, *args), num_processes=2)


def _forked(run: Callable[..., Any], *args: Any) -> None:
    AcceleratorState._reset_state(reset_partial_state=True)  # the parent may have trained alone before
    run(*args)
