"""What the user hears while a song is made: how far it is, and what was odd on the way."""

import contextlib
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

Progress = Callable[[str, float], None]  # (stage, share of it that is done)
ROOMS = ("app", "chinmu", "common", "corpus", "dit", "lyrics_llm", "vae")


@dataclass
class Stages:
    """The progress of one song: which stage it is in, told to whoever listens."""

    progress: Progress | None = None
    stage: str = ""

    def enter(self, stage: str) -> None:
        """Begin a stage."""
        self.stage = stage
        self.tell(0.0)

    def tell(self, share: float) -> None:
        """Of this stage, `share` is done."""
        if self.progress is not None:
            self.progress(self.stage, share)


@dataclass
class Stopwatch:
    """A listener that keeps the seconds of each stage: `pipeline.sing(request, progress=watch)`."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    stage: str = ""
    began: float = field(default_factory=time.perf_counter)

    def __call__(self, stage: str, share: float) -> None:
        now = time.perf_counter()
        if self.stage:
            self.seconds[self.stage] += now - self.began
        self.stage, self.began = stage, now

    def stop(self) -> dict[str, float]:
        """The seconds of all stages, the last one ending now."""
        self("", 1.0)
        return dict(self.seconds)


@contextlib.contextmanager
def overheard() -> Iterator[list[str]]:
    """The warnings that our rooms log in this thread, as sentences for the user."""
    told: list[str] = []
    handler = _Listener(told, threading.get_ident())
    loggers = [logging.getLogger(room) for room in ROOMS]
    for each in loggers:
        each.addHandler(handler)
    try:
        yield told
    finally:
        for each in loggers:
            each.removeHandler(handler)


class _Listener(logging.Handler):
    def __init__(self, told: list[str], thread: int) -> None:
        super().__init__(logging.WARNING)
        self.told, self.thread = told, thread

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self.thread and (sentence := record.getMessage()) not in self.told:
            self.told.append(sentence)
