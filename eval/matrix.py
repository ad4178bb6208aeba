"""Which metric notices which fault: cells of a table, what they say in words, and their picture.

Conventions: a cell compares the same songs without and with a fault. `effect` is the mean difference
over its standard error (Student's t), turned so that below 0 is worse by the metric's own reckoning; a
metric that has no better side (loudness) notices any move. `corrected` is Holm's p over every cell of
the matrix. A metric notices a fault where that p is below 0.05, the effect is to the worse, and the
difference is at least a fifth of the spread of sound songs (`size`, a small effect by Cohen 1988; sets have
none): what moves by a hair in every song is certain and of no use. Where the effect is to the better the
metric takes the fault for an improvement, which is as good to know.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import stats

from common.statistics import half_jackknife, holm

NOTICES, MISLED, BLIND, UNASKED = "notices", "takes it for better", "doesn't", "can't be asked"
AGREED, SMALL = 0.05, 0.2
FEWEST = 4  # songs of a cell
_LARGEST = 999.0  # effect shown where nothing varies


@dataclass(frozen=True)
class Metric:
    """A row. `better`: 1 where more is better, −1 where less is, 0 where neither."""

    name: str
    better: int


@dataclass(frozen=True)
class Cell:
    """One metric, one fault."""

    metric: str
    fault: str
    songs: int
    sound: float | None = None  # mean of these songs without the fault
    faulty: float | None = None
    effect: float | None = None
    size: float | None = None  # mean difference over the standard deviation of sound songs, signed as effect
    p: float | None = None
    corrected: float | None = None
    verdict: str = UNASKED


# ---- cells ---------------------------------------------------------------------------------


def of_songs(metric: Metric, fault: str, sound: np.ndarray, faulty: np.ndarray) -> Cell:
    """From values song by song (songs,); songs where one of the two is NaN don't count.

    Fewer than 4 songs can't be asked. p is of Student's t with one degree of freedom less than songs.
    """
    known = np.isfinite(sound) & np.isfinite(faulty)
    count = int(known.sum())
    if count < FEWEST:
        return Cell(metric.name, fault, count)
    differences = faulty[known] - sound[known]
    error = float(differences.std(ddof=1)) / math.sqrt(count)
    cell = _cell(metric, fault, count, float(sound[known].mean()), float(faulty[known].mean()), error)
    spread = max(float(sound[known].std(ddof=1)), 1e-12)
    size = min(abs(float(differences.mean())) / spread, _LARGEST)
    return replace(cell, size=math.copysign(size, cell.effect or 0.0))


def of_sets(
    metric: Metric,
    fault: str,
    values: Callable[[np.ndarray], tuple[float, float]],
    count: int,
    fewest: int = FEWEST,
    draws: int = 40,
    seed: int = 0,
) -> Cell:
    """From a distance of sets: its standard error is of random halves of the songs, the same for both.

    Args:
        values: of the places of the songs to use, the distances without and with the fault.
        count: songs.
        fewest: songs that a half must have for the distance to be defined.
        draws: halves.
    """
    if count - count // 2 < fewest or count < FEWEST:
        return Cell(metric.name, fault, count)

    def difference(chosen: np.ndarray) -> float:
        sound, faulty = values(chosen)
        return faulty - sound

    sound, faulty = values(np.arange(count))
    interval = half_jackknife(difference, count, value=faulty - sound, draws=draws, seed=seed)
    error = (interval.high - interval.low) / 2 / float(stats.norm.ppf(0.975))
    return _cell(metric, fault, count, sound, faulty, error)


def _cell(metric: Metric, fault: str, count: int, sound: float, faulty: float, error: float) -> Cell:
    difference = faulty - sound
    if abs(difference) <= 1e-12 * max(1.0, abs(sound)):
        effect = 0.0
    else:
        effect = float(np.clip(difference / max(error, 1e-12 * abs(difference)), -_LARGEST, _LARGEST))
    p = float(2 * stats.t.sf(abs(effect), count - 1)) if effect else 1.0
    turned = -abs(effect) if metric.better == 0 else effect * metric.better
    return Cell(metric.name, fault, count, sound, faulty, turned + 0.0, p=p)


def judged(cells: Sequence[Cell]) -> list[Cell]:
    """With Holm's correction over all cells that could be asked, and their verdicts."""
    asked = [c for c in cells if c.p is not None]
    corrected = dict(zip(map(id, asked), holm([c.p or 0.0 for c in asked])))
    return [_with_verdict(c, corrected[id(c)]) if c.p is not None else c for c in cells]


