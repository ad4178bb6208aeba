"""What the bundled models have learned, measured on held-out songs and prompts.

    python -m recipes.figures                      # prints the tables, writes docs/figures.md
    python -m recipes.figures --parts '[songs]'  # some of vae, chinmu, lyrics, songs

Each figure has its count, its 95 % interval and, where there is one, chance. Songs that are there
already aren't sung again, so a run that was stopped goes on.
"""

import json
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from common.config import parse
from common.errors import SongError
from common.statistics import Estimate, finite
from recipes import song_figures

Part = Literal["vae", "chinmu", "lyrics", "songs"]


@dataclass(frozen=True)
class Settings:
    """What to measure, and how much of it."""

    work: str = "runs/demo"  # of recipes.demo: corpus, probes
    model: str = "demo"  # a folder of models, or the bundled ones
    size: Literal["demo", "tiny"] = "demo"
    parts: tuple[Part, ...] = ("vae", "chinmu", "lyrics", "songs")
    prompts: int = 24  # held-out descriptions that are sung
    seeds: int = 3  # songs of each
    bare_seeds: int = 1  # songs of each without a score
    duration: float = 20.0  # seconds of a song
    steps: int = 25
    lyrics: int = 100  # held-out descriptions that lyrics are written for
    docs: str | None = None  # file for the tables; docs/figures.md for the size `demo`


def _manifest(settings: Settings, split: str) -> Path:
    return Path(settings.work) / "corpus" / split / "manifest.jsonl"


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    name: str
    value: Estimate
    note: str = ""


def vae_rows(settings: Settings) -> list[Row]:
    """The codec on held-out songs, beside a baseline that learned nothing."""
    from app.folder import check
    from vae.evaluate import evaluate
    from vae.load import load

    codec = load(check(settings.model) / "vae")
    table = evaluate(codec, _manifest(settings, "test"), _few(settings, 24), seconds=20.0)
    return [Row(f"{name}, {system}", value) for system, row in table.items() for name, value in row.items()]


def chinmu_rows(settings: Settings) -> list[Row]:
    """Retrieval of held-out songs from what is said of them."""
    from app.folder import check
    from eval.retrieval import evaluate

    pools = (100, 666) if settings.size == "demo" else (4,)
    table = evaluate(check(settings.model) / "chinmu", _manifest(settings, "pool"), pools)
    return [Row(name, value) for name, value in table.items()]


def lyrics_rows(settings: Settings) -> list[Row]:
    """Forms kept, rhymes found and wishes granted by the writer."""
    from app.folder import check
    from lyrics_llm.evaluate import EvaluateConfig, evaluate
    from lyrics_llm.writer import Writer

    folder = check(settings.model) / "writer"
    asked = EvaluateConfig(str(folder), songs=_few(settings, settings.lyrics))
    return [Row(name, value) for name, value in evaluate(Writer.from_pretrained(folder), asked).items()]


def song_rows(settings: Settings) -> list[Row]:
    """Whether songs do what they were asked for, and keep their scores."""
    from corpus import manifest
    from eval.probes import Probes

    probes = Probes.load(Path(settings.work) / "probes")
    records = manifest.read(_manifest(settings, "test"))
    asked = song_figures.choose(records, _few(settings, settings.prompts))
    study = song_figures.Study(
        folder=Path(settings.work) / "figures" / "songs",
        model=settings.model,
        duration=settings.duration,
        steps=settings.steps,
        seeds=settings.seeds,
        bare_seeds=settings.bare_seeds,
    )
    rows = []
    for system, songs in study.systems(asked, _manifest(settings, "test").parent).items():
        for name, value in song_figures.judge(songs, probes).items():
            rows.append(Row(f"{name}, {system}", value))
    return rows


def _few(settings: Settings, count: int) -> int:
    return count if settings.size == "demo" else min(count, 2)


PARTS: dict[Part, Callable[[Settings], list[Row]]] = {
    "vae": vae_rows,
    "chinmu": chinmu_rows,
    "lyrics": lyrics_rows,
    "songs": song_rows,
}
TITLES: dict[Part, str] = {
    "vae": "The codec, on held-out songs",
    "chinmu": "ChinMu: retrieval of held-out songs",
    "lyrics": "The writer, on held-out descriptions",
    "songs": "Songs, from held-out prompts",
}


def table(title: str, command: str, rows: Sequence[Row]) -> str:
    """A Markdown table under the command that measured it."""
    lines = [f"## {title}", "", f"`{command}`", ""]
    lines += ["| figure | value | 95 % interval | n | chance |", "|---|---|---|---|---|"]
    for row in rows:
        v = row.value
        chance = "" if v.chance is None else f"{v.chance:.3g}"
        lines.append(f"| {row.name} | {v.value:.3f} | {v.low:.3f} … {v.high:.3f} | {v.count} | {chance} |")
    return "\n".join(lines) + "\n"


def _command(settings: Settings, part: Part) -> str:
    """The command that measures this part alone in this way."""
    usual = Settings()
    names = ("work", "model", "size", "prompts", "seeds", "bare_seeds", "duration", "steps", "lyrics")
    changed = [n for n in names if getattr(settings, n) != getattr(usual, n)]
    return " ".join(
        ["python -m recipes.figures", f"--parts '[{part}]'"]
        + [f"--{name} {getattr(settings, name)}" for name in changed]
    )


def measure(settings: Settings) -> str:
    """Measure the asked parts, keep each as JSON, and return the tables of all that is kept."""
    folder = Path(settings.work) / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    for part in settings.parts:
        measured = [asdict(row) for row in PARTS[part](settings)]
        kept = {"command": _command(settings, part), "rows": measured}
        (folder / f"{part}.json").write_text(json.dumps(finite(kept), indent=1), encoding="utf-8")
    tables = []
    for part in PARTS:
        file = folder / f"{part}.json"
        if file.is_file():
            kept = json.loads(file.read_text(encoding="utf-8"))
            rows = [Row(r["name"], Estimate.of_json(r["value"]), r["note"]) for r in kept["rows"]]
            tables.append(table(TITLES[part], kept["command"], rows))
    return "\n".join(tables)


def main(argv: list[str] | None = None) -> int:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        settings = parse(Settings, argv)
        tables = measure(settings)
    except SongError as error:
        print(f"recipes.figures: {error}", file=sys.stderr)
        return 2
    print(tables)
    target = settings.docs or ("docs/figures.md" if settings.size == "demo" else None)
    if target:
        head = "# Figures of the bundled models\n\nPrinted by `make demo-figures`, or part by part.\n\n"
        Path(target).write_text(head + tables, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
