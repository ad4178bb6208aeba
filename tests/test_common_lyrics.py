"""Reading lyrics as people write them."""

import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from score_strategies import lyrics

from common.errors import LyricsError
from common.lyric_notations import stamp
from common.lyrics import TAGS, Lyrics, LyricSection, tag_of
from common.numerals import spelt
from common.pinyin import read
from lyrics_llm.structure import Structure


@settings(max_examples=100, deadline=None)
@given(lyrics)
def test_parsing_what_was_written_gives_the_same_lyrics(words: Lyrics) -> None:
    assert Lyrics.parse(str(words)) == words


# Everything that the reader gives a meaning to, in any order.
PIECES = [
    *"天地;.:：()[]<>【】（）*#\\,’ -_12", "verse", "Chorus 2", "主歌", "副歌：", "[00:01.20]", "<00:02.5>",
    "[ti:x]", "[verse]", "**", "## ", "[offset:+500]", "；", "end", "桥", "; [", "solo", "\ufeff",
    "\u3000", "①", "作词：", "男：", "(合)", "</verse>", "[/主歌]", " x2", "---", "＜", "＞", "《", "》",
    "[01:00:01.00]", "−",
    "Am", "G7 ", "C   F", " - ", "《月光》", "重复副歌", "（音乐）", "第一段：", "念白：",
    "00:01,000 --> ", "制作人 P：", "[Am]", "[C]", "(F7)", "Em", "重复", "同上",
]  # fmt: skip
LINES = (
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=6)
    .map("".join)
    .filter(lambda s: s.strip() == s != "")
)
SECTIONS = st.builds(
    lambda tag, rows, number: LyricSection(tag, tuple(r[0] for r in rows), tuple(r[1] for r in rows), number),
    st.sampled_from(TAGS),
    st.lists(st.tuples(LINES, st.one_of(st.none(), st.floats(0, 7000))), max_size=4),
    st.one_of(st.none(), st.integers(1, 99)),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(SECTIONS, min_size=1, max_size=4).map(lambda s: Lyrics(tuple(s))))
def test_words_that_look_like_notation_come_back_with_times_and_numbers(words: Lyrics) -> None:
    back = Lyrics.parse(str(words))
    assert back == words
    assert [s.number for s in back.sections] == [s.number for s in words.sections]
    assert str(back) == str(words)