def _with_verdict(cell: Cell, corrected: float) -> Cell:
    small = cell.size is not None and abs(cell.size) < SMALL
    verdict = BLIND if corrected >= AGREED or small else NOTICES if (cell.effect or 0) < 0 else MISLED
    return replace(cell, corrected=corrected, verdict=verdict)


# ---- words ---------------------------------------------------------------------------------


def _rows(cells: Sequence[Cell]) -> dict[str, dict[str, Cell]]:
    out: dict[str, dict[str, Cell]] = {}
    for cell in cells:
        out.setdefault(cell.metric, {})[cell.fault] = cell
    return out


def shown(cell: Cell | None) -> str:
    """An effect with few places, `*` where it is noticed, `!` where it is taken for better, – unasked."""
    if cell is None or cell.effect is None:
        return "–"
    mark = {NOTICES: "*", MISLED: "!"}.get(cell.verdict, "")
    size = abs(cell.effect)
    return f"{cell.effect:+.0f}{mark}" if size >= 10 else f"{cell.effect:+.1f}{mark}"


def words(cells: Sequence[Cell]) -> list[str]:
    """A sentence for each metric: what it notices, what it takes for better, what it doesn't notice."""
    out = []
    for metric, row in _rows(cells).items():
        parts = []
        for verdict, title in ((NOTICES, "notices"), (MISLED, "takes for better"), (BLIND, "doesn't notice")):
            found = [fault for fault, cell in row.items() if cell.verdict == verdict]
            if found:
                parts.append(f"{title} {', '.join(found)}")
        out.append(f"{metric}: {'; '.join(parts) or UNASKED}")
    return out


def markdown(cells: Sequence[Cell]) -> str:
    """The matrix as a table, effects in standard errors."""
    rows = _rows(cells)
    faults = list(dict.fromkeys(c.fault for c in cells))
    lines = ["| metric | " + " | ".join(faults) + " |", "|---" * (len(faults) + 1) + "|"]
    for metric, row in rows.items():
        lines.append(f"| {metric} | " + " | ".join(shown(row.get(f)) for f in faults) + " |")
    return "\n".join(lines)


# ---- picture -------------------------------------------------------------------------------

_WIDTH, _HEIGHT, _LEFT, _TOP, _MARGIN = 74, 22, 250, 60, 12
_COLOURS = {BLIND: (244, 244, 244), UNASKED: (255, 255, 255)}
_INK, _FAINT = (30, 30, 30), (170, 170, 170)


def draw(cells: Sequence[Cell], out: Path, title: str) -> None:
    """A PNG: blue where a fault is noticed, the deeper the surer, orange where it is taken for better."""
    rows = _rows(cells)
    faults = list(dict.fromkeys(c.fault for c in cells))
    size = (_LEFT + _WIDTH * len(faults) + _MARGIN, _TOP + _HEIGHT * len(rows) + _MARGIN)
    picture = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(size=13)
    pen.text((_MARGIN, 10), _plain(title), _INK, font)
    for column, fault in enumerate(faults):
        pen.text((_LEFT + _WIDTH * (column + 0.5), _TOP - 8), fault, _INK, font, anchor="ms")
    for number, (metric, row) in enumerate(rows.items()):
        top = _TOP + _HEIGHT * number
        pen.text((_LEFT - 10, top + _HEIGHT / 2), _plain(metric), _INK, font, anchor="rm")
        for column, fault in enumerate(faults):
            cell = row.get(fault)
            left = _LEFT + _WIDTH * column
            pen.rectangle((left, top, left + _WIDTH - 2, top + _HEIGHT - 2), _colour(cell))
            ink = _INK if cell is not None and cell.verdict in (NOTICES, MISLED) else _FAINT
            middle = (left + _WIDTH / 2, top + _HEIGHT / 2)
            pen.text(middle, _plain(shown(cell)).rstrip("*!"), ink, font, anchor="mm")
    part = out.with_name(f".{out.name}.part.png")
    picture.save(part, optimize=True)
    part.replace(out)


def _colour(cell: Cell | None) -> tuple[int, int, int]:
    if cell is None or cell.effect is None or cell.verdict not in (NOTICES, MISLED):
        return _COLOURS[UNASKED if cell is None else cell.verdict]
    depth = min(1.0, math.log10(max(1.0, abs(cell.effect))) / 2)
    full = (70, 130, 220) if cell.verdict == NOTICES else (240, 140, 40)
    red, green, blue = (round(255 - (255 - c) * (0.25 + 0.75 * depth)) for c in full)
    return red, green, blue


def _plain(text: str) -> str:
    """In the letters that Pillow's own font has."""
    return text.replace("∞", "-inf").replace("–", "-").replace("−", "-")
