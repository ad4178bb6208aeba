"""write, rewrite, compose: what they promise, whatever the model has learned."""

import logging
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

import lyrics_llm
from common.errors import LyricsError, RequestError
from common.lyrics import Lyrics, LyricSection
from common.pinyin import units
from common.rhyme import group
from common.score import HOLD, Note, Score, Section
from common.theory import Key
from corpus.forms import fit
from lyrics_llm import author, model
from lyrics_llm.config import ModelConfig
from lyrics_llm.constrain import Words, _fresh
from lyrics_llm.limits import Limit, finished
from lyrics_llm.melody import harmonised, phrases, sing, structure_of
from lyrics_llm.singable import SLOW
from lyrics_llm.structure import LineForm, Structure, kept
from lyrics_llm.themes import themes
from lyrics_llm.tokens import Vocabulary, build
from lyrics_llm.writer import Writer

TEXT = "一首下雨天想家的慢歌，女声，钢琴"
MARKED = "(verse1)\nccc ccR\ncccccc\ncccccR\n(chorus1)\n5R\n3+4R\n5R\n7\n(outro)\n"


@pytest.fixture(scope="module")
def writer() -> Iterator[Writer]:
    vocabulary = Vocabulary(build())
    sizes = ModelConfig(hidden_size=16, intermediate_size=32, layers=1, heads=2, kv_heads=1, head_dim=8)
    yield Writer(model.build(sizes, vocabulary, 0), vocabulary)


# ---- structures --------------------------------------------------------------------------------


def test_a_structure_is_read_and_written() -> None:
    form = Structure.parse(MARKED)
    assert form.shape == [("verse", (6, 6, 6)), ("chorus", (5, 7, 5, 7)), ("outro", ())]
    assert [f.mark for _, lines in form.sections for f in lines] == list("A-AAAA-")
    assert form.sections[0][1][0].pauses == form.sections[1][1][1].pauses == (3,)
    assert Structure.parse(str(form)) == form
    assert Structure.of([("verse", (5, 5))]).sections[0][1] == (LineForm(5), LineForm(5))
    assert str(Structure.parse("<verse>\n7\n7\n")) == "<verse>\nccccccc\nccccccc\n"


def test_the_structure_of_lyrics_has_their_rhymes_and_pauses() -> None:
    form = Structure.of(Lyrics.parse("<verse>\n窗外 下着雨\n我在想你\nbaby don't cry\n<outro>\n"))
    assert str(form) == "<verse>\ncc ccR\ncccR\nccc\n\n<outro>\n"
    assert form.shape == [("verse", (5, 4, 3)), ("outro", ())]


@pytest.mark.parametrize(
    ("rhyme", "marks"),
    [
        ("AABA", "AABAAABA"),
        ("-A-A", "-A-A-A-A"),
        ("xaxa", "-A-A-A-A"),
        ("江阳", "AAAAAAAA"),
        (None, "????????"),
    ],
)
def test_rhymes_are_asked_for(rhyme: str | None, marks: str) -> None:
    form = Structure.of([("verse", (5,) * 4), ("chorus", (5,) * 4)]).rhymed(rhyme)
    assert "".join(f.mark for _, lines in form.sections for f in lines) == marks
    assert {f.group for _, lines in form.sections for f in lines} == {"江阳" if rhyme == "江阳" else None}


def test_a_group_holds_for_marked_lines_only() -> None:
    form = Structure.parse(MARKED).rhymed("江阳")
    assert [f.group for f in form.sections[0][1]] == ["江阳", None, "江阳"]


@pytest.mark.parametrize("text", ["<verse>\n月光\n", "<verze>\n7\n", "", "<verse>\n99\n", "<verse>\n0R\n"])
def test_bad_structures_are_refused(text: str) -> None:
    with pytest.raises(RequestError):
        Structure.parse(text)


@pytest.mark.parametrize("rhyme", ["ABCD", "江羊", "A", "押韵"])
def test_bad_rhymes_are_refused(rhyme: str) -> None:
    with pytest.raises(RequestError, match="isn't known: use a scheme such as AABA"):
        Structure.of([("verse", (5, 5))]).rhymed(rhyme)


