"""What is asked for, checked before any model is loaded.

`Request` refuses what can't be served, in one sentence, so that the command line, the web page,
the batch runner and Python users all hear the same words. Nothing heavy is imported here.
"""

import codecs
import logging
import math
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from common.description import Audience, fragments
from common.errors import LyricsError, RequestError, ScoreError
from common.lyric_notations import rows
from common.lyrics import Lyrics
from common.pinyin import annotate, load_overrides, units
from common.score import Score

logger = logging.getLogger(__name__)

LONGEST_DESCRIPTION = 2000  # characters
SHORTEST, LONGEST = 5.0, 240.0  # seconds of a song
DURATION = 30.0  # seconds, when nobody says
STEPS, MOST_STEPS = 12, 1000
GUIDANCE, SCORE_GUIDANCE, MOST_GUIDANCE = 4.0, 2.0, 20.0
# Rap reaches about seven syllables a second; a song has rests, so its words must leave some room.
SYLLABLES_PER_SECOND = 6.0
LYRICS_SUFFIXES = (".txt", ".lrc", ".md")
SCORE_SUFFIXES = (".abc", ".mid", ".midi")
LARGEST_FILE = 1 << 20  # bytes of a file of lyrics or of a score
# Of the characters beyond ASCII, the least share that has to be common Chinese ones in GB18030, which almost
# any bytes can be read as. Simplified text has 1.0, traditional about 0.85, Big5 taken for GB18030 0.25.
_MOSTLY = 0.6


@dataclass(frozen=True)
class Request:
    """One song, asked for.

    Raises:
        RequestError: a value is out of its range, or two values contradict each other.
        LyricsError: the words don't fit the duration.
        ScoreError: the score doesn't fit the duration.
    """

    description: str
    lyrics: Lyrics | None = None  # None: written from the description
    score: Score | None = None  # None: composed from the lyrics
    duration: float | None = None  # seconds; None: the score's, else the description's, else DURATION
    audience: Audience = Audience.AMATEUR  # whose words the description is in
    seed: int = 1
    num_inference_steps: int = STEPS
    guidance_scale: float = GUIDANCE  # 1: no guidance
    score_guidance_scale: float = SCORE_GUIDANCE  # 1: no guidance on the score
    instrumental: bool | None = None  # None: the description decides
    use_score: bool = True  # False: the paper's single-stage model, without a plan
    title: str = ""  # what the lyrics name as theirs (`title_of`); "": their first line, else the theme
    # Of words that are written, "" each where nothing is asked:
    structure: str = ""  # sections and lines, in the notation of `lyrics_llm.structure`
    rhyme: str = ""  # a rhyme group such as 江阳, or a scheme such as AABA
    theme: str = ""  # one that the lyric model knows

    def __post_init__(self) -> None:
        _check_description(self.description)
        _check_seconds(self.duration)
        _check_whole("seed", self.seed, 0, 2**63 - 1)
        _check_whole("number of steps", self.num_inference_steps, 1, MOST_STEPS)
        _check_number("guidance scale", self.guidance_scale, 0.0, MOST_GUIDANCE)
        _check_number("score guidance scale", self.score_guidance_scale, 0.0, MOST_GUIDANCE)
        object.__setattr__(self, "audience", _audience(self.audience))
        for name, kind in (("lyrics", Lyrics), ("score", Score)):
            value = getattr(self, name)
            if value is not None and not isinstance(value, kind):
                raise RequestError(f"the {name} given is no {kind.__name__} that was read: {value!r}"[:200])
        self._check_contradictions()
        self._check_wording()
        self._check_fit()

    @property
    def seconds(self) -> float:
        """The length of the song that will be made: as asked, else the score's, else as described."""
        if self.duration is not None:
            return float(self.duration)
        if self.score is not None:
            return self.score.duration
        described = described_seconds(self.description)
        return DURATION if described is None else min(max(described, SHORTEST), LONGEST)

    def _check_contradictions(self) -> None:
        if self.score is not None and not self.use_score:
            raise RequestError("a score was given and --no-score too: leave out one of them")
        if self.instrumental and self.lyrics is not None and self.lyrics.lines:
            raise RequestError("an instrumental has no words, but lyrics were given: leave out one of them")
        if self.instrumental and self.score is not None and any(self.score.note_spans(sung=True)):
            raise RequestError("an instrumental has no words, but the score given has: leave out one of them")

    @property
    def wording(self) -> dict[str, str]:
        """What is asked of words that are written, by name; empty where nothing is."""
        asked = {"structure": self.structure, "rhyme": self.rhyme, "theme": self.theme}
        return {name: value for name, value in asked.items() if value}

    def _check_wording(self) -> None:
        for name in ("structure", "rhyme", "theme"):
            if not isinstance(value := getattr(self, name), str | None):
                raise RequestError(f"a {name} is text, but got {value!r}")
            object.__setattr__(self, name, (value or "").strip())
        asked = self.wording
        if not asked:
            return
        named = " and ".join(asked)
        if self.instrumental:
            raise RequestError(f"an instrumental has no words, but a {named} was asked for: leave out one")
        if self.lyrics is not None and self.lyrics.lines:
            raise RequestError(f"the words are given, so no {named} can be asked of them: leave out one")
        if self.score is not None and "structure" in asked:
            raise RequestError("the words follow either a structure or a score, but both were given")
        if self.score is not None and any(self.score.note_spans(sung=True)):
            raise RequestError(f"the score has its words, so no {named} can be asked of them: leave out one")
        if not self.structure and not self.rhyme:
            return  # whether a theme is known is for the lyric model to say
        from lyrics_llm.structure import Structure  # brings transformers, which --help doesn't need

        form = Structure.parse(self.structure) if self.structure else Structure(())
        form.rhymed(self.rhyme)
        count = sum(sum(lines) for _, lines in form.shape)
        if self.structure and not count:
            raise RequestError("the structure has no line to write: give lines such as 7R")
        check_room(count, self.seconds, "structure")

    def _check_fit(self) -> None:
        if self.score is not None:
            # Half a second of slack: the tail of a score is only its ring-out.
            if self.duration is None and not SHORTEST <= self.score.duration <= LONGEST:
                raise ScoreError(
                    f"a song lasts {SHORTEST:g} to {LONGEST:g} s, the score {self.score.duration:.1f} s"
                )
            if self.score.duration - self.score.tail > self.seconds + 0.5:
                raise ScoreError(
                    f"the score lasts {self.score.duration:.1f} s, more than the {self.seconds:g} s asked "
                    "for: leave out the duration, or shorten the score"
                )
        if self.lyrics is not None:
            check_singable(self.lyrics, self.seconds)

    def to_json(self) -> dict[str, Any]:
        """Everything but lyrics and score, as plain JSON."""
        return (
            {
                "description": self.description,
                "duration": self.seconds,
                "audience": str(self.audience),
                "seed": self.seed,
                "num_inference_steps": self.num_inference_steps,
                "guidance_scale": float(self.guidance_scale),
                "score_guidance_scale": float(self.score_guidance_scale),
                "instrumental": self.instrumental,
                "use_score": self.use_score,
                "own_lyrics": self.lyrics is not None,
                "own_score": self.score is not None,
            }
            | ({"title": self.title} if self.title else {})
            | self.wording
        )