SPACES, MANY = " " * 50_000, 200_000
PATTERNS = [
    "# ",
    "* ",
    "**",
    "__",
    "[0:1]",
    "<0:1>",
    "1:",
    "男：",
    "</",
    "{天}",
    "1.",
    "[a];",
    "A1",
    "作词/",
    "还a",
]
LONG = [
    f"[verse]{SPACES};x", f"天{SPACES}x", f"天{SPACES}：x", f"副歌{SPACES}x2y",
    f"[00:01.00]天{SPACES}<00:02.00>x",
    *("天" + sign * MANY + "天" for sign in "-_:：[]<>()*#1一x×{}/、.;\\\r\u3000A还"),
    *(sign * (MANY // len(sign)) for sign in PATTERNS),
    "**" * 50_000 + "verse" + "**" * 50_000, f"[{'1' * MANY}:1]天", f"[offset:{'1' * MANY}]\n天",
    "[" + "verse " * 30_000 + "]天", "1" * MANY + "%天",
]  # fmt: skip


@pytest.mark.parametrize("text", LONG, ids=range(len(LONG)))
def test_long_lines_are_read_in_time_proportional_to_their_length(text: str) -> None:
    """Nothing is timed: where a pattern is quadratic, one of these takes minutes."""
    try:
        assert Lyrics.parse(text).sections
        assert Lyrics.parse("<verse>\n\\" + text.splitlines()[-1]).sections
    except LyricsError as error:
        assert "line" in str(error) or "empty" in str(error)


HEADERS = [
    "<verse>", "[Verse 1]", "(verse1)", "【主歌】", "主歌：", "主歌二:", "（主歌2）", "［主歌A］", "Verse 2",
    "--- verse ---", "=== 主歌 2 ===", "——主歌——", "＜主歌＞", "＜Verse 2＞", "《主歌》", "「主歌」",
    "主歌", "**Verse 1**", "**[Verse]**", "## 主歌 1", "**主歌：**", "<VERSE_3>",
]  # fmt: skip


@pytest.mark.parametrize("header", HEADERS)
def test_headers_of_many_kinds(header: str, caplog: pytest.LogCaptureFixture) -> None:
    words = Lyrics.parse(f"{header}\r\n月光洒在窗前\r\n\r\n我在等你\n[CHORUS]\n回家\n")
    assert [s.tag for s in words.sections] == ["verse", "chorus"]
    assert [s.lines for s in words.sections] == [("月光洒在窗前", "我在等你"), ("回家",)]
    assert not caplog.records


def test_numbers_are_kept() -> None:
    words = Lyrics.parse("[Verse 1]\n天\n主歌二：\n地\n[chorus]\n人\n")
    assert [s.number for s in words.sections] == [1, 2, None]
    assert str(words).split()[::2] == ["<verse", "天", "2>", "<chorus>"]
    assert words == Lyrics.parse("<verse>\n天\n<verse>\n地\n<chorus>\n人\n")


def test_words_behind_a_header() -> None:
    words = Lyrics.parse("[Verse 1] 月光洒在窗前\n我在等你\n副歌：回家\n")
    assert [(s.tag, s.lines) for s in words.sections] == [
        ("verse", ("月光洒在窗前", "我在等你")),
        ("chorus", ("回家",)),
    ]


def test_plain_text_has_a_section_a_block() -> None:
    words = Lyrics.parse("\ufeff一\n二\n\n三\n\n\n四\n")
    assert [s.tag for s in words.sections] == ["verse", "chorus", "verse"]
    assert words.lines == ("一", "二", "三", "四")


LEVO = "[intro-short] ; [verse] 月光洒在窗前.我在等你。风吹过 ; [chorus] 回家.\n回家 ; [inst] ; [outro-long]"


def test_the_form_of_levo() -> None:
    words = Lyrics.parse(LEVO)
    assert [s.tag for s in words.sections] == ["intro", "verse", "chorus", "interlude", "outro"]
    assert [s.lines for s in words.sections][1:3] == [
        ("月光洒在窗前", "我在等你", "风吹过"),
        ("回家", "回家"),
    ]


def test_lrc_keeps_its_times_and_sings_repeated_lines_again() -> None:
    text = "[ti:月光]\n[ar:某人]\n[00:01.20]月光洒在窗前\n[00:05.00][00:25.5]我在等你\n"
    text += "[00:10.00]\n[00:12]<00:12.00>回<00:12.50>家\n"
    words = Lyrics.parse(text)
    assert [(s.tag, s.lines, s.times) for s in words.sections] == [
        ("verse", ("月光洒在窗前", "我在等你"), (1.2, 5.0)),
        ("chorus", ("回家", "我在等你"), (12.0, 25.5)),
    ]
    assert words.timed
    assert Lyrics.parse(str(words)) == words
    out = words.lrc("月光").splitlines()
    assert out[0] == "[ti:月光]"
    assert out[1:] == ["[00:01.20]月光洒在窗前", "[00:05.00]我在等你", "[00:12.00]回家", "[00:25.50]我在等你"]
    assert Lyrics.parse("\n".join(out)).lines == words.lines


def test_an_offset_moves_all_times() -> None:
    assert Lyrics.parse("[offset:+500]\n[00:02.00]天\n[00:00.10]地").sections[0].times == (0.0, 1.5)
    assert Lyrics.parse("[00:02.00]天\n[offset:-1500]").sections[0].times == (3.5,)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(LINES, st.integers(0, 10**6)), min_size=1, max_size=6))