def test_keeping_a_structure_is_counted() -> None:
    form = Structure.parse("<verse>\n3R\n3R\n3R\n2\n")
    perfect = Lyrics.parse("<verse>\n看月亮\n想故乡\n陪我唱\n晚安\n")
    assert kept(form, perfect).form
    assert (kept(form, perfect).rhymed, kept(form, perfect).marked) == (3, 3)
    worse = kept(form, Lyrics.parse("<chorus>\n看月亮\n想你\n陪我唱\n晚安\n"))
    assert (worse.sections, worse.lines, worse.rhymed, worse.form) == (0, 3, 2, False)


# ---- write -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_form_and_rhyme_are_right_by_construction(writer: Writer, seed: int) -> None:
    form = Structure.parse(MARKED)
    words = lyrics_llm.write(TEXT, MARKED, seed=seed, model=writer)
    result = kept(form, words)
    assert result.form
    assert result.rhymed == result.marked == 5
    assert Lyrics.parse(str(words)) == words
    assert words.sections[0].lines[0][3] == " "
    assert all(any(piece not in line for piece in ("下雨天想家", "的慢歌")) for line in words.lines)


def test_a_scheme_that_is_said_leaves_the_marks_of_a_structure(
    writer: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    marked = "<verse>\n5R\n5\n5R\n5\n"
    plain = lyrics_llm.write("民谣，女声", structure=marked, seed=2, model=writer)
    assert not caplog.records
    assert lyrics_llm.write("民谣，女声，韵脚AABA", structure=marked, seed=2, model=writer).lines[0]
    assert "AABA isn't followed" in caplog.text
    caplog.clear()
    asked = lyrics_llm.write("民谣，女声，韵脚AABA", structure="<verse>\n5\n5\n5\n5\n", seed=2, model=writer)
    assert group(asked.lines[0]) == group(asked.lines[1]) == group(asked.lines[3])
    said = lyrics_llm.write("民谣，女声，押江阳韵", structure=marked, seed=2, model=writer)
    assert [group(said.lines[i]) for i in (0, 2)] == ["江阳"] * 2
    assert not caplog.records and plain.lines


def test_asked_rhymes_hold(writer: Writer) -> None:
    shape = [("verse", (6, 6, 6, 6)), ("chorus", (5, 5))]
    words = lyrics_llm.write(TEXT, shape, rhyme="江阳", seed=1, model=writer)  # type: ignore[arg-type]
    assert {group(line) for line in words.lines} == {"江阳"}
    words = lyrics_llm.write(TEXT, shape, rhyme="ABAB", seed=1, model=writer)  # type: ignore[arg-type]
    a, b, c, d = (group(line) for line in words.sections[0].lines)
    assert a == c != b == d


def test_no_line_repeats_another_or_the_description(writer: Writer) -> None:
    words = lyrics_llm.write(TEXT, [("verse", (9,) * 12), ("chorus", (8,) * 6)], seed=2, model=writer)
    pieces = [line[i : i + 5] for line in words.lines for i in range(len(line) - 4)]
    assert len(pieces) == len(set(pieces))
    assert not any(piece in TEXT for piece in pieces)
    assert not any(
        line[i] == line[i + 1] == line[i + 2] for line in words.lines for i in range(len(line) - 2)
    )


def test_the_same_seed_gives_the_same_words(writer: Writer) -> None:
    once, again, other = (lyrics_llm.write(TEXT, MARKED, seed=s, model=writer) for s in (5, 5, 6))
    assert once == again != other


def test_limits_end_in_whole_lyrics(writer: Writer, caplog: pytest.LogCaptureFixture) -> None:
    form = Structure.parse(MARKED)
    for limits in ({"tokens": 0}, {"tokens": 20}, {"seconds": 0.0}):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            words = lyrics_llm.write(TEXT, MARKED, seed=3, model=writer, **limits)  # type: ignore[arg-type]
        result = kept(form, words)
        assert result.form
        assert result.rhymed == result.marked
        assert "of 7 lines come from the book of phrases" in caplog.text
    whole = lyrics_llm.write(TEXT, MARKED, seed=3, model=writer, tokens=10_000)
    assert whole == lyrics_llm.write(TEXT, MARKED, seed=3, model=writer)
    part = lyrics_llm.write(TEXT, MARKED, seed=3, model=writer, tokens=20)
    assert part.lines[:2] == whole.lines[:2]
    with pytest.raises(RequestError, match="isn't negative"):
        Limit(seconds=-1)


def test_phrases_finish_what_was_begun() -> None:
    form = Structure.parse("<verse>\n5R\n6R\n5R\n4\n<outro>\n")
    words = finished(form, [["照着我故乡"]], "思乡", "悲伤", seed=1)
    assert words.lines[0] == "照着我故乡"
    assert kept(form, words).form
    assert [group(line) for line in words.lines[:3]] == ["江阳"] * 3
    assert words == finished(form, [["照着我故乡"]], "思乡", "悲伤", seed=1)


def test_bad_requests_are_refused(writer: Writer) -> None:
    for text in ("", " 。"):
        with pytest.raises(RequestError, match="at least one word"):
            lyrics_llm.write(text, MARKED, model=writer)
    with pytest.raises(RequestError, match="no line to write"):
        lyrics_llm.write(TEXT, [("intro", ())], model=writer)
    with pytest.raises(RequestError, match="Chinese only"):
        lyrics_llm.write(TEXT, MARKED, language="en", model=writer)
    with pytest.raises(RequestError, match="theme '火星' isn't known"):
        lyrics_llm.write(TEXT, MARKED, theme="火星", model=writer)
    with pytest.raises(RequestError, match="both were given"):
        lyrics_llm.write(TEXT, MARKED, score=tune(), model=writer)


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        ([("foo", [7])], "unknown section tag 'foo': use one of intro"),
        ([("verse", ["7"])], "a whole number, but '7' were asked"),
        ([("verse", [7.0])], "a whole number, but 7.0 were asked"),
        ([("verse", [True])], "a whole number, but True were asked"),
        ([("verse", 7)], "sections with the syllables of their lines"),
        (["verse"], "sections with the syllables of their lines"),
        (7, "sections with the syllables of their lines .* but got 7"),
        (Lyrics.parse("<intro>\n<verse>\n天\n……\n"), r"section 2 \(<verse>\), line 2: '……' has 0 syllables"),
    ],
)  # fmt: skip
def test_structures_of_the_wrong_kind_are_refused(structure: object, message: str, writer: Writer) -> None:
    with pytest.raises(RequestError, match=message):
        lyrics_llm.write(TEXT, structure, model=writer)  # type: ignore[arg-type]


