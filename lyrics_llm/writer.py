"""The writer: a description becomes a plan, a plan lyrics, lyrics their lead sheet.

    writer = Writer.from_pretrained("runs/lyrics/model")
    sketch = writer.plan("一首下雨天想家的慢歌，女声，钢琴", seed=1, duration=30)
    lyrics = writer.write("一首下雨天想家的慢歌，女声，钢琴", sketch, seed=1)
    score = writer.compose(lyrics, sketch, seed=1)

The same model, request and seed give the same song. What a description says outright (tempo in
numbers, key, singer, an instrumental, instruments, genre) is kept; the model decides the rest, of themes
among those that suit the occasion, the singer and the mood (`lyrics_llm.occasions`).
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen3ForCausalLM

from common.description import fragments, normalise, simplified
from common.lyrics import Lyrics, LyricSection, SectionTag
from common.pinyin import units
from common.score import Score
from common.seeds import derive_seed, generator
from common.theory import Key
from corpus.forms import FormSection, form
from corpus.genres import GENRES
from lyrics_llm import model as models
from lyrics_llm import requested, suiting
from lyrics_llm import tokens as t
from lyrics_llm.constrain import Ahead, Words, lyrics_grammar, plan_grammar, score_grammar
from lyrics_llm.limits import Limit, finished
from lyrics_llm.sample import Temper, write
from lyrics_llm.sequence import lyrics_tokens, plan_tokens, prompt_tokens
from lyrics_llm.singable import SLOW
from lyrics_llm.sketch import FAST, MOST_BARS, SongSketch, counts_of, form_for, natural_duration
from lyrics_llm.structure import Structure
from lyrics_llm.tokens import Vocabulary
from lyrics_llm.wishes import refuses_drums, say_nearest, tokens_of, wishes_of

logger = logging.getLogger(__name__)

Shape = Sequence[tuple[SectionTag, Sequence[int]]]
Keep = Sequence[Sequence[str | None]]  # lines of sections; None for those to write
_MOST_DESCRIPTION = 400  # characters that the model reads
_TEMPERS = {"plan": Temper(0.7, 0.05), "lyrics": Temper(0.75, 0.08), "score": Temper(0.8, 0.05)}
_DRAFTS = 48  # of a line of words
_SUNG = 0.6  # least share of a song's bars that has words: who asks for a short song wants to hear it sung


class Writer:
    """A lyric model with its vocabulary. `model` may be moved to a device; draws stay on the CPU."""

    def __init__(self, model: Qwen3ForCausalLM, vocabulary: Vocabulary) -> None:
        self.model, self.vocabulary = model.eval(), vocabulary

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "Writer":
        """Read a folder of `save_pretrained`. Raises CheckpointError naming it."""
        return cls(*models.load(folder))

    def save_pretrained(self, folder: str | Path) -> None:
        models.save(self.model, self.vocabulary, folder)

    @cached_property
    def words(self) -> Words:
        return Words(self.vocabulary)

    # ---- one song ------------------------------------------------------------------------

    def plan(self, description: str, seed: int = 0, duration: float = 30.0, **fixed: Any) -> SongSketch:
        """Decide a song of exactly `duration` seconds.

        Args:
            description: in plain Chinese.
            fixed: fields that the caller decides: genre, mood, theme, singer (female, male, child,
                none), tempo (quarter notes a minute), key (`Key` or "A minor"), swing, harmony and
                lead (instruments in Chinese). They win over the description.
        Raises:
            RequestError: the description is empty, a field is unknown, or no form fills the duration.
        """
        return self.plans([description], [seed], [duration], fixed)[0]

    def write(
        self,
        description: str,
        plan: SongSketch | Structure | Shape | None = None,
        seed: int = 0,
        duration: float = 30.0,
        keep: Keep | None = None,
        limit: Limit | None = None,
        replaced: Lyrics | None = None,
        **fixed: Any,
    ) -> Lyrics:
        """Write the words of a plan.

        Args:
            plan: from `plan`; or a structure; or sections with the syllables of every line, such as
                `[("verse", (7, 7)), ("chorus", (5, 5))]`; or None to plan here.
            keep: lines that are written already, None for those to write; with a structure.
            limit: where it is reached, the words are finished from the book of phrases.
            replaced: words of which no long piece may be copied.
            duration, fixed: of `plan`, when no sketch is given.
        Raises:
            RequestError, LyricsError: the request can't be served.
        """
        if isinstance(plan, SongSketch):
            say_nearest(description, plan.singer, plan.theme)
            return self.writes([description], [plan], [seed], limit=limit)[0]
        sketch = self.plan(description, seed, duration, **fixed)
        say_nearest(description, sketch.singer, sketch.theme)
        structure = Structure.of(sketch.shape if plan is None else plan)
        if plan is not None:
            sections = tuple(FormSection(tag, 1, tuple(counts)) for tag, counts in structure.shape)
            sketch = replace(_singing(sketch, True), form=sections)
        return self.writes([description], [sketch], [seed], [structure], [keep], limit, replaced)[0]

    def structure(self, description: str, seed: int = 0, duration: float = 30.0) -> Structure:
        """The form that `write` gives a song of so many seconds."""
        return Structure.of(self.plan(description, seed, duration).shape)

    def compose(
        self,
        lyrics: Lyrics,
        plan: SongSketch | str,
        duration: float = 30.0,
        seed: int = 0,
        **fixed: Any,
    ) -> Score:
        """Set words to music: a score of exactly the plan's duration.

        Args:
            lyrics: anybody's; where they aren't of the plan's form, the form is made for them.
            plan: from `plan`, or a description to plan for.
            duration, fixed: of `plan`, when a description is given.
        Raises:
            LyricsError: the words can't be sung in the duration; the message has both numbers.
        """
        description = ""
        if isinstance(plan, str):
            description, plan = plan, self.plan(plan, seed, duration, **fixed)
        return self.composes([lyrics], [plan], [seed], [description])[0]

    # ---- many songs at a time ------------------------------------------------------------

    def plans(
        self,
        descriptions: Sequence[str],
        seeds: Sequence[int],
        durations: Sequence[float],
        fixed: Mapping[str, Any] | None = None,
        read: bool = True,
    ) -> list[SongSketch]:
        """As `plan`. `read=False` leaves what a description says outright to the model, to measure it."""
        wishes = [wishes_of(text, fixed or {}, read) for text in descriptions]
        for wish in wishes:
            self._pass_over_unknown(wish)
            if read:  # a theme that nobody has named suits the mood that is chosen before it
                wish.setdefault("theme", lambda chosen: suiting.themes(None, chosen["mood"]))
                for name in ("mood", "harmony", "lead"):
                    if not isinstance(wish.get(name), str):
                        wish[name] = partial(suiting.at_home, name, wished=wish.get(name))
        chosen, _ = self._run(
            "plan",
            [self.prompt(text) for text in descriptions],
            [plan_grammar(self.words, tokens_of(wish)) for wish in wishes],
            seeds,
        )
        return [
            replace(
                made_sketch(fields, wish, seconds, seed, requested.forms(text) if read else ()),
                drums=not (read and refuses_drums(text)),
            )
            for fields, wish, seconds, seed, text in zip(chosen, wishes, durations, seeds, descriptions)
        ]

    def _pass_over_unknown(self, wish: dict[str, Any]) -> None:
        """Of words that the model was trained without, say so and let it choose."""
        theme = wish.get("theme")
        if isinstance(theme, tuple):
            wish["theme"] = tuple(one for one in theme if f"<theme:{one}>" in self.vocabulary.ids)
        if isinstance(theme, str) and f"<theme:{theme}>" not in self.vocabulary.ids:
            logger.warning("the lyric model doesn't know the theme %s: it chooses one", wish.pop("theme"))

    def writes(
        self,
        descriptions: Sequence[str],
        sketches: Sequence[SongSketch],
        seeds: Sequence[int],
        structures: Sequence[Structure] | None = None,
        keep: Sequence[Keep | None] | None = None,
        limit: Limit | None = None,
        replaced: Lyrics | None = None,
    ) -> list[Lyrics]:
        """As `write`.

        Args:
            structures: rhymes and pauses beside the sketches' lines and syllables.
            keep: lines of each song that are written already, None for those to write.
        """
        forms = structures or [Structure.of(sketch.shape) for sketch in sketches]
        keeps = keep or [None] * len(forms)
        done: list[list[list[str]]] = [[] for _ in forms]
        aheads = [Ahead(sketch.theme) for sketch in sketches]
        grammars = [
            lyrics_grammar(
                self.words,
                form.shape,
                forms=[lines for _, lines in form.sections],
                avoid=[*fragments(text), *(replaced.lines if replaced else ())],
                keep=kept,
                done=lines,
                ahead=ahead,
            )
            for text, form, kept, lines, ahead in zip(descriptions, forms, keeps, done, aheads)
        ]
        prompts = [
            self.prompt(text) + self.vocabulary.encode([*plan_tokens(sketch), t.LYRICS])
            for text, sketch in zip(descriptions, sketches)
        ]
        written = self._run("lyrics", prompts, grammars, seeds, limit, aheads)[0]
        return [
            form.spaced(words) if words is not None else self._unfinished(form, kept, lines, sketch, seed)
            for form, words, kept, lines, sketch, seed in zip(forms, written, keeps, done, sketches, seeds)
        ]

    def _unfinished(
        self, form: Structure, kept: Keep | None, done: list[list[str]], sketch: SongSketch, seed: int
    ) -> Lyrics:
        """The words when the limit was reached before their end."""
        words = finished(form, done, sketch.theme, sketch.mood, seed)
        if kept is not None:
            pairs = zip(words.sections, kept)
            words = Lyrics(
                tuple(
                    LyricSection(s.tag, tuple(old or new for old, new in zip(lines, s.lines)))
                    for s, lines in pairs
                )
            )
        return form.spaced(words)

    def composes(
        self,
        lyrics: Sequence[Lyrics],
        sketches: Sequence[SongSketch],
        seeds: Sequence[int],
        descriptions: Sequence[str] | None = None,
    ) -> list[Score]:
        """As `compose`."""
        texts = descriptions or [""] * len(lyrics)
        fitted = [fitted_sketch(sketch, words) for sketch, words in zip(sketches, lyrics)]
        aligned = [aligned_words(words, sketch) for words, sketch in zip(lyrics, fitted)]
        prompts = []
        for text, sketch, words in zip(texts, fitted, aligned):
            rest = [*plan_tokens(sketch), t.LYRICS, *lyrics_tokens(self.vocabulary, words), t.SCORE]
            prompts.append(self.prompt(text) + self.vocabulary.encode(rest))
        grammars = [score_grammar(self.words, sketch, words) for sketch, words in zip(fitted, aligned)]
        sections, _ = self._run("score", prompts, grammars, seeds)
        return [made_score(sketch, written) for sketch, written in zip(fitted, sections)]

    def prompt(self, description: str) -> list[int]:
        """The description as the beginning of a row of tokens."""
        text = simplified(normalise(description))
        if len(text) > _MOST_DESCRIPTION:
            logger.warning("of the description the first %d characters are read", _MOST_DESCRIPTION)
        return self.vocabulary.encode(prompt_tokens(self.vocabulary, text[:_MOST_DESCRIPTION]))

    def _run(
        self,
        task: str,
        prompts: list,
        grammars: list,
        seeds: Sequence[int],
        limit: Limit | None = None,
        aheads: Sequence[Ahead] | None = None,
    ) -> tuple[list, list]:
        generators = [torch.Generator().manual_seed(derive_seed(seed, "writer", task)) for seed in seeds]
        pad = self.vocabulary.ids[t.PAD]
        temper = _TEMPERS[task]
        return write(self.model, prompts, grammars, generators, temper, pad, limit, aheads, _DRAFTS)


# ---- sketches ----------------------------------------------------------------------------------


def made_sketch(
    fields: Mapping[str, str],
    wishes: Mapping[str, Any],
    duration: float,
    seed: int,
    choices: Sequence[tuple[requested.Tags, ...]] = (),
) -> SongSketch:
    """The sketch of chosen fields: exact where numbers were given, its form drawn from the seed.

    Args:
        choices: of `lyrics_llm.requested.forms`; it is said where none of these forms fits the duration.
    """
    exact = {k: float(v) for k, v in wishes.items() if k in ("tempo", "swing") and isinstance(v, float | int)}
    tempo = exact.get("tempo", float(fields["tempo"]))
    for among in choices or [()]:
        shape = form(
            duration,
            tempo,
            rng=generator(seed, "form of the writer"),
            instrumental=fields["singer"] == "none",
            density=GENRES[fields["genre"]].density if fields["genre"] in GENRES else 1.0,
            sung=_SUNG,
            solos=isinstance(wishes.get("lead"), str),
            exact="tempo" in exact,
            among=among,
        )
        tags = tuple(section.tag for section in shape.sections)
        if tags in among:
            break
    else:
        if choices:
            logger.warning(
                "the form that was asked for doesn't fill %g s at %.0f quarter notes a minute: it is %s",
                duration, shape.fit.tempo, "-".join(tags),
            )  # fmt: skip
    return SongSketch(
        fields["genre"], fields["mood"], fields["theme"], fields["singer"], shape.fit.tempo,
        Key(int(fields["tonic"]), fields["scale"]), exact.get("swing", float(fields["swing"])),
        fields["harmony"], fields["lead"], duration, shape.fit.lead_in, shape.fit.tail, shape.sections,
    )  # fmt: skip


def _singing(sketch: SongSketch, words: bool) -> SongSketch:
    """A singer for words, none without."""
    if words and sketch.singer == "none":
        logger.warning("there are words to sing, so a singer is chosen where none was planned")
        return replace(sketch, singer="female")
    return sketch if words else replace(sketch, singer="none")


def fitted_sketch(sketch: SongSketch, lyrics: Lyrics) -> SongSketch:
    """The sketch whose form fits the words, which is the given one where it already does.

    What of the lyrics isn't kept or suits the duration badly is said: lines without a syllable, times,
    sections that are too long for one, words that are too many or too few.

    Raises:
        LyricsError: they can't be sung in the duration.
    """
    say_unkept(lyrics)
    shape = counts_of(lyrics)
    sketch = _singing(sketch, any(counts for _, counts in shape))
    if [(tag, tuple(counts)) for tag, counts in sketch.shape] != shape:
        sections, tempo, lead_in, tail = form_for(shape, sketch.duration, sketch.tempo, exact=True)
        sketch = replace(sketch, form=sections, tempo=tempo, lead_in=lead_in, tail=tail)
        _say_few(sketch, lyrics, shape)
    bar = 240.0 / sketch.tempo
    for section in sketch.form:
        rate = sum(section.lines) / (section.bars * bar)
        if rate > FAST:
            logger.warning(
                "<%s> has %d syllables in %.1f seconds: %.1f a second is fast to sing",
                section.tag, sum(section.lines), section.bars * bar, rate,
            )  # fmt: skip
    return sketch


def say_unkept(lyrics: Lyrics) -> None:
    """Warn of what a song can't keep of its lyrics: lines that have nothing to sing, and times."""
    for number, section in enumerate(lyrics.sections, 1):
        for place, line in enumerate(section.lines, 1):
            if not units(line):
                logger.warning(
                    "section %d (<%s>), line %d: %r has nothing to sing and is left out",
                    number, section.tag, place, line,
                )  # fmt: skip
    if any(section.times for section in lyrics.sections):
        logger.warning("the times of the lyrics aren't followed: the song has its own")