def test_lrc_out_and_in_again(rows: list[tuple[str, int]]) -> None:
    section = LyricSection("verse", tuple(r[0] for r in rows), tuple(r[1] / 1000 for r in rows))
    back = Lyrics.parse(Lyrics((section,)).lrc())
    assert sorted(zip(back.sections[0].times, back.lines)) == sorted(zip(section.times, section.lines))


def test_times_are_written_to_the_thousandth() -> None:
    assert [stamp(t) for t in (0, 62.34, 62.345, 59.9996, 6000)] == [
        "[00:00.00]", "[01:02.34]", "[01:02.345]", "[01:00.00]", "[100:00.00]",
    ]  # fmt: skip
    with pytest.raises(LyricsError, match="needs a time for every line"):
        Lyrics.parse("<verse>\n[00:01.00]天\n地").lrc()
    with pytest.raises(LyricsError, match="2 lines, but 1 times"):
        LyricSection("verse", ("天", "地"), (1.0,))
    with pytest.raises(LyricsError, match="begins before the song"):
        LyricSection("verse", ("天",), (-1.0,))


def test_words_that_look_like_headers_are_words() -> None:
    words = Lyrics.parse("<verse>\n(我在等你)\n他说：\n\\<chorus>\n她说：你好\n[Oh] 天\n")
    lines = ("(我在等你)", "他说：", "<chorus>", "她说：你好", "[Oh] 天")
    assert words.sections == (LyricSection("verse", lines),)
    assert Lyrics.parse(str(words)) == words


def test_what_cannot_be_kept_is_named_with_its_line(caplog: pytest.LogCaptureFixture) -> None:
    text = "[Verse]\n[soft piano]\n天\n[Rap]\n地\n\n[Final Chorus: whispered]\n人\n"
    text += "[Chorus]\n<bridge>\n[00:01.00][00:02.00]海\n"
    with caplog.at_level(logging.WARNING):
        words = Lyrics.parse(text)
    assert [(s.tag, s.lines) for s in words.sections] == [
        ("verse", ("天",)), ("verse", ("地",)), ("chorus", ("人",)), ("chorus", ("人",)), ("bridge", ("海",)),
    ]  # fmt: skip
    said = [r.getMessage() for r in caplog.records]
    assert [s.split(":")[0] for s in said] == ["line 2", "line 4", "line 7", "line 11", "line 9"]
    assert "'soft piano' names no section" in said[0]
    assert "only the section <chorus> is kept" in said[2]
    assert "those of the one above are sung again" in said[4]


def test_a_chorus_named_again_is_sung_again(caplog: pytest.LogCaptureFixture) -> None:
    pasted = "[Verse]\n月光\n[Pre-Chorus]\n快了\n[Chorus]\n回家吧\n我等你\n[Verse 2]\n风吹\n[Chorus x2]\n"
    words = Lyrics.parse(pasted)
    assert [s.lines for s in words.sections] == [
        ("月光",), ("快了",), ("回家吧", "我等你"), ("风吹",), ("回家吧", "我等你"), ("回家吧", "我等你"),
    ]  # fmt: skip
    assert "line 10: <chorus> has no lines: those of the one above are sung again" in caplog.text
    assert Lyrics.parse("主歌：\n月光\n副歌：\n回家\n主歌：\n副歌：\n").sections[2].lines == ()
    ours = Lyrics.parse("<chorus>\n回家\n<chorus>\n")
    assert [s.lines for s in ours.sections] == [("回家",), ()] and "nobody sings there" in caplog.text
    timed = Lyrics.parse("[Chorus]\n[00:05.00]回家\n[Chorus]\n")
    assert timed.sections[1].lines == ()


