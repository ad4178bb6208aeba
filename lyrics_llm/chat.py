"""Any Qwen3 as the writer: chat prompts, and the same grammars over its own tokens.

    writer = ChatWriter.from_pretrained("Qwen/Qwen3-4B-Instruct-2507", four_bit=True)
    words = lyrics_llm.write("一首下雨天想家的慢歌", structure, seed=1, model=writer)

Words are written as text in tokens of several characters (`lyrics_llm.pieces`); plans and scores
token by token of `lyrics_llm.tokens`, each spelt out in the model's own (`spelt_out`). So whatever
the model, what it writes has the asked form. Prompts are those that `lyrics_llm.qlora` trains on.
"""

import logging
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from common.description import fragments, normalise
from common.errors import CheckpointError, LyricsError
from common.lyrics import Lyrics, LyricSection
from common.pinyin import plain
from common.score import Score
from common.seeds import derive_seed
from lyrics_llm import requested
from lyrics_llm import tokens as t
from lyrics_llm.constrain import Choice, Ids, Words, plan_grammar, score_grammar
from lyrics_llm.limits import Limit, finished
from lyrics_llm.pieces import Language, Pieces, lyrics_text, text_grammar
from lyrics_llm.sample import Temper, write
from lyrics_llm.sequence import plan_tokens
from lyrics_llm.sketch import SongSketch
from lyrics_llm.structure import FREE, OPEN, Structure
from lyrics_llm.themes import Themes
from lyrics_llm.tokens import Vocabulary
from lyrics_llm.wishes import tokens_of, wishes_of
from lyrics_llm.writer import (
    Keep,
    aligned_words,
    fitted_sketch,
    made_score,
    made_sketch,
)

logger = logging.getLogger(__name__)

DEFAULT = "Qwen/Qwen3-4B-Instruct-2507"
SYSTEM = "你是一位词曲作者，按要求写能唱的歌词和旋律。只写要求的内容，不作解释。"
_TEMPERS = {
    "lyrics": Temper(0.8, 0.08),
    "plan": Temper(0.7, 0.05),
    "score": Temper(0.8, 0.05),
    "themes": Temper(0.3, 0.3),
}
_LANGUAGES = {"zh": "中文", "mixed": "中文，可以夹英文", "en": "英文"}
# ChatML, for a tokenizer that brings no template of its own.
_CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
END_OF_TURN = "<|im_end|>"

Message = dict[str, str]


# ---- prompts -----------------------------------------------------------------------------------


def lyrics_messages(
    description: str,
    structure: Structure,
    theme: str | None = None,
    language: Language = "zh",
    lyrics: Lyrics | None = None,
) -> list[Message]:
    """What is asked for words.

    Args:
        lyrics: the words before, when some of them are to be written anew.
    """
    asked = [f"写一首歌的歌词。\n描述：{normalise(description)}"]
    if theme:
        asked.append(f"主题：{theme}")
    if language != "zh":
        asked.append(f"语言：{_LANGUAGES[language]}")
    groups = {form.group for _, lines in structure.sections for form in lines if form.group}
    if groups:
        asked.append(f"韵：{'、'.join(sorted(groups))}")
    asked.append(f"结构（c是一个字，R是押韵的字）：\n{str(structure).rstrip()}")
    if lyrics is not None:
        asked.append(f"原来的歌词：\n{lyrics_text(lyrics)}")
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "\n".join(asked)}]


def plan_messages(description: str) -> list[Message]:
    """What is asked for a plan."""
    asked = f"为一首歌定下风格、情绪、主题、歌手、速度、调和乐器。\n描述：{normalise(description)}"
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": asked}]


def score_messages(description: str, sketch: SongSketch, lyrics: Lyrics) -> list[Message]:
    """What is asked for a lead sheet."""
    plan = " ".join(map(spelling, plan_tokens(sketch)))
    asked = f"为歌词谱曲。\n描述：{normalise(description)}\n计划：{plan}\n歌词：\n{lyrics_text(lyrics)}"
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": asked}]


def theme_messages(lyrics: Lyrics) -> list[Message]:
    """What is asked for the themes of lyrics."""
    asked = f"用几个词概括这首歌词的主题，每个词二到六个字，只用歌词里说到的。\n{lyrics_text(lyrics)}"
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": asked}]


