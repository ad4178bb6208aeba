"""The scores of a run as one HTML page that needs nothing else: tables, plots, players.

    python -m eval.report --scores scores/scores.json --out scores/report.html

The page opens from a disk or a mail: plots are drawn as SVG and songs are inside as Ogg Vorbis, the
first 20 seconds in one channel, which is enough to recognise them and not to judge their sound.
"""

import base64
import html
import io
import json
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile

from common import config as configs
from common.audio import Audio, read_audio, resample, to_channels
from common.errors import AudioError, RequestError, run_command

logger = logging.getLogger(__name__)

_EXCERPT, _RATE = 20.0, 32000  # seconds, Hz
_PAPER = (  # rows of Wang 2025, table 1: group, metric, encoder, title, higher is better
    ("Quality (FAD)", "FAD", "ms-clap", "MS-CLAP", False),
    ("Quality (FAD)", "FAD", "laion-clap", "LAION-CLAP", False),
    ("Quality (FAD)", "FAD", "encodec", "EnCodec", False),
    ("Quality (FAD)", "FAD", "mert", "MERT", False),
    ("Alignment", "SST", "laion-clap", "SST", True),
    ("Alignment", "ASOA", "mert", "ASOA", True),
)
_OWN = (  # the same by the encoders that come with the project
    ("Quality (FAD)", "FAD", "corpus", "corpus", False),
    ("Quality (FAD)", "FAD", "chinmu", "ChinMu", False),
    ("Alignment", "SST", "chinmu", "SST by ChinMu", True),
    ("Alignment", "ASOA", "corpus", "ASOA by corpus", True),
)
_STYLE = """
body{font:16px/1.5 system-ui,"Noto Sans CJK SC",sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem}
body{color:#222;background:#fff}
table{border-collapse:collapse;margin:.5rem 0 1.5rem}
th,td{padding:.25rem .7rem;border-bottom:1px solid #ddd;text-align:left;vertical-align:top}
td.n{text-align:right;font-variant-numeric:tabular-nums}
.small{color:#666;font-size:.85em}.best{font-weight:600}.warn{background:#fff6e0;padding:.4rem .8rem}
audio{width:18rem;height:2rem}.wide{overflow-x:auto}
@media(prefers-color-scheme:dark){body{background:#161616;color:#ddd}th,td{border-color:#444}
.warn{background:#3a3010}.small{color:#aaa}}
"""


def page(scores: dict[str, Any], players: int = 4) -> str:
    """The page of what `eval.run` keeps in scores.json.

    Args:
        players: how many songs of each system can be heard.
    """
    rows = scores["rows"]
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Scores</title>",
        "<meta name='viewport' content='width=device-width'>",
        f"<style>{_STYLE}</style><h1>Scores</h1>",
        _warnings(scores["warnings"]),
        "<h2>As in the paper's table 1</h2>",
        "<p class='small'>The mean of professional and amateur prompts where both are there. "
        "The best system of a row is bold; an interval below a figure is over songs, 95 %.</p>",
        _paper_table(rows, _PAPER, "no weights or inputs"),
        "<h2>The same by encoders that come with the project</h2>",
        _paper_table(rows, _OWN, "no inputs"),
        "<h2>Every figure</h2>",
        *(_metric(rows, *pair) for pair in _pairs(rows)),
        _comparisons(scores["comparisons"]),
        _details(scores["details"]),
        _songs(scores, players),
        _conventions(scores["conventions"]),
    ]
    return "\n".join(p for p in parts if p) + "\n"


def _e(value: object) -> str:
    return html.escape(str(value))


def number(value: float | None) -> str:
    """A figure with as many places as it can be read by."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.1f}" if abs(value) >= 100 else f"{value:.2f}" if abs(value) >= 10 else f"{value:.3f}"


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{h}</th>" for h in head)
    rows = "".join("<tr>" + "".join(cells) + "</tr>" for cells in body)
    return f"<div class='wide'><table><tr>{top}</tr>{rows}</table></div>"


def _cell(text: str, kind: str = "") -> str:
    return f"<td class='{kind}'>{text}</td>" if kind else f"<td>{text}</td>"


def _warnings(warnings: Sequence[str]) -> str:
    if not warnings:
        return ""
    return (
        "<div class='warn'><b>Read this first</b><ul>"
        + "".join(f"<li>{_e(w)}" for w in warnings)
        + "</ul></div>"
    )


# ---- the paper's layout --------------------------------------------------------------------


def _systems(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Systems in the order of their first row, bounds last."""
    names = list(dict.fromkeys(r["system"] for r in rows if not r["system"].startswith("floor: ")))
    bounds = [n for n in ("ceiling", "floor") if n in names]
    return [n for n in names if n not in bounds] + bounds


def _overall(rows: Sequence[dict[str, Any]], metric: str, encoder: str, system: str) -> dict[str, Any] | None:
    """The row of both audiences, or of the only one there is."""
    found = [r for r in rows if (r["metric"], r["encoder"], r["system"]) == (metric, encoder, system)]
    both = [r for r in found if r["audience"] == "both"]
    return both[0] if both else found[0] if len(found) == 1 else None