def test_descriptions_that_are_no_text_are_refused(writer: Writer) -> None:
    with pytest.raises(RequestError, match="a description is text, but got None"):
        lyrics_llm.write(None, MARKED, model=writer)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="a description is text, but got 3"):
        lyrics_llm.compose(MINE, 3, model=writer)  # type: ignore[arg-type]


NO_TEMPO = ["fast", float("nan"), float("inf"), 0, -10, 1e9, 29.9, (), True]


@pytest.mark.parametrize("tempo", NO_TEMPO, ids=repr)
def test_tempi_that_no_song_has_are_refused(tempo: float, writer: Writer) -> None:
    message = "a tempo is 30 to 300 quarter notes a minute, but .* was asked"
    with pytest.raises(RequestError, match=message):
        lyrics_llm.compose(MINE, TEXT, tempo=tempo, model=writer)
    with pytest.raises(RequestError, match=message):
        lyrics_llm.singability(MINE, 30, tempo=tempo)
    with pytest.raises(RequestError, match=message):
        fit(30, tempo)
    for swing in ("much", float("nan"), 2):
        with pytest.raises(RequestError, match="swing is 0"):
            lyrics_llm.compose(MINE, TEXT, swing=swing, model=writer)
    with pytest.raises(RequestError, match="5 to 600 seconds, but '30' were asked"):
        lyrics_llm.singability(MINE, "30")  # type: ignore[arg-type]


