"""A training run: its folder, its metrics, its time box, and stopping and resuming exactly.

A run folder holds `config.json` (the resolved settings), `metrics.jsonl` (one object a line,
names `group/thing`), `checkpoint/` (everything that the next step depends on) and what the room
exports for use (`model/`). Resuming is exact because a room's batches and noise are pure
functions of (seed, step, process), so nothing but weights, optimiser, EMA and the step is state.

    run = Run(accelerator, config.out, config, max_minutes=config.max_minutes)
    run.restore()
    run.loop(lambda: step(state), lambda: export(state), run.log, log_every=20, save_minutes=5)
"""

import json
import logging
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from common.errors import CheckpointError
from common.interrupts import on_ctrl_c

if TYPE_CHECKING:
    from accelerate import Accelerator

logger = logging.getLogger(__name__)
R = TypeVar("R")


class Run:
    """The state of a training loop beside its weights.

    Args:
        accelerator: with everything to be saved already prepared or registered on it.
        folder: the run folder; made when it doesn't exist.
        config: a dataclass, written to `config.json`.
        max_minutes: minutes of training in all, over every resume; None for no limit.
        max_steps: steps in all; None for no limit.
    """

    def __init__(
        self,
        accelerator: "Accelerator",
        folder: str | Path,
        config: Any,
        max_minutes: float | None = None,
        max_steps: int | None = None,
    ) -> None:
        self.accelerator = accelerator
        self.folder = Path(folder)
        self.max_minutes, self.max_steps = max_minutes, max_steps
        self.step = 0
        self.seconds = 0.0  # spent on training before `_since`
        self._since = time.monotonic()
        self._last: dict[str, float] = {}
        self._asked_to_stop = False
        accelerator.register_for_checkpointing(self)
        if accelerator.is_main_process:
            self.folder.mkdir(parents=True, exist_ok=True)
            resolved = asdict(config) if is_dataclass(config) and not isinstance(config, type) else config
            _write_json(self.folder / "config.json", {"config": resolved, "commit": _commit()})
        self._stop_on_signal()

    # ---- progress ------------------------------------------------------------------------

    @property
    def spent(self) -> float:
        """Seconds of training so far, over every resume."""
        return self.seconds + time.monotonic() - self._since

    @property
    def progress(self) -> float:
        """Share of the budget spent, 0 … 1: of the steps when they are limited, else of the time."""
        if self.max_steps is not None:
            return min(1.0, self.step / max(1, self.max_steps))
        return min(1.0, self.spent / 60 / self.max_minutes) if self.max_minutes else 0.0

    def loop(
        self,
        step: Callable[[], R],
        export: Callable[[], Path],
        log: Callable[[R], object],
        *,
        log_every: int,
        save_minutes: float,
        regular: Iterable[tuple[str, float, Callable[[], object]]] = (),
    ) -> Path | None:
        """Steps until the budget is spent, and what has to be done between them; ends with a checkpoint.

        Args:
            step: one update of the weights, in every process; what it returns is for `log`.
            export: writes the model and says where; main process only, as everything in `regular`.
            log: called in every process after each `log_every` steps.
            save_minutes: between exports, and between checkpoints.
            regular: (name, minutes between them, what to do), done once more at the end.
        Returns:
            what `export` says at the end; None in other than the main process.
        """
        with on_ctrl_c(self._interrupted):
            while not self.over():
                try:
                    report = step()
                except RuntimeError:
                    # A signal to the whole group of processes also ends the workers that prepare batches.
                    if not self._asked_to_stop or self.accelerator.num_processes > 1:
                        raise
                    break
                self.advance()
                if self.step % log_every == 0:
                    log(report)
                for name, minutes, act in regular:
                    if self.due(name, minutes):
                        act()
                if self.due("export", save_minutes):
                    export()
                if self.save_due(save_minutes):
                    self.save()
            self.save()
            if not self.accelerator.is_main_process:
                return None
            for _, _, act in regular:
                act()
            return export()

    def advance(self) -> None:
        """Count a finished step."""
        self.step += 1

    def over(self) -> bool:
        """Whether to stop: steps or minutes are used up, or the process was asked to end.

        All processes get the main one's answer, so none waits for a partner that has left.
        """
        over = self._asked_to_stop
        over |= self.max_steps is not None and self.step >= self.max_steps
        over |= self.max_minutes is not None and self.spent >= 60 * self.max_minutes
        return self._as_main(over)

    def save_due(self, minutes: float) -> bool:
        """Whether it is time for `save`, which all processes do together: by the main one's clock."""
        return self._as_main(self.due("save", minutes))

    def _as_main(self, answer: bool) -> bool:
        """The main process's answer, in every process; all have to ask."""
        if self.accelerator.num_processes == 1:
            return answer
        from accelerate.utils import broadcast_object_list

        return bool(broadcast_object_list([answer])[0])

    def due(self, name: str, minutes: float) -> bool:
        """Whether `minutes` have passed since the last time this name was due; main process only."""
        now = time.monotonic()
        if now - self._last.setdefault(name, self._since) < 60 * minutes:
            return False
        self._last[name] = now
        return self.accelerator.is_main_process

    def log(self, metrics: Mapping[str, float]) -> None:
        """Append a line to `metrics.jsonl`, with step and seconds; main process only."""
        if not self.accelerator.is_main_process:
            return
        row = {"step": self.step, "seconds": round(self.spent, 1)}
        row |= {k: float(f"{float(v):.6g}") for k, v in metrics.items()}
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        logger.info(" ".join(f"{k} {v}" for k, v in row.items()))

    # ---- stopping and resuming -----------------------------------------------------------

    def save(self) -> None:
        """Write `checkpoint/`; the one before stays until the new one is whole."""
        fresh, current = self.folder / "checkpoint.new", self.folder / "checkpoint"
        if self.accelerator.is_main_process:
            shutil.rmtree(fresh, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        self.accelerator.save_state(str(fresh))
        if self.accelerator.is_main_process:
            (fresh / "complete").write_text(str(self.step))
            old = self.folder / "checkpoint.old"
            shutil.rmtree(old, ignore_errors=True)
            if current.exists():
                current.rename(old)
            fresh.rename(current)
            shutil.rmtree(old, ignore_errors=True)
        self.accelerator.wait_for_everyone()

    def restore(self) -> bool:
        """Load the last whole checkpoint, if there is one.

        Raises:
            CheckpointError: the checkpoint doesn't fit the model or can't be read.
        """
        candidates = [self.folder / name for name in ("checkpoint", "checkpoint.old")]
        found = next((c for c in candidates if (c / "complete").is_file()), None)
        if found is None:
            return False
        try:
            self.accelerator.load_state(str(found))
        except (RuntimeError, OSError, KeyError, ValueError) as error:
            message = f"the checkpoint {found} doesn't fit this configuration: {error}"
            raise CheckpointError(f"{message}; train into another folder to begin anew") from error
        logger.info("resumed %s at step %d", found, self.step)
        return True

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step, "seconds": self.spent}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step, self.seconds = state["step"], state["seconds"]
        self._since = time.monotonic()

    def _stop_on_signal(self) -> None:
        """SIGTERM ends the loop after the step, so that the caller can save."""

        def ask(*_: object) -> None:
            self._asked_to_stop = True

        try:
            signal.signal(signal.SIGTERM, ask)
        except ValueError:  # not in the main thread
            logger.warning("SIGTERM can't be handled outside the main thread: the run won't save when ended")

    def _interrupted(self) -> None:
        """Ctrl-C ends the loop after the step, too; a second one at once."""
        if self._asked_to_stop:
            raise KeyboardInterrupt
        logger.warning("stopping after this step, to save; press Ctrl-C again to lose it")
        self._asked_to_stop = True


def _commit() -> str | None:
    """The commit of the code that runs, None outside a checkout."""
    here = Path(__file__).parent
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def _write_json(path: Path, data: Any) -> None:
    temporary = path.with_suffix(path.suffix + ".tmp")
    temporary.write_text(json.dumps(data, ensure_ascii=False, indent=2, default=str), encoding="utf-8")
    temporary.replace(path)