def prompt_ids(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> list[int]:
    """The messages as the beginning of the model's answer, without its thinking."""
    text = tokenizer.apply_chat_template(
        list(messages),
        tokenize=False,
        add_generation_prompt=True,
        enable_thinking=False,
        chat_template=tokenizer.chat_template or _CHATML,
    )
    return list(tokenizer.encode(text, add_special_tokens=False))


# ---- words of the vocabulary in the model's own tokens -------------------------------------------


def spelling(name: str) -> str:
    """How a word of `lyrics_llm.tokens` is written in an answer: `<note:0:6>` is `note:0:6;`."""
    return name.strip("<>") + ";"


def spelt_out(
    grammar: Generator[Ids, int, Any],
    vocabulary: Vocabulary,
    pieces: Pieces,
    known: dict[int, tuple[int, ...]],
) -> Generator[Ids, int, Any]:
    """A grammar over the vocabulary as one over the model's tokens.

    No spelling begins with another (each ends in `;`), so that a walk over the tokens of the
    allowed ones ends at exactly one.

    Args:
        known: keeps the tokens of words, by their id.
    """
    allowed = next(grammar)
    while True:
        paths = {}
        for word in allowed.tolist():
            if word not in known:
                known[word] = tuple(pieces.encode(spelling(vocabulary.names[word])))
            paths[known[word]] = word
        depth = 0
        while len(paths) > 1 or depth < len(next(iter(paths))):
            token = yield np.array(sorted({path[depth] for path in paths}), np.int64)
            paths = {path: word for path, word in paths.items() if path[depth] == token}
            depth += 1
        try:
            allowed = grammar.send(next(iter(paths.values())))
        except StopIteration as end:
            return end.value


# ---- the writer --------------------------------------------------------------------------------


class ChatWriter:
    """A chat model that writes words, plans and scores."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model, self.tokenizer = model.eval(), tokenizer
        self._spelt: dict[int, tuple[int, ...]] = {}

    @classmethod
    def from_pretrained(
        cls, name: str | Path = DEFAULT, adapter: str | Path | None = None, four_bit: bool = False
    ) -> "ChatWriter":
        """Load a Qwen3 of the hub or of a folder.

        Args:
            adapter: folder of a LoRA adapter.
            four_bit: keep its linear layers in NF4, double quantised: a quarter of the memory.
        Raises:
            CheckpointError: it can't be read, or the adapter changes nothing.
        """
        from lyrics_llm.qlora import load_adapter, load_base

        model, tokenizer = load_base(name, four_bit)
        if adapter is not None:
            model = load_adapter(model, adapter)
        return cls(model, tokenizer)

    @cached_property
    def pieces(self) -> Pieces:
        return Pieces(self.tokenizer)

    @cached_property
    def words(self) -> Words:
        return Words(Vocabulary(t.build()))

    def structure(self, description: str, seed: int = 0, duration: float = 30.0) -> Structure:
        """The form of a song of so many seconds; what the description says outright is heeded."""
        return Structure.of(self.plan(description, seed, duration).shape)

    def write(
        self,
        description: str,
        plan: SongSketch | Structure | None = None,
        seed: int = 0,
        duration: float = 30.0,
        keep: Keep | None = None,
        limit: Limit | None = None,
        replaced: Lyrics | None = None,
        theme: str | None = None,
        language: Language = "zh",
    ) -> Lyrics:
        """As `lyrics_llm.writer.Writer.write`; lines whose rhyme is left open rhyme in AABA."""
        if plan is None:
            plan = self.structure(description, seed, duration)
        form = Structure.of(plan.shape) if isinstance(plan, SongSketch) else plan
        form = form if language == "en" else _rhyming(form)
        done: list[list[str]] = []
        avoid = [*fragments(description), *(replaced.lines if replaced else ())]
        grammar = text_grammar(self.pieces, form, language, avoid, keep, done)
        prompt = prompt_ids(self.tokenizer, lyrics_messages(description, form, theme, language, replaced))
        words = self._run("lyrics", prompt, grammar, seed, limit)
        if words is None:
            words = finished(form, done, theme or "", "", seed, english=language == "en")
            if keep is not None:
                words = Lyrics(
                    tuple(
                        LyricSection(s.tag, tuple(old or new for old, new in zip(lines, s.lines)))
                        for s, lines in zip(words.sections, keep)
                    )
                )
        return words if language != "zh" else form.spaced(words)

    def plan(self, description: str, seed: int = 0, duration: float = 30.0, **fixed: Any) -> SongSketch:
        """As `lyrics_llm.writer.Writer.plan`."""
        wishes = wishes_of(description, fixed, hints=False)
        grammar = plan_grammar(self.words, tokens_of(wishes))
        prompt = prompt_ids(self.tokenizer, plan_messages(description))
        fields = self._run("plan", prompt, self._spelled(grammar), seed)
        return made_sketch(fields, wishes, duration, seed, requested.forms(description))

    def compose(
        self, lyrics: Lyrics, plan: SongSketch | str, duration: float = 30.0, seed: int = 0, **fixed: Any
    ) -> Score:
        """As `lyrics_llm.writer.Writer.compose`."""
        description = plan if isinstance(plan, str) else ""
        sketch = self.plan(plan, seed, duration, **fixed) if isinstance(plan, str) else plan
        sketch = fitted_sketch(sketch, lyrics)
        words = aligned_words(lyrics, sketch)
        prompt = prompt_ids(self.tokenizer, score_messages(description, sketch, words))
        sections = self._run("score", prompt, self._spelled(score_grammar(self.words, sketch, words)), seed)
        return made_score(sketch, sections)

    def themes(self, lyrics: Lyrics, seed: int = 0) -> Themes:
        """Up to three words for what lyrics are about, of two to six characters.

        A word of which no character stands in the lyrics is left out with a warning.

        Raises:
            LyricsError: there are no lines.
        """
        if not lyrics.lines:
            raise LyricsError("there are no lines to find a theme in")
        prompt = prompt_ids(self.tokenizer, theme_messages(lyrics))
        said = self._run("themes", prompt, _theme_grammar(self.pieces), seed)
        sung = set(plain("".join(lyrics.lines)))
        strange = [word for word in said if not set(word) & sung]
        if strange:
            logger.warning(
                "the model's themes %s have nothing of the lyrics and are left out", "、".join(strange)
            )
        return Themes(None, tuple(word for word in dict.fromkeys(said) if word not in strange))

    def _spelled(self, grammar: Generator[Ids, int, Any]) -> Generator[Ids, int, Any]:
        return spelt_out(grammar, self.words.vocabulary, self.pieces, self._spelt)

    def _run(
        self,
        task: str,
        prompt: list[int],
        grammar: Generator[Any, int, Any],
        seed: int,
        limit: Limit | None = None,
    ) -> Any:
        source = torch.Generator().manual_seed(derive_seed(seed, "chat", task))
        pad = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else 0
        return write(self.model, [prompt], [grammar], [source], _TEMPERS[task], pad, limit)[0][0]


def _rhyming(form: Structure) -> Structure:
    """Rhymes where the form leaves them open: all lines of a section, of four the third doesn't."""

    def marked(lines: Sequence[Any]) -> Iterator[Any]:
        for index, line in enumerate(lines):
            free = len(lines) == 1 or (len(lines) % 4 == 0 and index % 4 == 2)
            yield replace(line, mark=FREE if free else "A") if line.mark == OPEN else line

    return Structure(tuple((tag, tuple(marked(lines))) for tag, lines in form.sections))


def _theme_grammar(pieces: Pieces) -> Generator[Ids | Choice, int, list[str]]:
    """One to three words of two to six characters, each behind a 、 but the first."""
    comma, stop = pieces.encode("、")[:1], pieces.encode("\n")[:1]
    words: list[str] = [""]
    while True:
        size = len(words[-1])
        allowed = [pieces.fitting(7 - size)] if size < 6 else []
        if size >= 2:
            allowed += [np.array(stop, np.int64)] + [np.array(comma, np.int64)] * (len(words) < 3)
        token = yield np.concatenate(allowed)
        if size >= 2 and token in stop:
            return words
        if size >= 2 and token in comma:
            words.append("")
        else:
            words[-1] += pieces.texts[token]


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, where: str | Path) -> None:
    """Raises CheckpointError when a tokenizer can't end a turn of a chat."""
    if END_OF_TURN not in tokenizer.get_vocab():
        raise CheckpointError(f"{where} isn't a Qwen3 chat model: its tokenizer has no {END_OF_TURN}")
