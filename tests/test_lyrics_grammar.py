"""Token rows of corpus songs, and the grammars that read and bound them."""

from collections.abc import Generator, Sequence
from dataclasses import replace
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import DynamicCache

from common.errors import LyricsError, ScoreError
from common.lyrics import Lyrics
from common.pinyin import units
from common.rhyme import group
from common.score import HOLD, ChordChange, Note, Score
from common.theory import Key
from corpus.compose import compose, words
from corpus.forms import FormSection
from corpus.plan import SongPlan, plan
from lyrics_llm import sequence
from lyrics_llm import tokens as t
from lyrics_llm.constrain import (
    Ahead,
    Words,
    _consonance,
    _fitting,
    lyrics_grammar,
    plan_grammar,
    score_grammar,
)
from lyrics_llm.sample import Temper, _draft
from lyrics_llm.sketch import MOST_BARS, SongSketch, form_for, slots
from lyrics_llm.tokens import Vocabulary, build

SEEDS = (0, 3, 5, 11, 17, 23)  # among them an instrumental and a song of several minutes


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary(build())


@lru_cache(maxsize=8)
def song(seed: int) -> tuple[SongPlan, Lyrics, Score]:
    planned = plan(seed, durations=(14.0, 60.0))
    lyrics = words(planned)
    return planned, lyrics, compose(planned, lyrics)


def fed(vocabulary: Vocabulary, grammar: Generator[Any, int, Any], row: list[str]):  # type: ignore[no-untyped-def]
    """What a grammar makes of a row, each token of which it must allow."""
    allowed = next(grammar)
    for index, token in enumerate(row):
        assert vocabulary.ids[token] in allowed, f"{row[max(0, index - 5) : index + 1]}"
        try:
            allowed = grammar.send(vocabulary.ids[token])
        except StopIteration as end:
            assert index + 1 == len(row)
            return end.value
    raise AssertionError("the grammar wants more")


def at_random(grammar: Generator[Any, int, Any], seed: int):  # type: ignore[no-untyped-def]
    """What comes of a grammar when any allowed token may be drawn."""
    rng = np.random.default_rng(seed)
    allowed = next(grammar)
    for _ in range(20000):
        assert len(allowed), "a grammar never ends in a corner"
        try:
            allowed = grammar.send(int(rng.choice(allowed)))
        except StopIteration as end:
            return end.value
    raise AssertionError("the grammar doesn't end")


@pytest.mark.parametrize("seed", SEEDS)
def test_corpus_songs_are_read_back(seed: int, vocabulary: Vocabulary) -> None:
    planned, lyrics, score = song(seed)
    sketch, known = SongSketch.of_plan(planned), Words(vocabulary)
    fields = fed(vocabulary, plan_grammar(known, {}), sequence.plan_tokens(sketch))
    assert fields == {name: str(value) for name, value in sketch.fields().items()}
    row = sequence.lyrics_tokens(vocabulary, lyrics)
    assert fed(vocabulary, lyrics_grammar(known, planned.shape, fresh=False), row) == lyrics
    sections = fed(
        vocabulary,
        score_grammar(known, sketch, lyrics, idiomatic=False),
        sequence.score_tokens(score, sketch),
    )
    low, high = sketch.range
    for got, wanted in zip(sections, score.sections, strict=True):
        assert got.energy == pytest.approx(wanted.energy, abs=0.026)
        inside = tuple(
            replace(n, pitch=n.pitch + 12 * (n.pitch < low) - 12 * (n.pitch > high)) if n.sung else n
            for n in wanted.notes
        )
        assert replace(got, energy=0) == replace(wanted, energy=0, notes=inside)


@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_drawn_is_a_song_of_the_sketch(seed: int, vocabulary: Vocabulary) -> None:
    planned, _, _ = song(SEEDS[seed])
    sketch, known = SongSketch.of_plan(planned), Words(vocabulary)
    lyrics = at_random(lyrics_grammar(known, planned.shape), seed)
    assert [(s.tag, tuple(len(units(line)) for line in s.lines)) for s in lyrics.sections] == planned.shape
    assert Lyrics.parse(str(lyrics)) == lyrics
    sections = at_random(score_grammar(known, sketch, lyrics), seed)
    score = Score(sketch.tempo, sketch.key, sections, lead_in=sketch.lead_in, tail=sketch.tail)
    assert score.duration == pytest.approx(sketch.duration, abs=1e-9)
    assert score.lyrics() == lyrics
    low, high = sketch.range
    for section, written in zip(score.sections, lyrics.sections):
        sung = [n for n in section.notes if n.sung]
        assert sum(n.syllable != HOLD for n in sung) == sum(len(units(line)) for line in written.lines)
        assert all(low <= n.pitch <= high and n.pitch % 12 in sketch.key.classes for n in sung)