def _paper_table(rows: Sequence[dict[str, Any]], layout: Sequence[tuple], absent: str) -> str:
    systems = _systems(rows)
    body, group = [], ""
    for heading, metric, encoder, title, higher in layout:
        cells = [_cell(_e(heading) if heading != group else ""), _cell(f"{title} {'↑' if higher else '↓'}")]
        group = heading
        found = {s: _overall(rows, metric, encoder, s) for s in systems}
        real = [
            r["value"]
            for s, r in found.items()
            if r and s not in ("ceiling", "floor") and r["value"] is not None
        ]
        best = (max if higher else min)(real) if len(real) > 1 else None
        if not real:
            body.append([*cells, f"<td colspan='{max(1, len(systems))}' class='small'>{absent}</td>"])
            continue
        body.append(cells + [_figure(found[s], best) for s in systems])
    return _table(["", "", *(_e(s) for s in systems)], body)


def _figure(row: dict[str, Any] | None, best: float | None) -> str:
    if row is None or row["value"] is None:
        return _cell("–", "n")
    kind = "n best" if best is not None and row["value"] == best else "n"
    width = (
        f"<br><span class='small'>{number(row['low'])} … {number(row['high'])}</span>"
        if row["low"] is not None
        else ""
    )
    return _cell(number(row["value"]) + width, kind)


# ---- every figure --------------------------------------------------------------------------


def _pairs(rows: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((r["metric"], r["encoder"]) for r in rows))


def _metric(rows: Sequence[dict[str, Any]], metric: str, encoder: str) -> str:
    """One metric's plot and table."""
    mine = [r for r in rows if (r["metric"], r["encoder"]) == (metric, encoder)]
    body = [
        [
            _cell(_e(r["system"])),
            _cell(_e(r["audience"])),
            _cell(number(r["value"]), "n"),
            _cell(f"{number(r['low'])} … {number(r['high'])}" if r["low"] is not None else "–", "n"),
            _cell(number(r["null"]), "n"),
            _cell(_e(r["songs"]), "n"),
            _cell(_e(r["note"]), "small"),
        ]
        for r in mine
    ]
    head = ["system", "audience", "value", "95 % interval", "wrong partners", "songs", ""]
    return (
        f"<h3>{_e(metric)} <span class='small'>by {_e(encoder)}</span></h3>{plot(mine)}{_table(head, body)}"
    )


def plot(rows: Sequence[dict[str, Any]]) -> str:
    """Dots with their intervals on one axis, as SVG; empty where there is nothing to draw."""
    drawn = [r for r in rows if r["value"] is not None]
    if not drawn:
        return ""
    ends = [v for r in drawn for v in (r["value"], r["low"], r["high"]) if v is not None]
    low, high = min(ends), max(ends)
    span = (high - low) or 1.0
    left, width, step = 220, 420, 22

    def x(value: float) -> float:
        return left + width * (value - low) / span

    parts = []
    for place, row in enumerate(drawn):
        y = 16 + step * place
        label = row["system"] + ("" if row["audience"] == "both" else f", {row['audience']}")
        parts.append(f"<text x='{left - 12}' y='{y + 4}' text-anchor='end'>{_e(label)}</text>")
        if row["low"] is not None:
            parts.append(f"<line x1='{x(row['low']):.1f}' x2='{x(row['high']):.1f}' y1='{y}' y2='{y}'/>")
        parts.append(f"<circle cx='{x(row['value']):.1f}' cy='{y}' r='4'/>")
    bottom = 16 + step * len(drawn)
    parts.append(f"<text x='{left}' y='{bottom + 6}'>{number(low)}</text>")
    parts.append(f"<text x='{left + width}' y='{bottom + 6}' text-anchor='end'>{number(high)}</text>")
    style = "font:13px sans-serif;fill:currentColor;stroke-width:2"
    body = "".join(parts).replace("<line", "<line stroke='currentColor'")
    size = f"viewBox='0 0 {left + width + 20} {bottom + 14}' width='{left + width + 20}'"
    return f"<svg {size} style='{style}'>{body}</svg>"


def _comparisons(found: Sequence[dict[str, Any]]) -> str:
    if not found:
        return ""
    body = [
        [
            _cell(_e(c["words"])),
            _cell(number(c["difference"]), "n"),
            _cell(f"{c['p']:.3g}", "n"),
            _cell(f"{c['corrected']:.3g}", "n"),
        ]
        for c in found
    ]
    return "<h2>Systems against each other</h2>" + _table(["", "difference", "p", "p, Holm"], body)


def _details(details: dict[str, dict[str, Any]]) -> str:
    """Adherence, lyrics and requests, where somebody measured them: name → figure with its interval."""
    parts = []
    for system, kinds in details.items():
        for kind, figures in kinds.items():
            parts.append(f"<h3>{_e(kind)} <span class='small'>of {_e(system)}</span></h3>{_figures(figures)}")
    return "<h2>Against the request</h2>" + "".join(parts) if parts else ""