@lru_cache(maxsize=1024)
def described_seconds(description: str) -> float | None:
    """Seconds that a description asks for, as it says them: 150 of 两分半; None where it says nothing."""
    from corpus.attributes import attributes  # brings numpy, which --help doesn't need

    seconds = attributes(description).get("duration")
    return None if seconds is None else float(seconds)


# ---- checks ------------------------------------------------------------------------------------


def check_singable(lyrics: Lyrics, seconds: float) -> None:
    """Refuse words that no one can sing in the time. Raises LyricsError with both numbers."""
    check_room(sum(len(units(line)) for line in lyrics.lines), seconds, "lyrics")


def check_room(count: int, seconds: float, what: str) -> None:
    """Refuse more syllables than can be sung in the time; `what` has them."""
    room = int(seconds * SYLLABLES_PER_SECOND)
    if count > room:
        needed = math.ceil(count / SYLLABLES_PER_SECOND)
        advice = (
            f"ask for at least {needed} s" if needed <= LONGEST else f"no song is longer than {LONGEST:g} s"
        )
        raise LyricsError(
            f"{count} syllables can't be sung in {seconds:g} s, which has room for {room}: "
            f"shorten the {what}, or {advice}"
        )


def _check_description(text: object) -> None:
    if text is not None and not isinstance(text, str):
        raise RequestError(f"a description is text, one for a song, but got {text!r}"[:200])
    if text is None or not text.strip():
        raise RequestError("the description is empty: say in a few words what song you want")
    if len(text) > LONGEST_DESCRIPTION:
        raise RequestError(
            f"a description has at most {LONGEST_DESCRIPTION} characters, but this one has {len(text)}"
        )
    fragments(text)  # refuses what is only punctuation


def _check_seconds(duration: float | None) -> None:
    if duration is not None:
        _check_number("duration in seconds", duration, SHORTEST, LONGEST)


def _check_number(name: str, value: object, low: float, high: float) -> None:
    wrong = isinstance(value, bool) or not isinstance(value, int | float)
    if wrong or not low <= float(value) <= high:  # type: ignore[arg-type]  # NaN fails the comparison
        raise RequestError(f"the {name} lies between {low:g} and {high:g}, but got {value!r}")