def test_a_form_is_made_where_none_is_asked(writer: Writer) -> None:
    words = lyrics_llm.write(TEXT, seed=1, duration=20, model=writer)
    assert words.lines
    assert kept(writer.structure(TEXT, 1, 20), words).form


# ---- rewrite -----------------------------------------------------------------------------------

MINE = Lyrics.parse(
    "<verse>\n窗外 下着小雨\n我在想着你\n<chorus>\n带我回到海上\n天边有一束光\nbaby don't cry\n"
)


def test_one_line_is_rewritten_and_the_rest_stays(writer: Writer) -> None:
    new = lyrics_llm.rewrite(MINE, 2, 1, "写海边", seed=1, model=writer)
    assert new.sections[0].lines == MINE.sections[0].lines
    assert new.sections[1].lines[1:] == MINE.sections[1].lines[1:]
    line = new.sections[1].lines[0]
    assert line != MINE.sections[1].lines[0]
    assert (len(units(line)), group(line)) == (6, "江阳")
    assert new == lyrics_llm.rewrite(MINE, 2, 1, "写海边", seed=1, model=writer)


def test_a_section_is_rewritten(writer: Writer) -> None:
    new = lyrics_llm.rewrite(MINE, 1, instruction="写山", seed=1, model=writer, count=4)
    assert [len(units(line)) for line in new.sections[0].lines] == [4, 4]
    assert new.sections[1] == MINE.sections[1]
    short = Lyrics.parse("<verse>\n天\n地\n")
    for seed in range(5):
        changed = lyrics_llm.rewrite(short, 1, seed=seed, instruction="写山", model=writer)
        assert all(a != b for a, b in zip(changed.lines, short.lines))


def test_times_and_numbers_stay_when_a_line_is_rewritten(writer: Writer) -> None:
    timed = Lyrics((LyricSection("verse", ("天上的光", "地上的霜"), (1.0, 2.5), 2),))
    new = lyrics_llm.rewrite(timed, 1, 2, "写山", model=writer, tokens=0)
    assert new.lines[0] == "天上的光"
    assert new.lines[1] != "地上的霜"
    assert (new.sections[0].times, new.sections[0].number) == ((1.0, 2.5), 2)


UNWRITABLE = "……", "天" * 33, "さよなら", "𠮷祥"


@pytest.mark.parametrize("odd", UNWRITABLE)
@pytest.mark.parametrize("tokens", [0, None])
def test_lines_that_none_can_be_like_stay_beside_new_ones(
    odd: str, tokens: int | None, writer: Writer
) -> None:
    mine = Lyrics(
        (LyricSection("verse", ("月光洒在窗前", odd, "我在等你回来")), LyricSection("chorus", (odd,)))
    )
    for line in (1, 3):
        new = lyrics_llm.rewrite(mine, 1, line, "写海边", seed=2, tokens=tokens, model=writer)
        kept = [a == b for a, b in zip(new.lines, mine.lines)]
        assert kept == [line != 1, True, line != 3, True]
        assert len(units(new.lines[line - 1])) == 6
    for line in (2, None):
        with pytest.raises(RequestError, match=r"section 1 \(<verse>\), line 2: .* with `count`"):
            lyrics_llm.rewrite(mine, 1, line, "写海边", model=writer)
    new = lyrics_llm.rewrite(mine, 1, 2, "写海边", count=5, tokens=tokens, model=writer)
    assert (new.lines[0], new.lines[2:], len(units(new.lines[1]))) == (mine.lines[0], mine.lines[2:], 5)
    new = lyrics_llm.rewrite(mine, 1, None, "写海边", count=5, tokens=tokens, model=writer)
    assert [len(units(line)) for line in new.sections[0].lines] == [5, 5, 5]
    assert new.sections[1] == mine.sections[1]


