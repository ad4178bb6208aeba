"""What songs were asked for, and which file answers what.

A prompts file is JSONL as `app.batch` reads it (`id`, `description`, `audience`), or CSV or TSV with
those columns; `prompt` may stand for `description`, `english` is a translation for models that read no
Chinese, and `reference` names the file (without suffix) of the real song that the words were said of.
Without it the reference is the song called as the id, with or without `-professional` or `-amateur`. A
song answers the prompt whose id its file is called by, with or without a take's number
(`rain-s1.flac` answers `rain`).
"""

import csv
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.description import Audience
from common.errors import ManifestError

_AUDIENCES = "|".join(a.value for a in Audience)


@dataclass(frozen=True)
class Prompt:
    """A description, who speaks, and the real song it was said of."""

    id: str
    text: str
    audience: str | None = None
    reference: str | None = None  # a file's name without suffix
    english: str | None = None  # a translation, for systems that read no Chinese

    @property
    def song(self) -> str:
        """What prompts of the same song share: they aren't independent."""
        return self.reference or re.sub(rf"-({_AUDIENCES})$", "", self.id)

    def reference_in(self, names: Iterable[str]) -> str | None:
        """The name of its real song among those at hand."""
        known = set(names)
        return next((n for n in (self.reference, self.id, self.song) if n in known), None)


def read(path: str | Path) -> dict[str, Prompt]:
    """The prompts of a file by id.

    Raises:
        ManifestError: the file is missing, a line lacks its id or words, or an id comes twice.
    """
    path = Path(path)
    readers = {".jsonl": _objects, ".csv": _table, ".tsv": _table}
    if path.suffix.lower() not in readers or not path.is_file():
        raise ManifestError(f"prompts are read from a .jsonl, .csv or .tsv file, but got {str(path)!r}")
    out: dict[str, Prompt] = {}
    for number, row in enumerate(readers[path.suffix.lower()](path), 1):
        prompt = _prompt(row, f"{path}, prompt {number}")
        if prompt.id in out:
            raise ManifestError(f"{path}, prompt {number}: the id {prompt.id!r} is used twice")
        out[prompt.id] = prompt
    if not out:
        raise ManifestError(f"{path} holds no prompts")
    return out


def _objects(path: Path) -> list[dict[str, object]]:
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError as error:
                raise ManifestError(f"{path}, line {number}: this is no JSON object: {error}") from error
    return rows


def _table(path: Path) -> list[dict[str, object]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ","))


def _prompt(row: object, where: str) -> Prompt:
    if not isinstance(row, dict):
        raise ManifestError(f"{where}: an object is needed")
    text = row.get("description") or row.get("prompt")
    name, audience = row.get("id"), row.get("audience") or None
    if not name or not isinstance(text, str) or not text.strip():
        raise ManifestError(f"{where}: an id and a description are needed, but got {sorted(row)}")
    if audience is not None and audience not in set(Audience):
        raise ManifestError(f"{where}: the audience is one of {', '.join(Audience)}, but got {audience!r}")
    reference, english = row.get("reference") or None, row.get("english") or None
    return Prompt(
        str(name),
        text.strip(),
        audience and str(audience),
        reference and Path(str(reference)).stem,
        english and str(english).strip(),
    )


def answered(songs: Sequence[str], prompts: dict[str, Prompt]) -> dict[str, Prompt]:
    """Song name → its prompt, for the songs that answer one."""
    out = {}
    for name in songs:
        for key in (name, re.sub(r"-s\d+$", "", name)):
            if key in prompts:
                out[name] = prompts[key]
                break
    return out