def _figures(figures: Any) -> str:
    if not isinstance(figures, dict):
        return f"<pre>{_e(json.dumps(figures, ensure_ascii=False, indent=1))}</pre>"
    if figures and all(isinstance(value, dict) and "judged" in value for value in figures.values()):
        return _wishes(figures)
    body = []
    for name, value in figures.items():
        if isinstance(value, dict) and "value" in value:
            width = _interval(value)
            chance, count = number(value.get("chance")), _e(value.get("count", ""))
            cells = [number(value["value"]), width, chance, count]
        else:
            is_number = value is None or isinstance(value, int | float)
            cells = [number(value) if is_number else _e(value), "", "", ""]
        body.append([_cell(_e(name)), *(_cell(c, "n") for c in cells)])
    return _table(["", "value", "95 % interval", "chance", "songs"], body)


def _wishes(figures: dict[str, dict[str, Any]]) -> str:
    """What eval.requests found: shares judged, how often the judge is right, shares corrected."""
    body = []
    for name, row in figures.items():
        judge = row.get("judge")
        is_certain = judge is not None and judge.get("count") == 0 and judge["value"] == 1
        cells = [_with_interval(row["judged"]), "exact" if is_certain else _with_interval(judge)]
        cells += [_with_interval(row.get("corrected")), _e((row["judged"] or {}).get("count", ""))]
        body.append([_cell(_e(name)), *(_cell(c, "n") for c in cells)])
    return _table(["wish", "judged", "its judge on real songs", "corrected", "requests"], body)


def _with_interval(value: dict[str, Any] | None) -> str:
    if value is None:
        return "–"
    return f"{number(value['value'])} ({_interval(value)})"


def _interval(value: dict[str, Any]) -> str:
    """The limits of an estimate; a dash where one song, or somebody's file, gives none."""
    if value.get("low") is None or value.get("high") is None:
        return "–"
    return f"{number(value['low'])} … {number(value['high'])}"


def _conventions(conventions: dict[str, str]) -> str:
    items = "".join(f"<li><b>{_e(name)}</b>: {_e(words)}" for name, words in conventions.items())
    return f"<h2>How the songs were heard</h2><ul>{items}</ul>" if items else ""


# ---- songs to hear -------------------------------------------------------------------------


def _songs(scores: dict[str, Any], players: int) -> str:
    parts = []
    for system, files in scores["files"].items():
        metrics = sorted({m for values in scores["songs"].get(system, {}).values() for m in values})
        body = []
        for file in files[: max(0, players)]:
            name = Path(file).stem
            values = scores["songs"].get(system, {}).get(name, {})
            words = _e(scores["prompts"].get(name, ""))
            cells = [_cell(f"{_e(name)}<br><span class='small'>{words}</span>"), _cell(_player(Path(file)))]
            body.append(cells + [_cell(number(values.get(m)), "n") for m in metrics])
        if body:
            parts.append(f"<h3>{_e(system)}</h3>" + _table(["song", "", *map(_e, metrics)], body))
    return "<h2>Songs</h2>" + "".join(parts) if parts else ""


def _player(path: Path) -> str:
    try:
        data = base64.b64encode(excerpt(path)).decode()
    except AudioError as error:
        return f"<span class='small'>{_e(error)}</span>"
    return f"<audio controls preload='none' src='data:audio/ogg;base64,{data}'></audio>"


def excerpt(path: Path, seconds: float = _EXCERPT) -> bytes:
    """The beginning of a song as Ogg Vorbis in one channel. Raises AudioError as `read_audio` does."""
    return vorbis(resample(to_channels(read_audio(path), 1), _RATE), seconds)


def vorbis(audio: Audio, seconds: float, quality: float = 0.4) -> bytes:
    """The beginning of some audio as Ogg Vorbis, of a quality from 0 to 1."""
    samples = audio.samples[:, : max(1, round(seconds * audio.sample_rate))].clip(-1, 1).T
    out = io.BytesIO()
    settings = {"format": "OGG", "subtype": "VORBIS", "compression_level": 1 - quality}
    with soundfile.SoundFile(out, "w", audio.sample_rate, samples.shape[1], **settings) as file:
        # libsndfile's Vorbis encoder overflows its stack when given minutes at once.
        for start in range(0, len(samples), 1 << 16):
            file.write(samples[start : start + (1 << 16)])
    return out.getvalue()


# ---- command -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    """What to write a page of."""

    scores: str  # scores.json of eval.run
    out: str
    players: int = 4


def main() -> int:
    """Write the page again, say with other players."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    settings = configs.parse(Settings)
    try:
        scores = json.loads(Path(settings.scores).read_text(encoding="utf-8"))
        text = page(scores, settings.players)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RequestError(f"{settings.scores} isn't what eval.run writes: {error}") from error
    Path(settings.out).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    run_command(main)