@pytest.mark.parametrize(
    ("text", "sections"),
    [
        ("A段：\n月光\nB段\n回家", [("verse", "月光"), ("chorus", "回家")]),
        ("主歌\n月光\n高潮：\n回家", [("verse", "月光"), ("chorus", "回家")]),
        ("副歌（重复）\n回家\n我等你", [("chorus", "回家 我等你")]),
        ("主歌\n月光\n[吉他solo]\n副歌\n回家", [("verse", "月光"), ("interlude", ""), ("chorus", "回家")]),
        ("[Chorus]\n回家\n[fade out]", [("chorus", "回家"), ("outro", "")]),
        ("[Chorus]\n回家\n[Drop]\n[Verse]\n月光", [("chorus", "回家"), ("verse", "月光")]),
        ("第一段\n月光\n第二段\n星光", [("verse", "月光"), ("verse", "星光")]),
        ("RAP：\n哟哟\n副歌：\n回家", [("verse", "哟哟"), ("chorus", "回家")]),
        ("歌词：\n月光\n星光", [("verse", "月光 星光")]),
        ("歌名《月光》\n词：张三\n\n星光", [("verse", "星光")]),
        ("1. 月光\n2. 星光\n3、回家", [("verse", "月光 星光 回家")]),
        ("1. 月光\n3. 星光", [("verse", "1. 月光 3. 星光")]),
        ("主歌\n月光 / 洒在窗前｜我想你", [("verse", "月光 洒在窗前 我想你")]),
        ("AC/DC在唱", [("verse", "AC/DC在唱")]),
        ("月光洒在窗前，我在等你回家。风吹过你的脸，我不再害怕。", [
            ("verse", "月光洒在窗前， 我在等你回家。 风吹过你的脸， 我不再害怕。"),
        ]),
        ("月光洒在窗前，我在等你回家", [("verse", "月光洒在窗前，我在等你回家")]),
    ],
)  # fmt: skip
def test_pasted_words_as_they_are_meant(text: str, sections: list[tuple[str, str]]) -> None:
    assert [(s.tag, " ".join(s.lines)) for s in Lyrics.parse(text).sections] == sections


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
    assert [tag_of(n) for n in ("Ending", "Pre_Chorus 2", "间奏", "hook", "outro-short", "rap")] == [
        "outro",
        "pre-chorus",
        "interlude",
        "chorus",
        "outro",
        None,
    ]


def test_signs_that_are_not_sung_are_named_with_their_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        words = Lyrics.parse("<verse>\n-5℃的夜\n我在等你\nさ我们\n")
    assert words.lines == ("-5℃的夜", "我在等你", "さ我们")
    assert [r.getMessage() for r in caplog.records] == [
        "line 2: − ℃ of '-5℃的夜' isn't sung",
        "line 4: さ of 'さ我们' isn't sung",
    ]
    caplog.clear()
    Structure.parse("<verse>\n3+4R\n")
    assert not caplog.records


def messages(text: str, caplog: pytest.LogCaptureFixture) -> tuple[Lyrics, list[str]]:
    """Lyrics read from a text, and what was said about it."""
    caplog.clear()
    with caplog.at_level(logging.INFO):
        words = Lyrics.parse(text)
    return words, [r.getMessage() for r in caplog.records]


def test_credits_are_not_sung(caplog: pytest.LogCaptureFixture) -> None:
    text = "歌名：月光\n演唱: 某人\n作词 / 作曲：某人\n编曲：\n词：甲 曲：乙\nComposer: A\n\n"
    words, said = messages(text + "月光洒在窗前\n他说：你好\n\n回家\n制作人：丙\n", caplog)
    assert words == Lyrics.parse("月光洒在窗前\n他说：你好\n\n回家\n")
    assert [s.split(":")[0] for s in said] == [f"line {n}" for n in (1, 2, 3, 4, 5, 6, 12)]
    assert said[0] == "line 1: '歌名：月光' is a credit and isn't sung"
    timed, said = messages("[00:00.00]作词：某人\n[00:12.00]月光洒在窗前\n", caplog)
    assert (timed.lines, timed.sections[0].times, len(said)) == (("月光洒在窗前",), (12.0,), 1)