def test_lines_end_on_their_rhyme_and_copy_no_other(vocabulary: Vocabulary) -> None:
    known = Words(vocabulary)
    rhyming = lines = 0
    for seed in range(8):
        lyrics = at_random(lyrics_grammar(known, [("verse", (6, 6, 6, 6)), ("chorus", (4, 4))]), seed)
        assert len(set(lyrics.lines)) == 6
        for section in lyrics.sections:
            marks = sequence.rhymes(section.lines)
            rhyming += sum(mark != t.FREE for mark in marks)
            lines += len(marks)
            assert all(group(a) for a in section.lines)
    assert rhyming / lines > 0.6


def test_unknown_characters_are_bytes_and_come_back(vocabulary: Vocabulary) -> None:
    text = "龘靐的歌 ♪"
    row = vocabulary.characters(text)
    assert "<unk>" not in row
    assert vocabulary.tokenizer.decode(vocabulary.encode(row)) == text
    assert vocabulary.tokenizer(text)["input_ids"] == vocabulary.encode(row)


def test_fixed_fields_are_kept(vocabulary: Vocabulary) -> None:
    known = Words(vocabulary)
    for seed in range(5):
        fields = at_random(plan_grammar(known, {"singer": "child", "tempo": (60, 64), "genre": "爵士"}), seed)
        assert (fields["singer"], fields["genre"]) == ("child", "爵士")
        assert int(fields["tempo"]) in (60, 64)


def test_slots_share_a_section() -> None:
    assert slots(4, (7, 7, 7, 7)) == [(0, 48), (48, 96), (96, 144), (144, 192)]
    assert slots(3, (5, 5)) == [(0, 72), (72, 144)]
    uneven = slots(2, (14, 14, 3))
    assert uneven[0][0] == 0
    assert uneven[-1][1] == 96
    assert all(3 * n <= end - start for n, (start, end) in zip((14, 14, 3), uneven))
    with pytest.raises(LyricsError, match="17 syllables don't fit the 16 sixteenths of 1 bars"):
        slots(1, (17,))


def test_a_form_for_given_words_lasts_the_duration() -> None:
    shape = [("verse", (7, 7, 7, 7)), ("chorus", (5, 5))]
    for seconds in (15.0, 30.0, 47.5, 90.0):
        form, tempo, lead_in, tail = form_for(shape, seconds, 96.0)  # type: ignore[arg-type]
        bars = sum(section.bars for section in form)
        assert lead_in + bars * 240 / tempo + tail == pytest.approx(seconds)
        assert [s.lines for s in form if s.lines] == [(7, 7, 7, 7), (5, 5)]
    assert form[0] == FormSection("intro", form[0].bars)
    with pytest.raises(
        LyricsError, match=r"36 syllables in 4 lines need at least \d+ seconds .* but 5 were asked"
    ):
        form_for([("verse", (9, 9, 9, 9))], 5.0, 96.0)


@pytest.mark.parametrize(
    ("shape", "duration", "tempo"),
    [
        ([("verse", (10,) * 40)], 200.0, 116.0),
        ([("intro", ()), ("verse", (5, 6))], 600.0, 116.0),
        ([("intro", (3,)), ("verse", (1,)), ("outro", (2,))], 600.0, 200.0),
        ([("verse", (32,))], 600.0, 220.0),
        ([("chorus", (8,) * 33), ("verse", (4, 4)), ("chorus", (8,) * 33)], 600.0, 180.0),
    ],
)
def test_no_section_is_longer_than_the_vocabulary_has_words_for(
    shape: list, duration: float, tempo: float
) -> None:
    form, tempo, lead_in, tail = form_for(shape, duration, tempo)
    assert max(section.bars for section in form) <= MOST_BARS
    assert lead_in + sum(section.bars for section in form) * 240 / tempo + tail == pytest.approx(duration)
    sung = [(tag, count) for tag, counts in shape for count in counts]
    assert [(section.tag, count) for section in form for count in section.lines] == sung
    # Nobody holds a word for the length of a song: the time that is left is the instruments'.
    for section in form:
        assert section.bars * 240 / tempo < 4.2 * len(section.lines) + 2 * sum(section.lines) + 4 or not (
            section.lines
        )


def test_scores_off_the_grid_are_refused(vocabulary: Vocabulary) -> None:
    planned, _, score = song(3)
    sketch = SongSketch.of_plan(planned)
    waltz = Score(100, sketch.key, (replace(score.sections[0], notes=(), groove=None, chords=()),), (3, 4))
    with pytest.raises(ScoreError, match="3/4"):
        sequence.score_tokens(waltz, sketch)
    with pytest.raises(ScoreError, match="sections of the sketch"):
        next(score_grammar(Words(vocabulary), sketch, Lyrics.parse("<bridge>\n天\n")))


