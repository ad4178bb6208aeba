"""What songs were asked for, and which file answers what.

A prompts file is JSONL as `app.batch` reads it (`id`, `description`, `audience`), or CSV or TSV with
those columns, in UTF-8 or GB18030; `prompt` may stand for `description`, `english` is a translation for
models that read no Chinese, and `reference` names the file (with or without its suffix) of the real song
that the words were said of. Without it the reference is the song called as the id, with or without
`-professional` or `-amateur`. A song answers the prompt whose id its file is called by, with or without a
take's number (`rain-s1.flac` answers `rain`).
"""

import csv
import io
import json
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.description import Audience
from common.errors import ManifestError
from eval.embeddings import SUFFIXES

logger = logging.getLogger(__name__)

_AUDIENCES = "|".join(a.value for a in Audience)
_PRIVATE = re.compile("[\ue000-\uf8ff]")  # signs that mean nothing by themselves


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
        ManifestError: the file is missing or no text, a line lacks its id or words, or an id comes twice.
    """
    path = Path(path)
    readers = {".jsonl": _objects, ".csv": _table, ".tsv": _table}
    if path.suffix.lower() not in readers or not path.is_file():
        raise ManifestError(f"prompts are read from a .jsonl, .csv or .tsv file, but got {str(path)!r}")
    out: dict[str, Prompt] = {}
    for number, row in readers[path.suffix.lower()](path):
        where = f"{path}, line {number}"
        prompt = _prompt(row, where)
        if prompt.id in out:
            raise ManifestError(f"{where}: the id {prompt.id!r} is used twice")
        out[prompt.id] = prompt
    if not out:
        raise ManifestError(f"{path} holds no prompts")
    return out


def text_of(path: Path) -> str:
    """What a file in UTF-8 says, or one in GB18030, which Chinese spreadsheets write.

    Raises:
        ManifestError: it can't be read, or is neither.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ManifestError(f"{path} can't be read: {error.strerror or error}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        refused = ManifestError(f"{path}, line {line}: this is neither UTF-8 nor GB18030: save it as UTF-8")
        if _is_damaged_utf8(data):
            raise refused from error
        try:
            text = data.decode("gb18030")
        except UnicodeDecodeError:
            raise refused from error
        if _PRIVATE.search(text):  # what Big5 and other encodings look like
            raise refused from error
    logger.warning("%s isn't UTF-8: it is read as GB18030", path)
    return text


def _is_damaged_utf8(data: bytes) -> bool:
    """Whether most of what isn't ASCII is UTF-8 all the same; GB18030 would read it too, as other words."""
    high = sum(byte >= 0x80 for byte in data)
    sound = sum(len(sign.encode()) for sign in data.decode("utf-8", "ignore") if not sign.isascii())
    return 2 * sound > high


def _objects(path: Path) -> Iterator[tuple[int, object]]:
    """The line numbers and objects of a JSONL file."""
    for number, line in enumerate(text_of(path).split("\n"), 1):
        if line.strip() and not line.startswith("#"):
            try:
                yield number, json.loads(line)
            except (json.JSONDecodeError, RecursionError) as error:
                raise ManifestError(f"{path}, line {number}: this is no JSON object: {error}") from error


def _table(path: Path) -> Iterator[tuple[int, object]]:
    """The line numbers and rows of a table, a row by its heads."""
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    rows = csv.reader(io.StringIO(text_of(path), newline=""), delimiter=delimiter)
    try:
        heads = next(rows, [])
        if twice := [head for head in heads if head and heads.count(head) > 1]:
            raise ManifestError(f"{path}, line 1: two columns are called {twice[0]!r}: rename one")
        for cells in rows:
            if len(cells) > len(heads):
                raise ManifestError(
                    f"{path}, line {rows.line_num}: {len(cells)} cells for {len(heads)} heads: "
                    "quote a cell that holds the sign between cells"
                )
            if cells:
                yield rows.line_num, dict(zip(heads, cells))
    except csv.Error as error:
        raise ManifestError(f"{path}, line {rows.line_num}: this is no row of a table: {error}") from error


def _prompt(row: object, where: str) -> Prompt:
    if not isinstance(row, dict):
        raise ManifestError(f"{where}: an object is needed")
    text = row.get("description") or row.get("prompt")
    name = _word(row, "id", where)
    if name is None or not isinstance(text, str) or not text.strip():
        raise ManifestError(f"{where}: an id and a description are needed, but got {sorted(row)}")
    audience = _word(row, "audience", where)
    if audience is not None and audience not in set(Audience):
        raise ManifestError(f"{where}: the audience is one of {', '.join(Audience)}, but got {audience!r}")
    reference, english = _word(row, "reference", where), _word(row, "english", where)
    return Prompt(name, text.strip(), audience, reference and _stem(reference), english and english.strip())


def _stem(file: str) -> str:
    """The name of a file without its folder and an audio suffix; other dots belong to the name."""
    name = Path(file).name
    return Path(name).stem if Path(name).suffix.lower() in SUFFIXES else name


def _word(row: dict[str, object], name: str, where: str) -> str | None:
    """A value as text, a number too; None where there is none."""
    value = row.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, str | int | float)):
        raise ManifestError(f"{where}: {name} is a word or a number, but got {value!r}")
    return None if value is None or not str(value).strip() else str(value)


def answered(songs: Sequence[str], prompts: dict[str, Prompt]) -> dict[str, Prompt]:
    """Song name → its prompt, for the songs that answer one."""
    out = {}
    for name in songs:
        for key in (name, re.sub(r"-s\d+$", "", name)):
            if key in prompts:
                out[name] = prompts[key]
                break
    return out