def test_spaces_around_letters_and_digits_are_no_pauses(writer: Writer) -> None:
    form = Structure.of(Lyrics.parse("<verse>\nKTV 里 25 岁\n窗外 下着 雨\n"))
    assert [(f.count, f.pauses) for f in form.sections[0][1]] == [(8, ()), (5, (2, 4))]
    new = lyrics_llm.rewrite(Lyrics.parse("<verse>\nKTV 里 25 岁\n"), 1, 1, "写海边", model=writer)
    assert " " not in new.lines[0]


def test_lyrics_may_be_text_and_other_types_are_refused(writer: Writer) -> None:
    new = lyrics_llm.rewrite(str(MINE), 2, 1, "写海边", seed=1, model=writer)
    assert new == lyrics_llm.rewrite(MINE, 2, 1, "写海边", seed=1, model=writer)
    sung = lyrics_llm.compose("<verse>\n天上光\n我在想着你呀\n", "写海边", melody=tune())
    assert sung.lyrics().lines == ("天上光", "我在想着你呀")
    for wrong, told in (
        (
            lambda: lyrics_llm.write(TEXT, score="x.abc", model=writer),
            "the score is one that was read.*'x.abc'",
        ),
        (lambda: lyrics_llm.compose(MINE, TEXT, melody="x.abc", model=writer), "the melody is one that was"),
        (lambda: lyrics_llm.rewrite(3, 1, model=writer), "lyrics are text.* but got 3"),
        (lambda: lyrics_llm.write(TEXT, seed="x", model=writer), "the seed is a whole number, but got 'x'"),
        (lambda: lyrics_llm.rewrite(MINE, 1, seed=1.5, model=writer), "the seed is a whole number"),
        (lambda: lyrics_llm.compose(MINE, TEXT, seed=True, model=writer), "the seed is a whole number"),
    ):
        with pytest.raises(RequestError, match=told):
            wrong()  # type: ignore[no-untyped-call]


def test_bad_places_are_named(writer: Writer) -> None:
    for section, line, message in (
        (3, 1, "no section 3: .* have 2"),
        (2, 4, "no line 4 in section 2: it has 3"),
    ):
        with pytest.raises(LyricsError, match=message):
            lyrics_llm.rewrite(MINE, section, line, "写海边", model=writer)
    with pytest.raises(RequestError, match="what the new words are about"):
        lyrics_llm.rewrite(Lyrics.parse("<verse>\n啦\n"), 1, model=writer)


# ---- melodies ----------------------------------------------------------------------------------


def tune() -> Score:
    """Two phrases of five and four played notes, a rest between them, in C."""
    first = [Note(12 * i, 12, 60 + p) for i, p in enumerate((0, 4, 7, 4))] + [Note(48, 24, 60)]
    second = [Note(96 + 6 * i, 6, 60 + p) for i, p in enumerate((7, 5, 4))] + [Note(114, 30, 60)]
    return Score(100.0, Key(0), (Section("verse", 4, (), tuple(first + second)),))


def test_words_are_written_for_a_melody(writer: Writer) -> None:
    score = tune()
    assert structure_of(score).shape == [("verse", (5, 4))]
    words = lyrics_llm.write(TEXT, score=score, seed=1, model=writer)
    sung = lyrics_llm.compose(words, TEXT, melody=score)
    assert sung.lyrics() == words
    assert [(n.start, n.duration, n.pitch) for n in sung.sections[0].notes] == [
        (n.start, n.duration, n.pitch) for n in score.sections[0].notes
    ]
    assert structure_of(sung).shape == [("verse", (5, 4))]
    assert sung.sections[0].chords[0].symbol == "C"
    assert sung.duration == score.duration