def test_marks_of_who_sings_go_and_the_words_stay(caplog: pytest.LogCaptureFixture) -> None:
    text = "<verse>\n男：我爱你\n女1: 你爱我\n(合)我们\n[男/女]回家\n【合唱】\n走吧\n[00:09.00]合：再见\n"
    words, said = messages(text, caplog)
    assert words.lines == ("我爱你", "你爱我", "我们", "回家", "走吧", "再见")
    assert words.sections[0].times[-1] == 9.0
    assert [s.split(":")[0] for s in said] == [f"line {n}" for n in (2, 3, 4, 5, 6, 8)]
    assert said[0] == "line 2: '男：' is who sings and isn't sung"
    assert Lyrics.parse("[Verse] 男：我爱你\n").lines == ("我爱你",)
    assert Lyrics.parse("<verse>\n男人：我爱你\n(合起来)\n").lines == ("男人：我爱你", "(合起来)")


def test_the_end_of_a_section_is_not_another_one(caplog: pytest.LogCaptureFixture) -> None:
    text = "<verse>\n天\n</verse>\n\n[Chorus]地[/Chorus]\n<Verse 2>\n人</verse>\n[/Verse 2] 海\n"
    words, said = messages(text, caplog)
    assert [(s.tag, s.lines) for s in words.sections] == [
        ("verse", ("天",)), ("chorus", ("地",)), ("verse", ("人", "海")),
    ]  # fmt: skip
    assert not said
    with pytest.raises(LyricsError, match="line 1: unknown section '/vers'"):
        Lyrics.parse("</vers>\n天")


TWICE = [
    "[Chorus x2]", "[Chorus ×2]", "(Chorus X 2)", "【副歌（x2）】", "[副歌 2遍]", "[Chorus] x2", "副歌：×2",
    "副歌 x2",
]  # fmt: skip


@pytest.mark.parametrize("header", TWICE)
def test_a_section_that_is_to_be_sung_twice_is(header: str, caplog: pytest.LogCaptureFixture) -> None:
    words, said = messages(f"[Verse 2]\n天\n{header}\n回家\n走吧\n[Bridge]\n海\n", caplog)
    assert [(s.tag, s.number) for s in words.sections] == [
        ("verse", 2), ("chorus", None), ("chorus", None), ("bridge", None),
    ]  # fmt: skip
    assert words.sections[1] == words.sections[2] == LyricSection("chorus", ("回家", "走吧"))
    assert said == ["line 3: <chorus> is sung 2 times"]


def test_repeats_that_cannot_be_kept_are_named(caplog: pytest.LogCaptureFixture) -> None:
    words, said = messages("[Chorus x2]\n[00:01.00]回家\n", caplog)
    assert len(words.sections) == 1
    assert said == ["line 1: <chorus> has times, so it is sung once and not 2 times"]
    words, said = messages("[Chorus x20]\n回家\n", caplog)
    assert len(words.sections) == 1
    assert said == ["line 1: of 'Chorus x20' only the section <chorus> is kept"]
    words, said = messages("[Chorus]\n回家\n[Chorus x2]\n", caplog)
    assert [s.lines for s in words.sections] == [("回家",)] * 3
    assert said[0] == "line 3: <chorus> has no lines: those of the one above are sung again"


def test_lines_may_end_in_carriage_returns_alone() -> None:
    assert Lyrics.parse("[Verse]\r天\r地\r\r[Chorus]\r\n人") == Lyrics.parse(
        "[Verse]\n天\n地\n\n[Chorus]\n人"
    )
    with pytest.raises(LyricsError, match="more than one"):
        LyricSection("verse", ("天\r地",))


def test_times_may_have_hours() -> None:
    assert Lyrics.parse("[01:00:01.50]天\n[01:02:50]地\n").sections[0].times == (62.5, 3601.5)
    assert Lyrics.parse("[01:00:01.50]天").lines == ("天",)


