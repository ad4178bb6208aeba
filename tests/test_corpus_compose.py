"""Lead sheets: they add up, are singable, belong to their key, and repeat what songs repeat."""

import numpy as np
import pytest

from common.errors import LyricsError
from common.lyrics import Lyrics
from common.pinyin import units
from common.score import HOLD, TICKS, Score
from common.theory import Chord
from corpus.compose import compose, rhythm, words
from corpus.genres import GENRES
from corpus.plan import plan

PLANS = [plan(seed, genre=genre, durations=(12, 70)) for seed, genre in enumerate(list(GENRES) * 2)]


@pytest.fixture(scope="module")
def scores():
    return [(made, compose(made)) for made in PLANS]


def test_a_score_lasts_what_was_asked(scores):
    for made, score in scores:
        assert score.duration == pytest.approx(made.duration, abs=1e-9)
        assert [(s.tag, s.bars) for s in score.sections] == [(s.tag, s.bars) for s in made.form]


def test_a_score_comes_from_its_plan(scores):
    made, score = scores[0]
    assert compose(made) == score
    assert Score.from_json(score.to_json()) == score


def test_every_syllable_of_the_words_is_sung_once(scores):
    for made, score in scores:
        lyrics = words(made)
        sung = [n.syllable for n in score.note_spans(sung=True) if n.syllable != HOLD]
        assert sung == [unit for line in lyrics.lines for unit in units(line)]
        assert sum(n.ends_line for s in score.sections for n in s.notes) == len(lyrics.lines)
        assert (made.singer == "none") == (not sung)


def test_sung_notes_have_readings_and_lie_in_the_singers_range(scores):
    for made, score in scores:
        low, high = made.range
        for note in score.note_spans(sung=True):
            assert note.reading and note.reading[-1] in "12345"
            assert low - 6 <= note.pitch <= high + 6
        pitches = [n.pitch for n in score.note_spans(sung=True)]
        if pitches:
            assert low <= np.percentile(pitches, 2) and np.percentile(pitches, 98) <= high


def test_notes_belong_to_the_key(scores):
    for made, score in scores:
        assert all(n.pitch % 12 in made.key.classes for n in score.note_spans())


def test_long_notes_mostly_belong_to_their_chords(scores):
    inside = total = 0
    for _, score in scores:
        chords = score.chord_spans()
        for note in score.note_spans():
            if note.end - note.start > 0.6:
                span = next(c for c in chords if c.start - 1e-6 <= note.start < c.end - 1e-6)
                inside += note.pitch % 12 in Chord.parse(span.label).classes
                total += 1
    assert inside / total > 0.8


def test_melodies_move_mostly_by_step(scores):
    leaps = np.concatenate(
        [
            np.abs(np.diff([n.pitch for n in s.notes]))
            for _, score in scores
            for s in score.sections
            if s.notes
        ]
    )
    assert (leaps <= 4).mean() > 0.8 and leaps.max() <= 14


def test_choruses_repeat_their_words_and_tune():
    made = plan(5, singer="female", duration=150)
    choruses = [s for s in compose(made).sections if s.tag == "chorus"]
    assert len(choruses) >= 2
    first, second = choruses[0].notes[:-4], choruses[1].notes[:-4]  # the last line may end the song
    assert [(n.start, n.pitch, n.syllable) for n in first if n.syllable != HOLD][:12] == [
        (n.start, n.pitch, n.syllable) for n in second if n.syllable != HOLD
    ][:12]


def test_choruses_lie_higher_than_verses():
    higher = []
    for seed in range(30):
        made = plan(seed, singer="female", duration=60)
        means = {
            s.tag: np.mean([n.pitch for n in s.notes if n.sung])
            for s in compose(made).sections
            if s.tag in ("verse", "chorus")
        }
        if len(means) == 2:
            higher.append(means["chorus"] - means["verse"])
    assert np.mean(higher) > 1.5 and np.mean(np.array(higher) > 0) > 0.85


def test_a_song_ends_on_its_tonic(scores):
    for made, score in scores:
        last = score.sections[-1]
        assert Chord.parse(last.chords[-1].symbol).root == made.key.tonic
        assert last.notes[-1].pitch % 12 == made.key.tonic


def test_other_words_can_be_sung_to_a_plan():
    made = plan(2, genre="流行", singer="male", duration=30)
    lines = {s.tag: ("月亮出来了", "我在家等你") if s.lines else () for s in made.form}
    text = "\n\n".join("\n".join((f"<{s.tag}>", *lines[s.tag])) for s in made.form)
    score = compose(made, Lyrics.parse(text))
    assert score.lyrics() == Lyrics.parse(text)
    with pytest.raises(LyricsError, match="sections"):
        compose(made, Lyrics.parse("<verse>\n你好"))


def test_a_rhythm_fits_its_line():
    rng = np.random.default_rng(0)
    for count in range(1, 15):
        found = rhythm(count, 8 * TICKS, 0.04, rng)
        ends = [at + length for at, length in found]
        assert len(found) == count and ends[-1] <= 8 * TICKS - 6
        assert all(end <= at for end, (at, _) in zip(ends, found[1:]))
    with pytest.raises(LyricsError, match="can't be sung"):
        rhythm(40, 8 * TICKS, 0.04, rng)