def test_shorter_lines_hold_notes_and_longer_ones_split_them() -> None:
    sung = sing(tune(), Lyrics.parse("<verse>\n天上光\n我在想着你呀\n"))
    first, second = phrases(sung.sections[0])
    assert sorted(n.syllable or "" for n in first) == sorted(["天", HOLD, HOLD, "上", "光"])
    assert first[0].syllable == "天"
    assert [n.syllable for n in second] == list("我在想着你呀")
    assert second[-1].start + second[-1].duration == 144
    assert [n.pitch for n in second[-3:]] == [60, 60, 60]
    with pytest.raises(LyricsError, match="too many for 4 notes"):
        sing(tune(), Lyrics.parse("<verse>\n天\n" + "我" * 20 + "\n"))
    with pytest.raises(LyricsError, match=r"section 1 \(verse\): '……' has nothing to sing, but .* 4 notes"):
        lyrics_llm.compose(Lyrics.parse("<verse>\n天\n……\n"), "写海边", melody=tune())
    with pytest.raises(LyricsError, match="has 2 lines, but the lyrics have 1"):
        sing(tune(), Lyrics.parse("<verse>\n天\n"))
    with pytest.raises(LyricsError, match="the melody has the sections verse"):
        sing(tune(), Lyrics.parse("<chorus>\n天\n"))


def test_a_melody_without_notes_is_refused() -> None:
    with pytest.raises(RequestError, match="no melody"):
        structure_of(Score(100.0, Key(0), (Section("intro", 1),)))


def test_chords_fit_the_melody_and_given_ones_stay(caplog: pytest.LogCaptureFixture) -> None:
    section = Section("verse", 3, (), (Note(0, 48, 60), Note(48, 24, 62), Note(72, 24, 67), Note(96, 48, 64)))
    with caplog.at_level(logging.WARNING):
        score = harmonised(Score(100.0, Key(0), (section,)))
    assert [(c.start, c.symbol) for c in score.sections[0].chords] == [(0, "C"), (48, "G"), (96, "C")]
    assert "triads of C" in caplog.text
    assert harmonised(score) is score