@pytest.mark.parametrize(
    ("text", "sung"),
    [
        ("绿{lü4}", "绿{lü4}"), ("25个{ge5}", "二十五个{ge5}"), ("{25}", "{二十五}"),
        ("1,000", "一千"), ("1,234,567", "一百二十三万四千五百六十七"), ("1,500.5", "一千五百点五"),
        ("1,2,3", "一,二,三"), ("1,0005", "一,0005"), ("1,234,567,890", "一,234,567,890"),
        ("2:00", "两点"), ("12：30", "十二点三十"), ("08:05", "八点零五"), ("3:1", "三:一"),
        ("1:02:03", "一:02:03"),
    ],
)  # fmt: skip
def test_tones_grouped_digits_and_times_of_day(text: str, sung: str) -> None:
    assert spelt(text) == sung
    assert spelt(sung) == sung


def test_readings_may_be_written_with_their_umlaut() -> None:
    assert read("绿{lü4}女{nü3}") == ["lv4", "nv3"]
    assert Lyrics.parse("<verse>\n绿{lü4}的2个梦").lines == ("绿{lü4}的2个梦",)


# ---- what isn't words ----------------------------------------------------------------------------


def test_the_singing_goes_on_behind_a_part_that_is_played(caplog: pytest.LogCaptureFixture) -> None:
    words, said = messages("月光\n我在等你\n\n回家\n\n（间奏）\n\n你好\n\n再见\n", caplog)
    assert [(s.tag, s.lines) for s in words.sections] == [
        ("verse", ("月光", "我在等你")), ("chorus", ("回家",)), ("interlude", ()), ("verse", ("你好",)),
        ("chorus", ("再见",)),
    ]  # fmt: skip
    assert not said
    assert [s.tag for s in Lyrics.parse("前奏\n\n月光").sections] == ["intro", "verse"]
    among = Lyrics.parse("[Verse]\n天\n\n[Interlude]\n\n地\n\n人\n\n[Outro]\n啦啦\n")
    assert [(s.tag, s.lines) for s in among.sections] == [
        ("verse", ("天",)), ("interlude", ()), ("verse", ("地", "人")), ("outro", ("啦啦",)),
    ]  # fmt: skip
    timed = Lyrics.parse("[00:00.00]前奏\n[00:12.00]月光\n")
    assert [(s.tag, s.times) for s in timed.sections] == [("intro", ()), ("verse", (12.0,))]


