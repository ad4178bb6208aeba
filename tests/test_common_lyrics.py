"""Reading lyrics as people write them."""

import pytest
from hypothesis import given, settings
from score_strategies import lyrics

from common.errors import LyricsError
from common.lyrics import Lyrics, LyricSection, tag_of


@settings(max_examples=100, deadline=None)
@given(lyrics)
def test_parsing_what_was_written_gives_the_same_lyrics(words: Lyrics) -> None:
    assert Lyrics.parse(str(words)) == words


HEADERS = ["<verse>", "[Verse 1]", "(verse1)", "【主歌】", "主歌：", "主歌二:", "（主歌2）"]


@pytest.mark.parametrize("header", HEADERS)
def test_headers_of_many_kinds(header: str) -> None:
    words = Lyrics.parse(f"{header}\r\n月光洒在窗前\r\n\r\n我在等你\n[CHORUS]\n回家\n")
    assert [s.tag for s in words.sections] == ["verse", "chorus"]
    assert [s.lines for s in words.sections] == [("月光洒在窗前", "我在等你"), ("回家",)]


def test_plain_text_has_a_section_a_block() -> None:
    words = Lyrics.parse("一\n二\n\n三\n\n\n四\n")
    assert [s.tag for s in words.sections] == ["verse", "chorus", "verse"]
    assert words.lines == ("一", "二", "三", "四")


def test_lrc_loses_its_times() -> None:
    words = Lyrics.parse("[ti:月光]\n[00:01.20]月光洒在窗前\n[00:05.00][00:25.00]我在等你\n")
    assert words.lines == ("月光洒在窗前", "我在等你")


def test_words_that_look_like_headers_are_words() -> None:
    words = Lyrics.parse("<verse>\n(我在等你)\n他说：\n\\<chorus>\n")
    assert words.sections == (LyricSection("verse", ("(我在等你)", "他说：", "<chorus>")),)
    assert Lyrics.parse(str(words)) == words


def test_faults_are_named() -> None:
    with pytest.raises(LyricsError, match="line 3: unknown section 'vers'; use one of intro, verse"):
        Lyrics.parse("<intro>\n\n<vers>\n天\n")
    with pytest.raises(LyricsError, match="empty"):
        Lyrics.parse(" \n\n")
    with pytest.raises(LyricsError, match="unknown section tag 'rap'"):
        LyricSection("rap", ())  # type: ignore[arg-type]
    with pytest.raises(LyricsError, match="spaces at its ends"):
        LyricSection("verse", (" 天",))


def test_tags_in_other_words() -> None:
    assert [tag_of(n) for n in ("Ending", "Pre_Chorus 2", "间奏", "hook", "rap")] == [
        "outro",
        "pre-chorus",
        "interlude",
        "chorus",
        None,
    ]