def _check_whole(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        shown = "2^63 - 1" if high == 2**63 - 1 else str(high)
        raise RequestError(f"the {name} is a whole number from {low} to {shown}, but got {value!r}")


def _audience(value: Any) -> Audience:
    try:
        return Audience(value)
    except ValueError:
        names = " or ".join(audience.value for audience in Audience)
        raise RequestError(f"the audience is {names}, but got {value!r}") from None


# ---- files -------------------------------------------------------------------------------------


def read_lyrics(path: str | Path) -> Lyrics:
    """Lyrics from a text, LRC or Markdown file, in UTF-8, UTF-16 with its mark, or GB18030.

    Raises:
        LyricsError: the file can't be read or holds no lyrics; names it.
    """
    return read_titled(path)[0]


def read_titled(path: str | Path, readings: str | Path | None = None) -> tuple[Lyrics, str]:
    """As `read_lyrics`, with the title that the file names, "" where it names none.

    Args:
        readings: a file of phrases and how they are read (`common.pinyin.load_overrides`).
    """
    text = _read_text(Path(path), LYRICS_SUFFIXES, LyricsError, "lyrics")
    overrides = None if readings is None else load_overrides(readings)
    try:
        return Lyrics.parse(text if overrides is None else annotate(text, overrides)), title_of(text)
    except LyricsError as error:
        raise LyricsError(f"{path}: {error}") from None


def read_structure(path: str | Path) -> str:
    """The structure in a text file. Raises RequestError naming the file."""
    return _read_text(Path(path), (".txt",), RequestError, "structure")


_LRC_TITLE = re.compile(r"^[ \t]*\[ti:([^\]\n]*)\]\s*$", re.IGNORECASE | re.MULTILINE)
_CREDITED = re.compile(r"(?:歌名|歌曲|曲名|title)\s*[:：]\s*(.+)", re.IGNORECASE)
_BEFORE_ARTIST = re.compile(r"(.+?)\s+[-–—]\s.*")


def title_of(text: str) -> str:
    """The title that lyrics name as theirs, on one line; "" where they name none.

    LRC's `[ti:…]` counts first, then a line above the words that isn't sung: `《月光》`, `# 月光`,
    `歌名：月光`, or `月光 - 某人` of a timed file.
    """
    if (named := _LRC_TITLE.search(text)) and named[1].strip():
        return named[1].strip()
    for row in rows(text):
        if row.kind == "credit" and (credited := _CREDITED.fullmatch(row.text)):
            return credited[1].strip("《》 \t")
        if row.kind == "title":
            quoted, shown = re.search("《([^《》]+)》", row.text), row.text.lstrip("#").strip()
            by_artist = _BEFORE_ARTIST.fullmatch(shown) if row.text == shown else None
            return quoted[1].strip() if quoted else by_artist[1] if by_artist else shown
    return ""


def read_score(path: str | Path) -> Score:
    """A score from an ABC or MIDI file. Raises ScoreError naming the file."""
    path = Path(path)
    try:
        if path.suffix.lower() == ".abc":
            from common.abc import from_abc

            return from_abc(_read_text(path, SCORE_SUFFIXES, ScoreError, "score"))
        _check_file(path, SCORE_SUFFIXES, ScoreError, "score")
        from common.midi import from_midi

        return from_midi(path)
    except ScoreError as error:
        told = str(error)
        raise ScoreError(told if str(path) in told else f"{path}: {told}") from None


Fault = type[LyricsError] | type[ScoreError] | type[RequestError]


def _check_file(path: Path, suffixes: tuple[str, ...], fault: Fault, what: str) -> None:
    if path.suffix.lower() not in suffixes:
        raise fault(f"the {what} are read from {' or '.join(suffixes)}, but the file given is {str(path)!r}")
    if not path.is_file():
        raise fault(f"there is no {what} file {str(path)!r}")
    if path.stat().st_size > LARGEST_FILE:
        raise fault(
            f"the {what} file {str(path)!r} has {path.stat().st_size} bytes, at most {LARGEST_FILE} are read"
        )


def _read_text(path: Path, suffixes: tuple[str, ...], fault: Fault, what: str) -> str:
    _check_file(path, suffixes, fault, what)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise fault(f"can't read the {what} file {str(path)!r}: {error.strerror}") from None
    text, encoding = _decoded(data)
    if text is None:
        raise fault(
            f"the {what} file {str(path)!r} isn't UTF-8 text, nor UTF-16 or GB18030: save it as UTF-8"
        )
    if encoding != "UTF-8":
        logger.warning("the %s file %r isn't UTF-8: it was read as %s", what, str(path), encoding)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _decoded(data: bytes) -> tuple[str | None, str]:
    """The text of a file and its encoding; None when it is in none of those that are tried."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encodings = [("utf-16", "UTF-16")]
    else:
        encodings = [("utf-8-sig", "UTF-8"), ("gb18030", "GB18030")]
    for codec, name in encodings:
        try:
            text = data.decode(codec)
        except UnicodeDecodeError:
            continue
        if name != "GB18030" or _is_mostly_chinese(text):
            return text, name
    return None, ""


def _is_mostly_chinese(text: str) -> bool:
    """Whether what isn't ASCII are Chinese characters in common use and their signs (`_MOSTLY`)."""
    beyond = [character for character in text if not character.isascii()]
    chinese = sum(map(_is_common, beyond))
    return chinese >= _MOSTLY * len(beyond)


def _is_common(character: str) -> bool:
    if "\u4e00" <= character <= "\u9fff":
        try:
            return bool(character.encode("gb2312"))
        except UnicodeEncodeError:
            return False
    return "\u3000" <= character <= "\u303f" or "\uff00" <= character <= "\uffef" or character in "“”‘’…—·"
