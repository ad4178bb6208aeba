"""Scores of lyrics on cases worked by hand."""

import pytest

from common.errors import RequestError
from common.lyrics import Lyrics
from eval import lyrics_text
from eval.lyrics_text import (
    LyricsTextConfig,
    Themes,
    asked_marks,
    copied,
    distinct_n,
    marks_of,
    own_lines,
    requests,
    rhymed,
    shuffled,
    structure_score,
)
from lyrics_llm.structure import Structure

WORDS = Lyrics.parse("<verse>\n看月亮\n想故乡\n在哪里\n<chorus>\n回 家\n")
SIGNS = [("verse", ["ccR", "ccR", "ccc"]), ("chorus", ["c c"])]


def test_lyrics_and_structures_in_signs() -> None:
    assert marks_of(WORDS) == SIGNS
    assert asked_marks(Structure.parse("<verse>\nccR\nccR\nccc\n<chorus>\nc c\n")) == SIGNS
    # 诗 and 你 rhyme in the thirteen tracks, not in the eighteen rhymes.
    assert marks_of(Lyrics.parse("<verse>\n一首诗\n想着你\n")) == [("verse", ["ccc", "ccc"])]


def test_a_perfect_song_has_all_points() -> None:
    """Rhymes are exactly where asked, on half of the lines: 0.7 of the bonus."""
    score = structure_score(SIGNS, marks_of(WORDS))
    parts = (score.overall, score.names, score.lines, score.characters, score.rhyme)
    assert parts == pytest.approx((10, 32.5, 17.5, 20, 20))
    assert score.bonus == pytest.approx(7)
    assert score.total == pytest.approx(107)
    two_thirds = [("verse", ["ccR", "ccR", "ccc"])]
    assert structure_score(two_thirds, two_thirds).total == pytest.approx(110)


def test_lines_of_signs_only_are_alike() -> None:
    """Such lines have no characters, and are left out of the product of the lines' lengths."""
    marks = marks_of(Lyrics.parse("<verse>\n看月亮\n……\n想故乡\n"))
    assert marks == [("verse", ["ccR", "", "ccR"])]
    assert structure_score(marks, marks).characters == pytest.approx(20)
    assert structure_score(marks, [("verse", ["ccR", "cc", "ccR"])]).characters == 0
    silent = [("verse", ["", ""])]
    assert structure_score(silent, silent).characters == pytest.approx(20)


def test_a_missing_section_by_hand() -> None:
    """Asked verse, chorus; written verse. Names: 2·1/3. Lines: all of the verse's. Texts: 28 of 44 signs."""
    asked, written = [("verse", ["ccR", "ccR"]), ("chorus", ["cc"])], [("verse", ["ccR", "ccR"])]
    text = lyrics_text._text
    assert (len(text(asked)), len(text(written))) == (28, 16)
    score = structure_score(asked, written)
    assert score.overall == pytest.approx(10 * 2 * 16 / 44)
    assert score.names == pytest.approx(32.5 * 2 / 3)
    assert score.lines == pytest.approx(17.5 * 2 / 3)
    assert score.characters == score.rhyme == pytest.approx(20 * 2 / 3)
    assert score.bonus == pytest.approx(10 * 2 / 3 * 0.7)


def test_wrong_counts_and_rhymes_by_hand() -> None:
    """Three lines for four; of those compared one has 2 for 4 characters; one rhyme of three is missing."""
    asked = [("verse", ["cccR", "cccR", "cccR", "cccc"])]
    written = [("verse", ["cccR", "cccR", "cc"])]
    score = structure_score(asked, written)
    lines = 2 * 3 / 7
    assert score.names == pytest.approx(32.5)
    assert score.lines == pytest.approx(17.5 * lines)
    assert score.characters == pytest.approx(20 * (2 * 2 / 6) * lines)
    assert score.rhyme == pytest.approx(20 * (2 * 2 / 5) * lines)
    assert score.bonus == pytest.approx(10 * lines)  # two of three lines rhyme


@pytest.mark.parametrize(
    ("rhyming", "share"), [(0, 0.0), (1, 0.0), (2, 0.4 * 0.7), (3, 1.0), (4, 1.0), (5, 0.7)]
)
def test_the_bonus_by_hand(rhyming: int, share: float) -> None:
    """Five lines, all asked to rhyme."""
    asked = [("verse", ["cR"] * 5)]
    written = [("verse", ["cR"] * rhyming + ["cc"] * (5 - rhyming))]
    assert structure_score(asked, written).bonus == pytest.approx(10 * share)


def test_nothing_in_common_is_nothing() -> None:
    score = structure_score([("verse", ["cc"])], [("chorus", [])])
    assert score.total == score.overall < 10
    assert structure_score([("verse", ["cc"])], []).total == 0


def test_variety_and_repetition_by_hand() -> None:
    song = Lyrics.parse("<verse>\n天上天上\n地下\n地下\n<chorus>\n我爱你\n<chorus>\n我爱你\n")
    assert own_lines(song) == ["天上天上", "地下", "地下", "我爱你"]
    assert distinct_n(song, 2) == pytest.approx(5 / 7)
    assert distinct_n(song, 1) == pytest.approx(7 / 11)
    assert copied(song) == pytest.approx(1 / 4)
    assert rhymed(WORDS) == (2.0, 3)
    assert distinct_n(Lyrics.parse("<intro>\n")) == 1.0


def test_shuffled_lines_are_the_same_lines() -> None:
    songs = [WORDS, Lyrics.parse("<verse>\n海风轻轻吹\n你好\n<intro>\n")]
    dealt = shuffled(songs, seed=3)
    assert sorted(line for s in dealt for line in s.lines) == sorted(line for s in songs for line in s.lines)
    assert [[(s.tag, len(s.lines)) for s in song.sections] for song in dealt] == [
        [(s.tag, len(s.lines)) for s in song.sections] for song in songs
    ]
    assert dealt == shuffled(songs, seed=3)


def test_themes_are_told_by_words() -> None:
    known = Themes(songs=2)
    asked = requests(LyricsTextConfig(songs=12, duration=20.0))
    right = sum(known.nearest(a.own) == a.theme for a in asked)
    assert right >= 5  # guessing finds one in twenty
    assert known.nearest(Lyrics.parse("<verse>\n龘龘\n")) is None
    assert all(a.theme in a.description and a.own.lines for a in asked)


def test_more_examples_than_songs_are_refused() -> None:
    with pytest.raises(RequestError, match="20 examples need as many songs, but 3"):
        lyrics_text.table(LyricsTextConfig(songs=3))