def test_a_whole_line_is_known_to_pass_before_it_is_written(vocabulary: Vocabulary) -> None:
    """0 for another rhyme or a copy, 1 for an end that was there, 2 for a new one."""
    ahead = Ahead()
    shape = [("verse", (5, 5))]
    grammar = lyrics_grammar(Words(vocabulary), shape, ahead=ahead)  # type: ignore[arg-type]
    ids = vocabulary.ids
    before = ["<section:verse>", "<line:5>", "<rhyme:江阳>", *"我等到天亮", "<line:5>", "<rhyme:江阳>"]
    next(grammar)
    for token in before:
        grammar.send(ids[token])
    line = ahead.take()
    assert line is not None and line.count == 5 and ahead.take() is None
    expected = {"风吹过山岗": 2, "灯还没点亮": 1, "风吹过山河": 0, "我等到天亮": 0}
    assert {text: line.fits([ids[c] for c in text]) for text in expected} == expected
    ranked = ("你是我的答案", "我们不怕风里", "剑鸣如霜", "你是我的答")
    assert [line.strange([ids[c] for c in text]) for text in ranked] == [0, 1, 2, 3]


def test_the_likeliest_draft_that_passes_is_taken() -> None:
    """A model that likes token 3 above all: it may not stand at the end, and an end in 2 isn't new."""

    class Likes(torch.nn.Module):
        def forward(self, input_ids: torch.Tensor, **_: object) -> SimpleNamespace:
            return SimpleNamespace(logits=scores.expand(len(input_ids), 1, -1))

    scores = torch.tensor([0.0, 1.0, 2.0, 3.0])
    everything = np.arange(4)

    def fits(tokens: Sequence[int]) -> int:
        return 0 if tokens[-1] == 3 else 1 if tokens[-1] == 2 else 2

    state = (DynamicCache(), torch.ones(5, dtype=torch.long), 4, 0)
    draws = torch.Generator().manual_seed(0)
    line = Ahead(None, 2, everything, everything, fits)
    assert _draft(Likes(), state, scores, line, draws, Temper(1.0, 0.0), 64) == [3, 1]  # type: ignore[arg-type]
    line = Ahead(None, 2, everything, everything, lambda tokens: min(fits(tokens), 1))
    assert _draft(Likes(), state, scores, line, draws, Temper(1.0, 0.0), 64) == [3, 2]  # type: ignore[arg-type]
    line = Ahead(None, 2, everything, everything, fits, lambda tokens: int(tokens[-1] != 2))
    assert _draft(Likes(), state, scores, line, draws, Temper(1.0, 0.0), 64) == [3, 2]  # type: ignore[arg-type]
    line = Ahead(None, 2, everything, everything, fits, lambda tokens: int(tokens[-1] != 3))
    assert _draft(Likes(), state, scores, line, draws, Temper(1.0, 0.0), 64) == [3, 1]  # type: ignore[arg-type]
    line = Ahead(None, 2, everything, everything, lambda tokens: 0)
    assert _draft(Likes(), state, scores, line, draws, Temper(1.0, 0.0), 8) == []  # type: ignore[arg-type]


def test_notes_on_a_beat_belong_to_the_chord_or_step_on(vocabulary: Vocabulary) -> None:
    planned, _, _ = song(0)
    sketch, known = SongSketch.of_plan(planned), Words(vocabulary)
    sketch = replace(sketch, key=Key.parse("C major"))
    pitches = known.pitches(60, 72, sketch.base, {0, 2, 4, 5, 7, 9, 11})

    def heights(tick: int, before: int | None) -> list[int]:
        ids = _fitting(known, sketch, pitches, chords, tick, before)
        return sorted(sketch.base + int(known.value(int(i))) for i in ids)

    chords = (ChordChange(0, "C"), ChordChange(48, "F"), ChordChange(96, "N"))
    assert heights(0, 62) == [60, 64, 67, 72]  # a bar begins on its chord
    assert heights(12, 69) == [60, 64, 67, 71, 72]  # within it a step from A: B, or G, which belongs
    assert heights(60, None) == [60, 65, 69, 72]
    everything = [60, 62, 64, 65, 67, 69, 71, 72]
    assert heights(15, 62) == heights(96, 62) == everything  # off the beat, or without a chord
    chords = (ChordChange(0, "F#"),)
    assert heights(0, None) == everything  # nothing of the key belongs: C# F# A#

    tune = [Note(0, 12, 64, "?"), Note(12, 12, 62, "?"), Note(27, 9, 61, "?"), Note(96, 12, 61, "?")]
    assert _consonance(tune, (ChordChange(0, "C"), ChordChange(96, "N"))) == 0.5
    assert _consonance([], chords) == 1.0


def test_a_later_chorus_of_the_same_lines_has_the_tune_of_the_first(vocabulary: Vocabulary) -> None:
    planned, _, _ = song(0)
    known = Words(vocabulary)
    sections = [FormSection(tag, 4, (6, 6)) for tag in ("verse", "chorus", "verse", "chorus")]
    sketch = replace(SongSketch.of_plan(planned), form=tuple(sections))
    shape = [(section.tag, section.lines) for section in sections]
    for seed in range(4):
        words = at_random(lyrics_grammar(known, shape), seed)  # type: ignore[arg-type]
        _, first, _, second = at_random(score_grammar(known, sketch, words), seed)
        assert first.chords == second.chords
        tunes = [[(n.start, n.duration, n.pitch) for n in section.notes] for section in (first, second)]
        assert tunes[0] == tunes[1]
