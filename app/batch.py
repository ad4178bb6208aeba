"""Many songs, for evaluation: every prompt with every seed, restartable.

    python -m app.batch PROMPTS.jsonl OUT_DIR --seeds 3

A `.txt` file holds a description a line (empty lines and lines from `#` on are skipped). A
`.jsonl` file holds an object a line: `description`, and if wanted `id`, `lyrics` (text),
`duration`, `audience`, `instrumental`, `num_inference_steps`, `guidance_scale`,
`score_guidance_scale`, `use_score`, and of words that are written `structure`, `rhyme`, `theme`. A song that
is there already, made from the same request, is not made again. `OUT_DIR/songs.jsonl` lists the songs,
`OUT_DIR/failures.jsonl` what failed and why.
"""

import argparse
import json
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.folder import DEMO, check
from app.request import Request, title_of
from common.errors import LyricsError, ManifestError, RequestError, SongError
from common.lyrics import Lyrics
from common.quiet import without_kernel_warning

if TYPE_CHECKING:
    from app.pipeline import SongPipeline

_FIELDS = (
    "description",
    "duration",
    "audience",
    "instrumental",
    "num_inference_steps",
    "guidance_scale",
    "score_guidance_scale",
    "use_score",
    "structure",
    "rhyme",
    "theme",
)
_FOR_EVALUATION = ("english", "reference")  # of a prompts file that eval.prompts reads too


@dataclass(frozen=True)
class Prompt:
    """One line of the prompts: a name for its files, and what is asked for."""

    id: str
    request: Request


def read_prompts(path: Path) -> list[Prompt]:
    """The prompts of a file.

    Raises:
        ManifestError: the file is missing or empty, a line is wrong, or an id comes twice; names the line.
    """
    if path.suffix.lower() not in (".txt", ".jsonl") or not path.is_file():
        raise ManifestError(f"prompts are read from a .txt or .jsonl file, but got {str(path)!r}")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ManifestError(f"{path} isn't UTF-8 text: save it as UTF-8") from None
    parse = _from_json if path.suffix.lower() == ".jsonl" else _from_text
    prompts: dict[str, Prompt] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            prompt = parse(line, number)
        except SongError as error:
            raise ManifestError(f"{path}, line {number}: {error}") from None
        if prompt.id in prompts:
            raise ManifestError(f"{path}, line {number}: the id {prompt.id!r} is used twice")
        prompts[prompt.id] = prompt
    if not prompts:
        raise ManifestError(f"{path} holds no prompts")
    return list(prompts.values())


def _from_text(line: str, number: int) -> Prompt:
    return Prompt(f"{number:04d}", Request(line.strip()))


def _from_json(line: str, number: int) -> Prompt:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise RequestError(f"isn't JSON: {error}") from None
    if not isinstance(row, dict):
        raise RequestError("isn't a JSON object")
    if unknown := set(row) - {*_FIELDS, *_FOR_EVALUATION, "id", "lyrics"}:
        raise RequestError(
            f"unknown field {sorted(unknown)[0]!r}; known are id, lyrics, {', '.join(_FIELDS)}"
        )
    name = str(row.get("id", f"{number:04d}"))
    if not re.fullmatch(r"[\w.-]{1,80}", name) or name.startswith("."):
        raise RequestError(f"an id is made of letters, digits, _ . and -, but got {name!r}")
    lyrics = row.get("lyrics")
    if lyrics is not None and not isinstance(lyrics, str):
        raise LyricsError(f"lyrics are text, but got {type(lyrics).__name__}")
    fields = {key: row[key] for key in _FIELDS if key in row}
    words, title = (Lyrics.parse(lyrics), title_of(lyrics)) if lyrics else (None, "")
    return Prompt(name, Request(lyrics=words, title=title, **{"description": "", **fields}))


def run(pipeline: "SongPipeline", prompts: Sequence[Prompt], out: Path, seeds: int) -> list[tuple[str, str]]:
    """Sing what is missing in `out`; returns (song, reason) of every failure.

    Raises:
        ManifestError: a song of the same name was made from another request.
    """
    out.mkdir(parents=True, exist_ok=True)
    wanted = [
        (out / f"{p.id}-s{seed}.flac", replace(p.request, seed=seed))
        for p in prompts
        for seed in _upto(seeds)
    ]
    missing = [(path, request) for path, request in wanted if not _made(path, request)]
    work = f"; {sum(request.seconds for _, request in missing):g} s of song to make" if missing else ""
    print(f"{len(wanted)} songs, {len(wanted) - len(missing)} already there{work}", file=sys.stderr)
    failures = []
    for number, (path, request) in enumerate(missing, 1):
        began = time.monotonic()
        try:
            song = pipeline.sing(request)
            song.save(path)
            told = "".join(f"; note: {warning}" for warning in song.warnings)
        except SongError as error:
            failures.append((path.name, str(error)))
            told = f"; FAILED: {error}"
        seconds = time.monotonic() - began
        made = f"{path.name} of {request.seconds:g} s in {seconds:.1f} s"
        print(f"{number}/{len(missing)} {made}{told}", file=sys.stderr, flush=True)
    _write_rows(out / "songs.jsonl", [{"file": p.name, **r.to_json()} for p, r in wanted if p.is_file()])
    _write_rows(out / "failures.jsonl", [{"file": name, "reason": reason} for name, reason in failures])
    return failures


def _upto(seeds: int) -> range:
    return range(1, seeds + 1)


def _made(path: Path, request: Request) -> bool:
    """Whether the song is there, from the same request."""
    if not path.exists():
        return False
    from common.song import recipe_of

    if recipe_of(path).get("request") != request.to_json():
        raise ManifestError(f"{path} was made from another request: choose another folder, or remove it")
    return True


def _write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    draft = path.with_name(f".{path.name}.part")
    draft.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    draft.replace(path)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m app.batch", description="Sing every prompt with every seed."
    )
    parser.add_argument("prompts", type=Path, metavar="PROMPTS", help="a .txt or .jsonl file")
    parser.add_argument("out", type=Path, metavar="OUT_DIR")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="seeds 1 to N of every prompt (1)")
    parser.add_argument(
        "--model", default=DEMO, metavar="DIR", help="a folder of models (default: the bundled)"
    )
    args = parser.parse_args(argv)
    try:
        if args.seeds < 1:
            raise RequestError(f"at least one seed is needed, but got {args.seeds}")
        prompts = read_prompts(args.prompts)
        folder = check(args.model)
        with without_kernel_warning():
            from app.pipeline import SongPipeline

        failures = run(SongPipeline.from_pretrained(folder), prompts, args.out, args.seeds)
    except SongError as error:
        print(f"app.batch: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("app.batch: stopped; the same command goes on from here", file=sys.stderr)
        return 130
    for name, reason in failures:
        print(f"failed: {name}: {reason}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