def test_chords_follow_strong_beats() -> None:
    """Twinkle, Twinkle, Little Star: A A G would otherwise stay on the tonic chord."""
    pitches = ((60, 60, 67, 67), (69, 69, 67, 67), (65, 65, 64, 64), (62, 62, 60, 60))
    notes = tuple(Note(48 * b + 12 * i, 12, p) for b, bar in enumerate(pitches) for i, p in enumerate(bar))
    score = harmonised(Score(100.0, Key(0), (Section("verse", 5, (), (*notes, Note(192, 48, 60))),)))
    assert [(c.start // 48, c.symbol) for c in score.sections[0].chords] == [
        (0, "C"),
        (1, "F"),
        (3, "G"),
        (4, "C"),
    ]


def test_given_melodies_keep_their_tempo(writer: Writer) -> None:
    with pytest.raises(RequestError, match="has its own duration"):
        lyrics_llm.compose(MINE, TEXT, melody=tune(), tempo=90, model=writer)


# ---- singability, themes -----------------------------------------------------------------------


def test_singability_says_what_to_do() -> None:
    words = Lyrics.parse(
        "<verse>\n窗外下着雨我想你\n" + "带我回到海上吧\n" * 3 + "<chorus>\n天边有一束光\n我在等你\n"
    )
    good = lyrics_llm.singability(words, 30)
    assert good.fits
    assert [s.syllables for s in good.sections] == [29, 10]
    assert all(1.0 < s.rate < 4.0 for s in good.sections)
    slow = lyrics_llm.singability(words, 150)
    assert len(slow.warnings) == 2
    assert all(s.rate < SLOW for s in slow.sections)
    assert f"ask for {slow.natural:g} s" in slow.warnings[0]
    fast = lyrics_llm.singability(words, 12)
    assert "10 syllables in 2.4 s are 4.1 a second, fast to sing: leave out about 3" in fast.warnings[0]
    hopeless = lyrics_llm.singability(words, 6)
    assert not hopeless.sections
    assert "39 syllables in 6 lines need at least" in hopeless.warnings[0]
    for duration in (5, 5.4, 6, 7.5):
        said = lyrics_llm.singability(words, duration).warnings[0]
        least = int(said.partition("at least ")[2].split(" ")[0])
        assert least > duration
        assert lyrics_llm.singability(words, least).sections
        assert not lyrics_llm.singability(words, max(5, least - 1)).sections
    endless = Lyrics.parse("<verse>\n" + ("天" * 32 + "\n") * 120)
    assert "need more than 600 seconds" in lyrics_llm.singability(endless, 600).warnings[0]
    with pytest.raises(LyricsError, match="no lines to sing"):
        lyrics_llm.singability(Lyrics.parse("<intro>\n"), 30)
    with pytest.raises(RequestError, match="lasts 5 to 600 seconds"):
        lyrics_llm.singability(words, 1000)


def test_themes_are_the_lyrics_own() -> None:
    words = Lyrics.parse("<verse>\n窗外下着雨\n我想念妈妈\n雨中想妈妈\n<chorus>\n妈妈你好吗\n想念着故乡\n")
    found = themes(words)
    assert found.words[:2] == ("妈妈", "想念")
    assert set(found.words) <= {w for line in words.lines for w in (line[i : i + 2] for i in range(4))}
    assert themes(Lyrics.parse("<verse>\n啦啦啦\n")).texts == ()


def test_importing_the_room_is_light() -> None:
    code = "import sys, lyrics_llm; assert not {'torch', 'transformers'} & set(sys.modules); lyrics_llm.write"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_demo_is_found_by_its_name() -> None:
    assert isinstance(author.load("demo"), Writer)
    with pytest.raises(RequestError, match="takes no adapter"):
        author.load("demo", four_bit=True)


def test_a_score_has_the_theme_of_its_words_and_no_other() -> None:
    moon = lyrics_llm.compose("月亮挂在天上\n月亮照着我家\n月光洒满窗", "一首慢歌", 1)
    assert moon.meta["theme"] == moon.title == "月亮"
    none = lyrics_llm.compose("我把门打开\n走到街上来", "一首慢歌", 1)
    assert "theme" not in none.meta and none.title == "我把门打开"
    told = lyrics_llm.compose("我把门打开\n走到街上来", "想家的慢歌", 1)
    assert told.meta["theme"] == "思乡"


def test_words_for_themes_are_whole_words() -> None:
    assert themes(Lyrics.parse("妈妈的手很暖\n妈妈的饭很香")).words == ("妈妈",)


@pytest.mark.parametrize("place", [(1.5, 1), ("1", 1), (1, 1.0), (True, 1)])
def test_places_of_lines_are_numbers(place: tuple) -> None:
    with pytest.raises(RequestError, match="told by its number"):
        lyrics_llm.rewrite("夜空\n星光", *place, "写海边")


def test_a_new_line_rhymes_as_its_instruction_says() -> None:
    words = Lyrics.parse("<verse>\n细雨敲着窗\n想起了家\n夜里有灯光\n远方的她\n")
    for rhyme in ("言前", "中东"):
        fresh = lyrics_llm.rewrite(words, 1, 2, f"写海边，押{rhyme}韵")
        assert group(fresh.lines[1]) == rhyme
        assert fresh.lines[::2] == words.lines[::2] and fresh.lines[3] == words.lines[3]


def test_a_phrase_keeps_its_last_notes() -> None:
    """A long note ends a phrase where enough follows, not one before the bar's last."""

    def counts(*lengths: int) -> list[int]:
        starts = [sum(lengths[:i]) for i in range(len(lengths))]
        notes = tuple(Note(at, length, 60) for at, length in zip(starts, lengths))
        return [len(line) for line in phrases(Section("verse", -(-sum(lengths) // 48), (), notes))]

    assert counts(12, 12, 12, 12, 24, 24) == [6]
    assert counts(12, 12, 24, 12, 24, 12, 12) == [7]
    assert counts(12, 12, 12, 24, 12, 12, 12, 24) == [4, 4]


def test_no_line_says_a_piece_twice_in_a_row() -> None:
    """课桌挤满课桌挤满课桌 was written for a line of nine."""
    words = Words(Vocabulary(build()))
    for line, refused in (("课桌挤满课桌挤", "满"), ("我想你我想", "你"), ("一步一", "步")):
        allowed = np.array([words.ids[c] for c in "满你步好"], np.int64)
        left = {words.names[i] for i in _fresh(words, allowed, line, (), ends=False).tolist()}
        assert left == set("满你步好") - ({refused} if len(line) > 3 else set())
