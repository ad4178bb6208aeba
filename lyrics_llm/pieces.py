"""The tokens of any tokenizer as pieces of lyric lines, and the grammar of lyrics over them.

A real Qwen3's tokens are several characters long. The grammar here speaks the protocol of
`lyrics_llm.constrain`, over those tokens: headings and line breaks are forced, a line is filled
with tokens that leave exactly its syllables, and its last one rhymes as asked. What only the
words before a token decide (the rhyme of a polyphone, a copied phrase) is checked when the token
is drawn.
"""

import re
from collections.abc import Generator, Iterator, Sequence
from functools import cached_property
from typing import Literal

import numpy as np
from transformers import PreTrainedTokenizerBase

from common.errors import RequestError
from common.lyrics import Lyrics, LyricSection
from common.pinyin import units
from common.rhyme import GROUPS, group
from lyrics_llm.constrain import Choice, Ids
from lyrics_llm.structure import FREE, OPEN, LineForm, Structure

Language = Literal["zh", "mixed", "en"]
_HAN = re.compile("[\u4e00-\u9fff]+")
_WORD = re.compile(" ?[A-Za-z][a-z]*(?:'[a-z]+)?")  # a Latin word; those of several tokens aren't written
_COPIED = 5  # characters in a row that stand elsewhere
_STUTTER = 3  # the same character so often in a row
_ENOUGH = 12  # characters of a rhyme from which it can be chosen