def _say_few(sketch: SongSketch, lyrics: Lyrics, shape: Shape) -> None:
    """Say where words are too few for the form made for them, and where it has more sections of them."""
    sung = [section for section in sketch.form if section.lines]
    syllables = sum(sum(section.lines) for section in sung)
    if syllables < SLOW * sum(section.bars for section in sung) * 240.0 / sketch.tempo:
        logger.warning(
            "%d syllables are few for %g seconds, so they are held long and instruments play the rest: "
            "write more lines, or ask for about %g seconds",
            syllables, sketch.duration, natural_duration(lyrics),
        )  # fmt: skip
    whole = sum(bool(counts) for _, counts in shape)
    if len(sung) > whole:
        logger.warning(
            "a section has at most %d bars, so the words are sung in %d sections and not in %d",
            MOST_BARS, len(sung), whole,
        )  # fmt: skip


def aligned_words(lyrics: Lyrics, sketch: SongSketch) -> Lyrics:
    """The words in the sections of the form, which may have added some and parted long ones."""
    rest = list(lyrics.sung().sections)
    if len(rest) == len(sketch.form):
        return Lyrics(tuple(rest))
    sections = []
    for part in sketch.form:
        count = len(part.lines)
        if not rest or rest[0].tag != part.tag or bool(rest[0].lines) != bool(count):
            sections.append(LyricSection(part.tag))
            continue
        given = rest.pop(0)
        sections.append(replace(given, lines=given.lines[:count], times=given.times[:count]))
        if len(given.lines) > count:
            rest.insert(0, replace(given, lines=given.lines[count:], times=given.times[count:]))
    return Lyrics(tuple(sections))


def made_score(sketch: SongSketch, sections: Sequence[Any]) -> Score:
    told = ("genre", "mood", "theme", "singer", "harmony", "lead")
    meta = {name: str(getattr(sketch, name)) for name in told}
    if not sketch.drums:
        sections = [replace(section, groove=None, fill=False) for section in sections]
    return Score(
        sketch.tempo, sketch.key, tuple(sections), swing=sketch.swing, lead_in=sketch.lead_in,
        tail=sketch.tail, title=sketch.theme, meta=meta,
    )  # fmt: skip
