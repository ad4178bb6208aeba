"""What happens on Ctrl-C within a stretch of code."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def on_ctrl_c(act: Callable[[], object]) -> Iterator[None]:
    """Call `act` on each Ctrl-C instead of raising KeyboardInterrupt; as before afterwards.

    Outside the main thread, and where somebody else handles the signal already, nothing changes.
    """
    before = signal.getsignal(signal.SIGINT)
    ours = before is signal.default_int_handler and threading.current_thread() is threading.main_thread()
    if ours:
        signal.signal(signal.SIGINT, lambda *_: act())
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGINT, before)