class Pieces:
    """What the tokens of a tokenizer say."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        special = set(tokenizer.all_special_ids)
        self.texts = [
            "" if i in special else tokenizer.convert_tokens_to_string([token])
            for i, token in enumerate(tokenizer.convert_ids_to_tokens(list(range(len(tokenizer)))))
        ]

    def encode(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    @cached_property
    def han(self) -> dict[int, Ids]:
        """Ids of tokens that are so many Han characters."""
        found: dict[int, list[int]] = {}
        for i, text in enumerate(self.texts):
            if _HAN.fullmatch(text):
                found.setdefault(len(text), []).append(i)
        if not found.get(1):
            raise RequestError("the model's tokenizer has no token that is one Chinese character")
        return {count: np.array(ids, np.int64) for count, ids in sorted(found.items())}

    @cached_property
    def rhyming(self) -> dict[tuple[int, str], Ids]:
        """Of those, the ones that end in a rhyme group."""
        found: dict[tuple[int, str], list[int]] = {}
        for count, ids in self.han.items():
            for i in ids:
                found.setdefault((count, group(self.texts[i])), []).append(int(i))
        return {key: np.array(ids, np.int64) for key, ids in found.items()}

    @cached_property
    def words(self) -> tuple[Ids, Ids]:
        """Latin words: those without and those with a space before them."""
        found = [i for i, s in enumerate(self.texts) if _WORD.fullmatch(s) and len(units(s)) == 1]
        bare = [i for i in found if not self.texts[i].startswith(" ")]
        spaced = [i for i in found if self.texts[i].startswith(" ")]
        return np.array(bare, np.int64), np.array(spaced, np.int64)

    def groups(self) -> list[str]:
        """Rhyme groups that enough characters have."""
        return [g for g in GROUPS if len(self.rhyming.get((1, g), ())) >= _ENOUGH]

    def fitting(self, left: int, track: str | None = None) -> Ids:
        """Chinese tokens of at most `left` characters; those that use all of them end in the group."""
        out = [ids for count, ids in self.han.items() if count < left]
        if left in self.han:
            ends = self.han[left] if track is None else self.rhyming.get((left, track), self.han[left][:0])
            out.append(ends)
        return np.concatenate(out) if out else np.array([], np.int64)


def lyrics_text(lyrics: Lyrics) -> str:
    """What the model writes: the canonical form, without the last line break."""
    return str(lyrics).rstrip("\n")


def text_grammar(
    pieces: Pieces,
    structure: Structure,
    language: Language = "zh",
    avoid: Sequence[str] = (),
    keep: Sequence[Sequence[str | None]] | None = None,
    done: list[list[str]] | None = None,
) -> Generator[Ids | Choice, int, Lyrics]:
    """Lyrics of a structure, as text in their canonical form.

    Args:
        avoid: texts of which no long piece may be copied.
        keep: lines that are written already, None for those to write.
        done: gets the lines of every section as they are finished.
    Raises:
        RequestError: no token rhymes as asked, or rhymes are asked of English lines.
    """
    _check(pieces, structure, language)
    done = [] if done is None else done
    for number, (tag, forms) in enumerate(structure.sections):
        done.append([])
        if keep is not None and not any(line is None for rest in keep[number:] for line in rest):
            done[-1] += [line for line in keep[number] if line is not None]
            continue
        yield from _forced(pieces, ("\n\n" if number else "") + f"<{tag}>" + ("\n" if forms else ""))
        ours = keep[number] if keep is not None else [None] * len(forms)
        written = {f.mark: group(line) for f, line in zip(forms, ours) if line is not None and group(line)}
        letters = {mark: track for mark, track in written.items() if mark not in (OPEN, FREE)}
        for index, (form, given) in enumerate(zip(forms, ours)):
            if index:
                yield from _forced(pieces, "\n")
            if given is not None:
                yield from _forced(pieces, given)
                done[-1].append(given)
                continue
            later = [] if keep is None else [line for rest in keep[number:] for line in rest if line]
            others = [*avoid, *later, *(line for lines in done for line in lines)]
            line = yield from _line(pieces, form, letters, others, language)
            if form.mark not in (OPEN, FREE):
                letters.setdefault(form.mark, group(line))
            done[-1].append(line)
    return Lyrics(tuple(LyricSection(tag, tuple(lines)) for (tag, _), lines in zip(structure.sections, done)))


def _check(pieces: Pieces, structure: Structure, language: Language) -> None:
    forms = [form for _, lines in structure.sections for form in lines]
    asked = {form.group for form in forms if form.group}
    if language == "en" and any(form.mark not in (OPEN, FREE) for form in forms):
        raise RequestError("rhymes are asked of Chinese lines: leave them out for English ones")
    for name in asked:
        if not len(pieces.rhyming.get((1, name), ())):
            raise RequestError(f"the model's tokenizer has no character that rhymes on {name}")


def _forced(pieces: Pieces, text: str) -> Iterator[Ids]:
    for token in pieces.encode(text):
        yield np.array([token], np.int64)


def _line(
    pieces: Pieces, form: LineForm, letters: dict[str, str], others: Sequence[str], language: Language
) -> Generator[Ids | Choice, int, str]:
    tracks: list[str] | None = None
    if form.mark not in (OPEN, FREE):
        known = form.group or letters.get(form.mark)
        tracks = [known] if known else [g for g in pieces.groups() if g not in letters.values()]
    line = ""
    copies = _Copies(others)

    def good(token: int) -> bool:
        text = line + pieces.texts[token]
        count = len(units(text))
        if count == form.count and tracks is not None and group(text) not in tracks:
            return False
        return not copies.in_(text, len(line), count == form.count)

    while left := form.count - len(units(line)):
        token = yield Choice(_allowed(pieces, line, left, language, tracks), good)
        line += pieces.texts[token]
    return line


def _allowed(pieces: Pieces, line: str, left: int, language: Language, tracks: list[str] | None) -> Ids:
    """The tokens that a line may go on with."""
    single = tracks[0] if tracks is not None and len(tracks) == 1 else None
    out = [pieces.fitting(left, single)] if language != "en" and left else []
    if language != "zh" and left > (tracks is not None):  # the rhyme is on a Chinese character
        bare, spaced = pieces.words
        out.append(spaced if line and line[-1].isascii() else bare)
    return np.concatenate(out) if out else np.array([], np.int64)


class _Copies:
    """Whether text repeats other lines or itself."""

    def __init__(self, others: Sequence[str]) -> None:
        self.lines = frozenset(others)
        pieces = (s[i : i + _COPIED] for s in others for i in range(len(s) - _COPIED + 1))
        self.seen = {piece for piece in pieces if _HAN.fullmatch(piece)}

    def in_(self, text: str, start: int, ends: bool) -> bool:
        """Whether what was added from `start` on stutters, copies a piece, or makes a whole line again."""
        for end in range(max(start + 1, _STUTTER), len(text) + 1):
            if len(set(text[end - _STUTTER : end])) == 1 or text[end - _COPIED : end] in self.seen:
                return True
            if any(_HAN.fullmatch(text[end - n : end]) and text[end - 2 * n : end - n] == text[end - n : end]
                   for n in range(3, end // 2 + 1)):  # fmt: skip
                return True
        return ends and text.strip() in self.lines
