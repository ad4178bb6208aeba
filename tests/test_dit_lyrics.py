"""Lyric tokens: what is sung, and when."""

import logging

import pytest
from hypothesis import given, settings

from common.lyrics import Lyrics
from common.pinyin import SYLLABLES, split
from dit.lyrics import (
    PADDING,
    VOCABULARY,
    VOCABULARY_SIZE,
    TimedTokens,
    decode,
    encode,
    encode_reading,
    encode_score,
)
from tests.dit_songs import score
from tests.score_strategies import scores


def test_the_vocabulary_is_fixed() -> None:
    assert VOCABULARY_SIZE == len(set(VOCABULARY)) == 3 + 7 + 21 + 38 + 26
    assert VOCABULARY[PADDING] == "<pad>"


def test_tokens_are_tags_initials_finals_letters_and_breaks() -> None:
    ids = encode(Lyrics.parse("<verse>\n我爱你，love\n\n<intro>\n"))
    assert decode(ids) == "<verse> -uo -ai n- -i <word> l o v e\n <intro>"


def test_every_syllable_is_told_from_every_other() -> None:
    spelt = {tuple(encode_reading(s)) for s in SYLLABLES}
    assert len(spelt) == len({split(s)[:2] for s in SYLLABLES})
    assert all(1 <= len(ids) <= 2 for ids in spelt)


def test_what_cannot_be_sung_is_named(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert encode_reading("'") == []
    assert "left out" in caplog.text


@settings(max_examples=25, deadline=None)
@given(scores())
def test_timed_tokens_rise_and_fit_the_score(own: object) -> None:
    timed = encode_score(own)  # type: ignore[arg-type]
    assert timed.times is not None and len(timed.times) == len(timed.ids)
    assert list(timed.times) == sorted(timed.times)


def test_a_score_has_the_tokens_of_its_lyrics() -> None:
    own = score(3)
    assert list(encode_score(own).ids) == encode(own.lyrics())


def test_a_window_has_the_words_sung_in_it_and_its_section() -> None:
    own = score(1)
    timed = encode_score(own)
    assert timed.window(0, own.duration + 1) == timed.ids
    # The second bar of the verse: four syllables of a quarter note at 120 a minute.
    part = decode(timed.window(2.0, 4.0)).split("\n")[0].split()
    assert part[0] == "<verse>"
    sung = [n.reading for n in own.sections[0].notes[4:8]]
    assert part[1:] == decode([i for r in sung for i in encode_reading(r or "")]).split()


def test_without_times_a_part_has_no_known_words() -> None:
    assert TimedTokens((1, 2, 3)).window(0, 5) == ()
