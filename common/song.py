"""A finished song and its files: FLAC with its recipe inside, words and lead sheet beside it.

The recipe (request, seed, hashes of the models, versions) travels in the Vorbis comment
`BAIHUA_RECIPE` as JSON, so a file found years later still says how it was made. The words
are an LRC file when the score gives their timing and a plain text file otherwise; the lead
sheet is ABC.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.audio import Audio, read_tags, write_audio
from common.errors import AudioError, LyricsError
from common.lyrics import Lyrics
from common.score import HOLD, NoteSpan, Score

RECIPE_TAG = "BAIHUA_RECIPE"
SUFFIX = ".flac"
_SIGNED = "[by:Baihua]"  # a line of every `.lrc` that is written here


@dataclass(frozen=True)
class Song:
    """What the pipeline hands back: sound, words, plan, and how they came to be."""

    audio: Audio
    lyrics: Lyrics | None = None  # None or sections without lines: nobody sings
    score: Score | None = None  # None: sung without a plan
    recipe: dict[str, Any] = field(default_factory=dict)  # plain JSON
    warnings: tuple[str, ...] = ()  # one sentence each, for the user

    @property
    def title(self) -> str:
        """The score's title, else the request's, else the first sung line, else the description."""
        sung = self.lyrics.lines if self.lyrics else ()
        asked = self.recipe.get("request", {})
        named = (self.score.title if self.score else "") or str(asked.get("title", ""))
        return named or (sung[0] if sung else "") or str(asked.get("description", ""))

    def lyric_file(self) -> tuple[str, str] | None:
        """(suffix, text) of the file of words: `.lrc` with a score, else `.txt`; None when nobody sings."""
        if self.lyrics is None or not self.lyrics.lines:
            return None
        if self.score is not None and any(self.score.note_spans(sung=True)):
            return ".lrc", to_lrc(self.score, self.lyrics, self.title)
        return ".txt", str(self.lyrics)

    def save(self, path: str | Path) -> tuple[Path, ...]:
        """Write the song and what goes beside it; every file appears whole or not at all.

        Where an earlier song of Baihua stood at the path, its `.lrc` and `.abc` are removed if this
        song has none: they'd be taken for this one's. No file that it didn't write itself is.

        Args:
            path: a `.flac` file in a folder that exists.
        Returns:
            The files written, the song first.
        Raises:
            AudioError: wrong suffix, no such folder, or the disk refused (full, read-only).
        """
        path = Path(path)
        check_target(path)
        texts = self._texts(path)
        stale = [left for left in _left_by_song(path) if left not in texts]
        drafts = {target: target.with_name(f".{target.name}.part") for target in texts}
        try:
            for target, text in texts.items():
                drafts[target].write_text(text, encoding="utf-8")
            write_audio(path, self.audio, self._tags())
            for target, draft in drafts.items():
                draft.replace(target)
            for left in stale:
                left.unlink(missing_ok=True)
        except OSError as error:
            raise AudioError(f"can't write the song to {path}: {error.strerror or error}") from error
        finally:
            for draft in drafts.values():
                draft.unlink(missing_ok=True)
        return (path, *texts)

    def _texts(self, path: Path) -> dict[Path, str]:
        from common.abc import to_abc

        texts: dict[Path, str] = {}
        if words := self.lyric_file():
            texts[path.with_suffix(words[0])] = words[1]
        if self.score is not None:
            texts[path.with_suffix(".abc")] = to_abc(self.score)
        return texts

    def _tags(self) -> dict[str, str]:
        tags = {
            "TITLE": self.title,
            "ARTIST": "Baihua",
            "DESCRIPTION": str(self.recipe.get("request", {}).get("description", "")),
            "LYRICS": str(self.lyrics) if self.lyrics and self.lyrics.lines else "",
            RECIPE_TAG: json.dumps(self.recipe, ensure_ascii=False, sort_keys=True, allow_nan=False),
        }
        return {name: value for name, value in tags.items() if value}


def check_target(path: Path) -> None:
    """Refuse a place where a song can't be written. Raises AudioError in one sentence."""
    if path.suffix.lower() != SUFFIX:
        raise AudioError(f"a song is written as {SUFFIX}, but the file asked for is {path.name!r}")
    if not path.parent.is_dir():
        raise AudioError(f"the folder {str(path.parent)!r} doesn't exist: make it first, or choose another")
    if path.is_dir():
        raise AudioError(f"{str(path)!r} is a folder: give the name of a file")


