"""Two processes on one machine, as `accelerate launch --num_processes 2` starts them."""

from collections.abc import Callable
from typing import Any

from accelerate import debug_launcher
from accelerate.state import AcceleratorState


def in_two(run: Callable[..., Any], *args: Any) -> None:
    """Call `run(*args)` in both of two forked processes that know of each other; their failures are ours."""
    debug_launcher(_forked, args=(run, *args), num_processes=2)


def fresh_accelerator() -> None:
    """Forget the accelerator of this process, whose precision accelerate keeps for all that follow."""
    AcceleratorState._reset_state(reset_partial_state=True)


def _forked(run: Callable[..., Any], *args: Any) -> None:
    fresh_accelerator()  # the parent may have trained alone before
    run(*args)