@pytest.mark.parametrize(
    ("text", "left", "what"),
    [
        ("《月光》\n月光洒在窗前\n我在等你", 1, "'《月光》' is a title"),
        ("《月光》 - 某人\n\n月光洒在窗前\n我在等你", 1, "is a title"),
        ("# 歌名\n\n月光洒在窗前\n我在等你", 1, "'# 歌名' is a title"),
        ("[00:00.00]某人 - 月光\n[00:12.00]月光洒在窗前\n[00:15.00]我在等你", 1, "is a title"),
        ("制作人 Producer：某\n月光洒在窗前\n我在等你", 1, "is a credit"),
        ("月光洒在窗前\nOP：某公司\n我在等你", 2, "is a credit"),
        ("月光洒在窗前\n（音乐）\n我在等你", 2, "'（音乐）' is a direction"),
        ("月光洒在窗前\n我在等你\n重复副歌", 3, "'重复副歌' is a direction"),
        ("月光洒在窗前\n我在等你\n(Repeat Chorus x2)", 3, "is a direction"),
        ("C G Am F\n月光洒在窗前\n我在等你", 1, "'C G Am F' is a row of chords"),
        ("月光洒在窗前\n| C | F/A |\n我在等你", 2, "is a row of chords"),
        ("月光洒在窗前\n我在等你\n副歌：重复", 3, "'副歌：重复' is a direction"),
        ("月光洒在窗前\n我在等你\n【副歌】重复一遍", 3, "is a direction"),
        ("月光洒在窗前\n我在等你\n副歌（同上）", 3, "is a direction"),
        ("[Am]月光[F]洒在窗前\n我在等你", 1, "'[Am] [F]' is a row of chords"),
        ("月光洒在窗前(G7)\n我在等你", 1, "'(G7)' is a row of chords"),
        ("月光洒在窗前\n[C] [G] [Am]\n我在等你", 2, "is a row of chords"),
        ("月光洒在窗前\n念白：\n我在等你", 2, "is who sings"),
        ("月光洒在窗前\n念白：我在等你", 2, "'念白：' is who sings"),
        ("第一段：\n月光洒在窗前\n我在等你", 1, "'第一段' names no section"),
    ],
)
def test_what_is_not_words_is_left_out_and_named(
    text: str, left: int, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    words, said = messages(text, caplog)
    assert words.lines == ("月光洒在窗前", "我在等你")
    assert len(words.sections) == len(said) == 1
    assert said[0].startswith(f"line {left}: ") and what in said[0]


@pytest.mark.parametrize(
    ("text", "sections"),
    [
        ("主歌\n天\n副歌\n地\n主歌\n人\n重复副歌", "天地人地"),
        ("主歌\n天\n副歌\n地\n副歌：重复两遍\n尾奏\n啦", "天地地地啦"),
        ("[Verse 1]\n天\n[Chorus]\n地\n[Verse 2]\n人\n(Repeat Chorus x2)\n风", "天地人地地风"),
        ("主歌1\n天\n主歌2\n地\n重复主歌1\n重复主歌", "天地天天"),
        ("天\n\n地\n\n重复副歌\n\n人", "天地地人"),
        ("重复副歌\n天", "天"),
        ("主歌\n[00:01.00]天\n副歌\n[00:02.00]地\n重复副歌", "天地"),
    ],
)
def test_a_direction_repeats_the_section_above(text: str, sections: str) -> None:
    found = Lyrics.parse(text)
    assert "".join(line for s in found.sections for line in s.lines) == sections
    assert all(len(s.lines) == 1 for s in found.sections)
    assert Lyrics.parse(str(found)) == found


def test_lines_of_one_chord_each_are_no_words(caplog: pytest.LogCaptureFixture) -> None:
    words, said = messages("Am\n月光洒在窗前\nF/C\n我在等你", caplog)
    assert words.lines == ("月光洒在窗前", "我在等你")
    assert [line.split(":")[0] for line in said] == ["line 1", "line 3"]
    hummed = Lyrics((LyricSection("verse", ("Em", "Am", "月光")),))
    assert Lyrics.parse(str(hummed)) == hummed


@pytest.mark.parametrize(
    "line",
    [
        "《月光》里的你", "A B C D E F G", "Em Em", "(你的音乐)", "重复着副歌的旋律", "第一段感情", "他说：",
        "A - B", "天 - 地", "第一段感情：结束了", "\\重复副歌", "1", "Em", "(A)计划",
        "\\[Am]是和弦", "副歌重复着你",
    ],
)  # fmt: skip
def test_what_could_be_sung_stays(line: str, caplog: pytest.LogCaptureFixture) -> None:
    words, said = messages(f"月光洒在窗前\n{line}\n我在等你", caplog)
    assert words.lines == ("月光洒在窗前", line.removeprefix("\\"), "我在等你")
    assert not said
    assert Lyrics.parse(str(words)) == words
    assert Lyrics.parse(f"{line}\n我在等你").lines == (line.removeprefix("\\"), "我在等你")


def test_subtitles_are_sung_without_their_numbers_and_times(caplog: pytest.LogCaptureFixture) -> None:
    text = "1\n00:00:01,000 --> 00:00:03,000\n月光\n\n2\n00:00:04,000 --> 00:00:06,000\n回家\n"
    words, said = messages(text, caplog)
    assert words == Lyrics.parse("月光\n回家")
    assert said == ["line 1: numbers and times of subtitles aren't sung, here and below"]
    assert Lyrics.parse("WEBVTT\n\n00:01.000 --> 00:03.000\n月光\n").lines == ("月光",)


def test_lines_without_a_syllable_can_be_left_out() -> None:
    words = Lyrics((LyricSection("verse", ("天", "……"), (1.0, 2.0)), LyricSection("outro", ("♪♪♪",))))
    assert words.sung() == Lyrics((LyricSection("verse", ("天",), (1.0,)), LyricSection("outro")))
    assert words.sung().sung() is not words and Lyrics.parse("天").sung().lines == ("天",)


@pytest.mark.parametrize(
    "header", ["主歌1（女）", "副歌（合）：", "#主歌", "##副歌", "Verse 2 (female)", "主歌（男女）"]
)
def test_headers_that_say_who_sings(header: str):
    (section,) = Lyrics.parse(f"{header}\n月光洒在窗前\n").sections
    assert section.tag in ("verse", "chorus") and section.lines == ("月光洒在窗前",)


def test_words_in_brackets_stay_words():
    (section,) = Lyrics.parse("#我想你\n我爱你（女）\n主歌里的你（合）").sections
    assert section.lines == ("#我想你", "我爱你（女）", "主歌里的你（合）")


@pytest.mark.parametrize(
    ("text", "sections"),
    [
        ("夜空\n（间奏）\n你听", [("verse", "夜空"), ("interlude", ""), ("chorus", "你听")]),
        ("[Verse]\n夜空\n(间奏)\n你听", [("verse", "夜空"), ("interlude", ""), ("verse", "你听")]),
        ("[Interlude]\n啦啦啦", [("interlude", "啦啦啦")]),  # between square brackets it is sung
        ("主歌\n月光\n间奏~~~\n副歌\n想家", [("verse", "月光"), ("interlude", ""), ("chorus", "想家")]),
        ("[Pre-Chorus][build up]\n月光", [("pre-chorus", "月光")]),
        ("VERSE ONE\n月光\nverse II\n星光", [("verse", "月光"), ("verse", "星光")]),
        ("Chorus - 你听\n风声", [("chorus", "你听 风声")]),
        ("第二段主歌：\n月光", [("verse", "月光")]),
        ("A1\n月光\nB1\n想家", [("verse", "月光"), ("chorus", "想家")]),
        ("【橋段】\n月光\n【導歌】\n想你", [("bridge", "月光"), ("pre-chorus", "想你")]),
        ("\u200b[Verse]\n夜空\u200b里", [("verse", "夜空里")]),
        ("月光\n---\n想家", [("verse", "月光"), ("chorus", "想家")]),
    ],
)
def test_headers_and_breaks_as_people_paste_them(text, sections):
    assert [(s.tag, " ".join(s.lines)) for s in Lyrics.parse(text).sections] == sections


def test_what_a_chat_model_says_around_its_lyrics_is_left_out(caplog):
    pasted = "当然！以下是为您创作的歌词：\n\n**《想家》**\n\n[Verse]\n月光\n\n希望您喜欢！如需修改请告诉我。"
    assert Lyrics.parse(pasted).lines == ("月光",)
    assert "line 1" in caplog.text and "line 8" in caplog.text
    for sung in ("好的，我走了\n月光照我", "可以，我等你\n夜色", "希望你喜欢\n这首歌", "这是我写的歌\n给你"):
        assert Lyrics.parse(sung).lines[1:] == (sung.split("\n")[1],)
    assert Lyrics.parse("月光\nhttps://example.org/song").lines == ("月光",)


def test_numbers_of_headers_in_words_are_kept():
    parsed = Lyrics.parse("VERSE ONE\n月光\nverse II\n星光\n第三段主歌\n想家")
    assert [s.number for s in parsed.sections] == [1, 2, 3]


def test_two_languages_at_one_time_are_said(caplog):
    Lyrics.parse("[00:01.00]I love you\n[00:01.00]我爱你\n[00:05.00]Go home\n[00:05.00]回家")
    assert "2 lines begin when the line above them does" in caplog.text


@pytest.mark.parametrize("line", ["希望你喜欢！", "如果需要修改，请告诉我", "以下是我创作的歌曲："])
def test_words_that_a_chat_model_could_say_are_kept_by_the_canonical_form(line):
    sung = Lyrics((LyricSection("verse", (line, "月光", line)),))
    assert Lyrics.parse(str(sung)) == sung