def recipe_of(path: str | Path) -> dict[str, Any]:
    """The recipe that `Song.save` put into a file.

    Raises:
        AudioError: the file can't be read, or wasn't made by Baihua.
    """
    text = read_tags(path).get(RECIPE_TAG.lower())
    if text is None:
        raise AudioError(f"{str(path)!r} carries no {RECIPE_TAG}: it wasn't made by Baihua, or lost its tags")
    try:
        recipe = json.loads(text)
    except json.JSONDecodeError as error:
        raise AudioError(f"the recipe in {str(path)!r} isn't JSON: {error}") from error
    return recipe


def _left_by_song(path: Path) -> list[Path]:
    """The `.lrc` and `.abc` that the song at a path wrote beside itself, as far as they are still its own."""
    if not path.is_file():
        return []
    try:
        recipe = recipe_of(path)
    except AudioError:  # of another maker, or damaged: nothing beside it is known to be ours
        return []
    words, sheet = path.with_suffix(".lrc"), path.with_suffix(".abc")
    left = [words] if _is_written_by(recipe, _text_of(words)) else []
    own_score = (recipe.get("request") or {}).get("own_score")  # may be the user's very file
    return left + ([sheet] if not own_score and _text_of(sheet) == recipe.get("score") else [])


def _is_written_by(recipe: dict[str, Any], text: str) -> bool:
    """Whether a `.lrc` is the song's own, its words as they were written."""
    if _SIGNED not in text.splitlines():
        return False
    try:
        return Lyrics.parse(text).lines == Lyrics.parse(str(recipe.get("lyrics", ""))).lines
    except LyricsError:
        return False


def _text_of(path: Path) -> str:
    """The text of a file; "" where it is none that was written here."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


# ---- timed words -------------------------------------------------------------------------------


def to_lrc(score: Score, lyrics: Lyrics, title: str = "") -> str:
    """The words as LRC, each line at the time its first syllable is sung.

    The text of a line is the user's own (with its punctuation) when score and lyrics have
    the same number of lines, and the score's syllables otherwise.
    """
    timed = sung_lines(score)
    texts = [text for _, text in timed]
    if len(lyrics.lines) == len(timed):
        texts = list(lyrics.lines)
    head = [f"[ti:{title}]", _SIGNED, f"[length:{_clock(score.duration)}]"]
    lines = [f"[{_clock(start)}]{text}" for (start, _), text in zip(timed, texts)]
    return "\n".join(head + lines) + "\n"


def sung_lines(score: Score) -> list[tuple[float, str]]:
    """(seconds, text) of every sung line; a line ends at its `ends_line` note or with its section."""
    lines: list[list[NoteSpan]] = []
    fresh = True
    for span in score.note_spans(sung=True):
        if fresh or span.section != lines[-1][-1].section:
            lines.append([])
        lines[-1].append(span)
        fresh = span.ends_line
    return [(line[0].start, _text(line)) for line in lines]


def _text(spans: Sequence[NoteSpan]) -> str:
    """Syllables joined: spaces only between Latin words."""
    text = ""
    for syllable in (span.syllable for span in spans):
        if syllable and syllable != HOLD:
            latin = bool(text) and text[-1].isascii() and syllable[0].isascii()
            text += (" " if latin else "") + syllable
    return text


def _clock(seconds: float) -> str:
    """`mm:ss.xx`, rounded down so that a line is never shown late by the rounding."""
    hundredths = math.floor(max(seconds, 0.0) * 100 + 1e-6)
    minutes, rest = divmod(hundredths, 6000)
    return f"{minutes:02d}:{rest // 100:02d}.{rest % 100:02d}"
