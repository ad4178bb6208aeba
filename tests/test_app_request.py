"""Requests: what can't be served is refused in one sentence, before a model is loaded."""

import math
from pathlib import Path

import pytest

from app.request import Request, check_singable, read_lyrics, read_score, read_titled, title_of
from common.description import Audience
from common.errors import LyricsError, RequestError, ScoreError, SongError
from common.lyrics import Lyrics
from common.score import Note, Score, Section
from common.theory import Key

WORDS = Lyrics.parse("<verse>\n我想家")


def score(bars: int = 4, sung: bool = True) -> Score:
    note = Note(0, 12, 60, "我" if sung else None, None, sung)
    return Score(120.0, Key(0), (Section("verse", bars, (), (note,)),))


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"description": ""}, "description is empty"),
        ({"description": ["慢歌", "快歌"]}, "a description is text"),
        ({"lyrics": 5}, "the lyrics given is no Lyrics"),
        ({"score": "X:1"}, "the score given is no Score"),
        ({"description": " \n\t　"}, "description is empty"),
        ({"description": "，。！"}, "at least one word"),
        ({"description": "长" * 2001}, "at most 2000 characters, but this one has 2001"),
        ({"duration": 4.9}, "between 5 and 240, but got 4.9"),
        ({"duration": 241}, "between 5 and 240"),
        ({"duration": math.nan}, "between 5 and 240, but got nan"),
        ({"duration": math.inf}, "between 5 and 240"),
        ({"duration": "30"}, "between 5 and 240, but got '30'"),
        ({"duration": True}, "between 5 and 240"),
        ({"seed": -1}, "seed is a whole number from 0"),
        ({"seed": 2**63}, "seed is a whole number from 0"),
        ({"seed": 1.5}, "seed is a whole number"),
        ({"num_inference_steps": 0}, "number of steps is a whole number from 1 to 1000"),
        ({"num_inference_steps": 1001}, "number of steps"),
        ({"guidance_scale": math.nan}, "guidance scale lies between 0 and 20, but got nan"),
        ({"guidance_scale": 20.1}, "guidance scale lies"),
        ({"score_guidance_scale": -0.1}, "score guidance scale lies"),
        ({"audience": "critic"}, "professional or amateur, but got 'critic'"),
        ({"instrumental": True, "lyrics": WORDS}, "an instrumental has no words"),
        ({"instrumental": True, "score": score()}, "an instrumental has no words"),
        ({"score": score(), "use_score": False}, "a score was given and --no-score too"),
        ({"instrumental": True, "rhyme": "江阳"}, "an instrumental has no words, but a rhyme was asked for"),
        ({"lyrics": WORDS, "rhyme": "江阳", "theme": "月亮"}, "no rhyme and theme can be asked of them"),
        ({"score": score(sung=False), "structure": "<verse>\n7"}, "either a structure or a score"),
        ({"score": score(), "theme": "月亮"}, "the score has its words, so no theme"),
        ({"rhyme": 5}, "a rhyme is text, but got 5"),
        ({"rhyme": "江洋"}, "the rhyme '江洋' isn't known"),
        ({"structure": "<verse>\n我想家"}, "a line of a structure is signs such as cccR"),
        ({"structure": "<verse>"}, "the structure has no line to write"),
        ({"structure": "<verse>\n" + "30\n" * 3, "duration": 10}, "90 syllables can't be sung in 10 s"),
    ],
)
def test_a_request_that_cant_be_served(values: dict, told: str) -> None:
    fault = LyricsError if "syllables" in told else RequestError
    with pytest.raises(fault, match=told):
        Request(**{"description": "一首歌", **values})


def test_what_is_asked_of_words_is_in_the_recipe_where_something_is() -> None:
    asked = Request("一首歌", structure="<verse>\n7R\n7R", rhyme=" 江阳 ", theme="")
    assert asked == Request("一首歌", structure="<verse>\n7R\n7R\n", rhyme="江阳", theme=None)  # type: ignore[arg-type]
    assert asked.wording == {"structure": "<verse>\n7R\n7R", "rhyme": "江阳"}
    assert asked.to_json()["rhyme"] == "江阳" and "theme" not in asked.to_json()
    assert not {"structure", "rhyme", "theme"} & set(Request("一首歌").to_json())


def test_own_readings_of_own_words(tmp_path: Path) -> None:
    words, readings = tmp_path / "words.txt", tmp_path / "readings.txt"
    words.write_text("<verse>\n还钱还有我", encoding="utf-8")
    readings.write_text("还{huan2}有  # what a poet may say\n", encoding="utf-8")
    assert read_titled(words, readings)[0].lines == ("还钱还{huan2}有我",)
    readings.write_text("还有", encoding="utf-8")
    with pytest.raises(LyricsError, match=r"readings\.txt, line 1: a phrase with a reading"):
        read_titled(words, readings)


def test_words_that_dont_fit_the_time() -> None:
    lyrics = Lyrics.parse("<verse>\n" + "啦" * 61)
    with pytest.raises(LyricsError, match=r"61 syllables can't be sung in 10 s.*at least 11 s"):
        Request("一首歌", lyrics=lyrics, duration=10)
    assert Request("一首歌", lyrics=lyrics, duration=11).seconds == 11
    with pytest.raises(LyricsError, match="no song is longer than 240 s"):
        check_singable(Lyrics.parse("<verse>\n" + "啦" * 1500), 240)


def test_a_score_sets_the_duration_unless_one_is_given() -> None:
    assert Request("一首歌", score=score(4)).seconds == 8.0
    assert Request("一首歌", score=score(4), duration=12).seconds == 12.0
    assert Request("一首歌").seconds == 30.0
    with pytest.raises(ScoreError, match=r"lasts 8\.0 s, more than the 6 s"):
        Request("一首歌", score=score(4), duration=6)
    with pytest.raises(ScoreError, match=r"5 to 240 s, the score 2\.0 s"):
        Request("一首歌", score=score(1))


@pytest.mark.parametrize(
    ("description", "seconds"),
    [
        ("一分钟的钢琴曲", 60.0),
        ("两分半的民谣", 150.0),
        ("慢歌，时长90秒", 90.0),
        ("三秒钟的歌", 5.0),
        ("十分钟的歌", 240.0),
        ("一首歌", 30.0),
    ],
)
def test_a_length_in_the_description_counts_where_no_other_is_given(description: str, seconds: float) -> None:
    request = Request(description)
    assert request.seconds == seconds == request.to_json()["duration"]
    assert Request(description, duration=12).seconds == 12.0
    assert Request(description, score=score(4)).seconds == 8.0


def test_an_instrumental_may_have_a_played_score() -> None:
    request = Request("一首歌", score=score(4, sung=False), instrumental=True, audience="professional")
    assert request.audience is Audience.PROFESSIONAL
    assert request.to_json()["own_score"] is True and request.to_json()["audience"] == "professional"


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("missing.txt", None, "there is no lyrics file"),
        ("words.doc", b"x", r"read from \.txt or \.lrc"),
        ("words.txt", b"", "lyrics are empty"),
        ("words.txt", "細雨敲著窗，想起了家".encode("big5"), "isn't UTF-8 text, nor UTF-16 or GB18030"),
        ("words.txt", "déjà vu, où êtes-vous".encode("latin-1"), "isn't UTF-8"),
        ("words.txt", b"\xff\xfe\x00", "isn't UTF-8"),
        ("words.txt", "<verze>\n我".encode(), "unknown section 'verze'"),
        ("words.txt", b"x" * ((1 << 20) + 1), "at most 1048576 are read"),
    ],
)
def test_lyrics_files_that_cant_be_read(tmp_path: Path, name: str, content: bytes | None, told: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(LyricsError, match=told) as caught:
        read_lyrics(tmp_path / name)
    assert name in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("《故乡的雨》\n细雨敲着窗\n", "故乡的雨"),
        ("《故乡的雨》 - 某人\n细雨敲着窗\n", "故乡的雨"),
        ("# 故乡的雨\n\n## Verse\n细雨敲着窗\n", "故乡的雨"),
        ("歌名：《故乡的雨》\n作词：某人\n细雨敲着窗\n", "故乡的雨"),
        ("[ar:某人]\r\n[ti: 故乡的雨]\r\n[00:01.00]细雨敲着窗\r\n", "故乡的雨"),
        ("[00:00.00]故乡的雨 - 某人\n[00:05.00]细雨敲着窗\n", "故乡的雨"),
        ("[ti:]\n[00:05.00]细雨敲着窗\n", ""),
        ("细雨敲着窗\n想起了家\n", ""),
        ("", ""),
        ("歌名《月光》\n词：张三\n\n细雨敲着窗", "月光"),
    ],
)
def test_the_title_that_lyrics_name(tmp_path: Path, text: str, title: str) -> None:
    assert title_of(text) == title
    if text:
        (tmp_path / "w.txt").write_text(text, encoding="utf-8")
        lyrics, named = read_titled(tmp_path / "w.txt")
        assert named == title and lyrics.lines[0] == "细雨敲着窗"


def test_lyrics_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "w.txt").write_bytes("\ufeff<verse>\n我想家".encode())
    assert read_lyrics(tmp_path / "w.txt") == WORDS


@pytest.mark.parametrize(
    ("encoding", "told"),
    [("gb18030", "GB18030"), ("gbk", "GB18030"), ("utf-16", "UTF-16"), ("utf-8", ""), ("utf-8-sig", "")],
)
@pytest.mark.parametrize("text", ["<verse>\n细雨敲着窗，\nyeah！", "<verse>\n細雨敲著窗\n照亮我回家"])
def test_lyrics_in_the_encodings_of_chinese_editors(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, encoding: str, told: str
) -> None:
    path = tmp_path / "w.txt"
    path.write_bytes(text.encode(encoding))
    assert read_lyrics(path) == Lyrics.parse(text)
    assert [m for m in caplog.messages if "isn't UTF-8" in m] == (
        [f"the lyrics file {str(path)!r} isn't UTF-8: it was read as {told}"] if told else []
    )


def test_lyrics_in_markdown(tmp_path: Path) -> None:
    (tmp_path / "w.md").write_text("# 回家\n\n## Verse\n我想家\n", encoding="utf-8")
    assert read_titled(tmp_path / "w.md") == (WORDS, "回家")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("missing.abc", None),
        ("a.xml", b"x"),
        ("a.abc", b"no tune"),
        ("a.mid", b"no tune"),
        ("a.abc", b"\xff\xfe"),
    ],
)
def test_score_files_that_cant_be_read(tmp_path: Path, name: str, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SongError) as caught:
        read_score(tmp_path / name)
    assert isinstance(caught.value, ScoreError) and name in str(caught.value)
