"""The writer with a model of random weights: what holds whatever a model has learned."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from common.errors import CheckpointError, LyricsError, RequestError
from common.lyrics import Lyrics, LyricSection
from common.theory import Key
from corpus.genres import GENRES
from corpus.words import THEMES
from lyrics_llm import model, tokens
from lyrics_llm.config import ModelConfig
from lyrics_llm.evaluate import distinct, form_agreement, rhyme_rate
from lyrics_llm.occasions import OCCASIONS, occasion
from lyrics_llm.sample import Temper, write
from lyrics_llm.sequence import lyrics_tokens, plan_tokens
from lyrics_llm.sketch import natural_duration
from lyrics_llm.tokens import LYRICS, PAD, Vocabulary, build
from lyrics_llm.wishes import wishes_of
from lyrics_llm.writer import Writer, aligned_words, fitted_sketch

TEXT = "一首下雨天想家的慢歌，女声，钢琴"


@pytest.fixture(scope="module")
def writer() -> Writer:
    vocabulary = Vocabulary(build())
    sizes = ModelConfig(hidden_size=16, intermediate_size=32, layers=1, heads=2, kv_heads=1, head_dim=8)
    return Writer(model.build(sizes, vocabulary, 0), vocabulary)


def test_a_description_becomes_a_song_of_exactly_its_duration(writer: Writer) -> None:
    sketch = writer.plan(TEXT, seed=1, duration=14)
    lyrics = writer.write(TEXT, sketch, seed=1)
    score = writer.compose(lyrics, sketch, seed=1)
    assert score.duration == pytest.approx(14.0, abs=1e-9)
    assert score.lyrics() == lyrics
    assert score.meta["singer"] == "female"
    assert (sketch.theme, sketch.harmony) == ("下雨天", "钢琴")
    assert sketch.tempo < 83


def test_the_same_seed_gives_the_same_song_alone_or_in_a_batch(writer: Writer) -> None:
    alone = writer.write(TEXT, [("verse", (5, 5))], seed=3)
    assert writer.write(TEXT, [("verse", (5, 5))], seed=3) == alone
    assert writer.write(TEXT, [("verse", (5, 5))], seed=4) != alone
    sketch = writer.plan(TEXT, seed=3, duration=14)
    other = writer.plan("热血的摇滚，男声", seed=4, duration=20)
    together = writer.writes([TEXT, "热血的摇滚，男声"], [sketch, other], [3, 4])
    assert together == [writer.write(TEXT, sketch, seed=3), writer.write("热血的摇滚，男声", other, seed=4)]


def test_what_is_said_outright_wins(writer: Writer) -> None:
    sketch = writer.plan("纯音乐，98bpm，A小调，古筝", seed=2, duration=30)
    assert sketch.singer == "none"
    assert sketch.key == Key(9, "minor")
    assert sketch.tempo == pytest.approx(98)
    assert sketch.harmony == "古筝"
    assert not any(section.lines for section in sketch.form)
    told = writer.plan("女声，98bpm", seed=2, singer="male", tempo=150, key="D major", genre="爵士")
    assert (told.singer, told.genre, told.key) == ("male", "爵士", Key(2))
    assert told.tempo == pytest.approx(150)


def test_another_metre_is_told(caplog: pytest.LogCaptureFixture) -> None:
    for text, metre in (
        ("华尔兹，女声", "华尔兹"),
        ("3/4拍的民谣", "3/4"),
        ("三拍子", "三拍子"),
        ("慢Waltz", "Waltz"),
    ):
        caplog.clear()
        wishes_of(text, {})
        assert f"{metre} isn't followed" in caplog.text
    caplog.clear()
    wishes_of("4/4拍，每分钟90拍，13/4", {})
    assert not caplog.text


@pytest.mark.parametrize(
    ("said", "drums"),
    [("不要鼓", False), ("没有打击乐", False), ("要有鼓点", True), ("不要鼓机要架子鼓", True)],
)
def test_refused_drums_stay_silent(writer: Writer, said: str, drums: bool) -> None:
    sketch = writer.plan(f"热烈的摇滚，男声，{said}", seed=5, duration=40)
    score = writer.compose(writer.write(said, sketch, seed=5), sketch, seed=5)
    assert sketch.drums is drums
    assert any(section.groove for section in score.sections) is drums
    assert drums or not any(section.fill for section in score.sections)


def test_a_short_song_is_mostly_sung_and_leaves_room_for_the_instrument_that_was_asked_for(
    writer: Writer,
) -> None:
    for seed in range(12):
        form = writer.plan("流行歌，女声，小提琴", seed=seed, duration=20).form
        sung = sum(section.bars for section in form if section.lines)
        assert 0.6 <= sung / sum(section.bars for section in form) < 1


def test_anybodys_words_are_sung(writer: Writer, caplog: pytest.LogCaptureFixture) -> None:
    mine = Lyrics.parse("[verse]\n窗外下着雨 我想你\nbaby don't cry\n\n[chorus]\n回家吧回家吧\n龘龘在等你\n")
    score = writer.compose(mine, "一首想家的歌", duration=20, seed=3)
    assert score.duration == pytest.approx(20.0, abs=1e-9)
    assert next(s for s in score.lyrics().sections if s.lines).lines[1] == "baby don't cry"
    assert "".join(n.syllable or "" for n in score.note_spans(sung=True)).replace("-", "").endswith("等你")
    with caplog.at_level(logging.WARNING):
        sung = writer.compose(Lyrics.parse("[verse]\n天地\n"), "纯音乐", duration=10)
    assert "a singer is chosen" in caplog.text
    assert sung.meta["singer"] != "none"


def test_too_many_words_are_refused_and_many_are_warned_of(
    writer: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    line = "窗外下着雨我想你一二三四"
    with pytest.raises(
        LyricsError, match=r"240 syllables in 20 lines need at least \d+ seconds .* but 20 were"
    ):
        writer.compose(Lyrics.parse("[verse]\n" + (line + "\n") * 20), "歌", duration=20)
    with caplog.at_level(logging.WARNING):
        writer.compose(Lyrics.parse("[verse]\n" + (line + "\n") * 4), "快歌", duration=12)
    assert "a second is fast to sing" in caplog.text
    with pytest.raises(LyricsError, match="1 to 32 syllables"):
        writer.compose(Lyrics.parse("[verse]\n" + "天" * 33), "歌", duration=60)


def test_a_section_of_many_lines_is_sung_in_several(writer: Writer, caplog: pytest.LogCaptureFixture) -> None:
    sketch = replace(writer.plan(TEXT, seed=1, duration=100), tempo=216.0)
    mine = Lyrics((LyricSection("verse", ("月光洒在窗前我",) * 36),))
    with caplog.at_level(logging.WARNING):
        fitted = fitted_sketch(sketch, mine)
    assert "at most 64 bars, so the words are sung in 2 sections and not in 1" in caplog.text
    words = aligned_words(mine, fitted)
    assert [s.tag for s in words.sections if s.lines] == ["verse", "verse"]
    assert words.lines == mine.lines
    assert [(s.tag, tuple(len(line) for line in s.lines)) for s in words.sections] == fitted.shape


def test_what_is_not_kept_of_lyrics_is_said(writer: Writer, caplog: pytest.LogCaptureFixture) -> None:
    mine = Lyrics.parse("[00:01.00]月光洒在窗前\n[00:20.00]♪♪♪\n[00:30.00]我在等你\n")
    with caplog.at_level(logging.WARNING):
        score = writer.compose(mine, TEXT, duration=14)
    assert score.lyrics().lines == ("月光洒在窗前", "我在等你")
    said = [r.getMessage() for r in caplog.records]
    assert "section 1 (<verse>), line 2: '♪♪♪' has nothing to sing and is left out" in said
    assert "the times of the lyrics aren't followed: the song has its own" in said


def test_words_that_are_few_for_their_time_are_warned_of(
    writer: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    mine = Lyrics.parse("<verse>\n月光洒在窗前\n我在等你\n")
    sketch = writer.plan(TEXT, seed=1, duration=60)
    caplog.clear()
    form = fitted_sketch(sketch, mine).form
    assert "10 syllables are few for 60 seconds" in caplog.text
    assert f"ask for about {natural_duration(mine):g} seconds" in caplog.text
    played = sum(section.bars for section in form if not section.lines)
    assert played > sum(section.bars for section in form) / 2
    caplog.clear()
    fitted_sketch(writer.plan(TEXT, seed=1, duration=natural_duration(mine)), mine)
    assert not caplog.records


def test_bad_requests_are_named(writer: Writer, tmp_path: Path) -> None:
    for text in ("", " 。，"):
        with pytest.raises(RequestError, match="at least one word"):
            writer.plan(text)
    with pytest.raises(RequestError, match="no 'tempi'"):
        writer.plan(TEXT, tempi=3)
    with pytest.raises(RequestError, match="genre '土嗨' isn't known: choose one of"):
        writer.plan(TEXT, genre="土嗨")
    with pytest.raises(CheckpointError, match="holds no lyric model"):
        Writer.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError):
        Writer.from_pretrained(tmp_path)


def test_a_saved_writer_writes_the_same(writer: Writer, tmp_path: Path) -> None:
    writer.save_pretrained(tmp_path)
    shape = [("verse", (4, 4))]
    assert Writer.from_pretrained(tmp_path).write(TEXT, shape, seed=5) == writer.write(TEXT, shape, seed=5)  # type: ignore[arg-type]


def test_rows_are_fed_as_one_by_one(writer: Writer) -> None:
    """The sampler's cache, padding and forced tokens against a forward pass over the whole row."""

    def grammar(count: int):  # type: ignore[no-untyped-def]
        import numpy as np

        for index in range(count):
            free = np.arange(400, 500) if index % 3 else np.array([7])
            yield free
        return count

    prompts = [[5, 6, 7], [9, 8, 7, 6, 5, 4]]
    generators = [torch.Generator().manual_seed(s) for s in (1, 2)]
    greedy = Temper(1e-6, 1.0)
    _, rows = write(
        writer.model, prompts, [grammar(9), grammar(5)], generators, greedy, writer.vocabulary.ids[PAD]
    )
    for prompt, row in zip(prompts, rows):
        for place, token in enumerate(row):
            if place % 3:
                whole = torch.tensor([[*prompt, *row[:place]]])
                logits = writer.model(input_ids=whole).logits[0, -1, 400:500]
                assert int(logits.argmax()) + 400 == token


def test_figures() -> None:
    lyrics = Lyrics.parse("<verse>\n天上的月亮\n照着我故乡\n你在哪里\n<chorus>\n月亮\n")
    assert rhyme_rate([lyrics]).value == pytest.approx(2 / 3)
    assert distinct([lyrics, lyrics]).value == 0.5
    asked = [("verse", (5, 5, 4)), ("bridge", (2,))]
    agreement = form_agreement([(asked, lyrics)])  # type: ignore[list-item]
    assert [agreement[k].value for k in ("tags", "lines", "characters")] == [0.5, 1.0, 1.0]


def test_the_likeliest_of_several_drafts_of_a_line_is_written(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sketch = writer.plan(TEXT, seed=1, duration=30)

    def likelihood(drafts: int) -> float:
        """Mean log-probability, among characters, of what is written with so many drafts."""
        monkeypatch.setattr("lyrics_llm.writer._DRAFTS", drafts)
        rows = []
        for seed in range(3):
            words = writer.write(TEXT, sketch, seed)
            assert [(s.tag, tuple(map(len, s.lines))) for s in words.sections] == sketch.shape
            prompt = writer.prompt(TEXT) + writer.vocabulary.encode([*plan_tokens(sketch), LYRICS])
            ids = torch.tensor([prompt + writer.vocabulary.encode(lyrics_tokens(writer.vocabulary, words))])
            with torch.no_grad():
                scores = writer.model(input_ids=ids).logits[0, :-1]
            han = torch.tensor(writer.vocabulary.han)
            at = torch.isin(ids[0, 1:], han) & (torch.arange(len(scores)) >= len(prompt))
            chances = scores.gather(1, ids[0, 1:, None])[:, 0] - scores[:, han].logsumexp(1)
            rows.append(float(chances[at].mean()))
        return sum(rows) / len(rows)

    assert likelihood(16) > likelihood(1)


def test_a_clear_mood_decides_between_major_and_minor() -> None:
    def scales(text: str, **fixed: str) -> object:
        return wishes_of(text, fixed).get("scale")

    assert scales("一首伤感的流行歌") == ("minor",) and scales("一首欢快的流行歌") == ("major",)
    assert set(scales("下雨天，心里难过")) == {"minor", "dorian", "yu", "blues"}
    assert set(scales("欢快的小调歌曲")) == {"minor", "dorian", "yu", "blues"}  # what is said outright wins
    assert scales("欢快的歌", key="A minor") == "minor"
    assert scales("温柔的歌") is None  # neither bright nor dark
    assert not scales("伤感的民谣")  # which has no minor scale here


# ---- occasions -----------------------------------------------------------------------------


def test_every_occasion_is_sung_of_by_a_known_theme_in_a_known_mood():
    words = [word for one in OCCASIONS for word in one.words]
    assert len(words) == len(set(words)) and all(len(word) > 1 for word in words)
    for one in OCCASIONS:
        assert one.themes and set(one.themes) <= set(THEMES), one
        assert set(one.moods) <= set(tokens.PLAN_FIELDS["mood"]), one
        assert one.tempo in (None, "slow", "easy", "medium", "fast")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("给爷爷的生日歌，热闹一点", "生日"),
        ("哄宝宝睡觉的摇篮曲", "摇篮曲"),
        ("跑步时听的歌，不要爱情", "跑步"),
        ("不是圣诞歌，要安静", None),
        ("一首慢歌，女声", None),
    ],
)
def test_an_occasion_is_read(text: str, word: str | None):
    found = occasion(text)
    assert (found and found[0]) == word


def test_what_is_named_is_sung_of_whatever_the_occasion():
    assert wishes_of("下雨天的生日歌", {})["theme"] == "下雨天"
    assert wishes_of("生日歌", {"theme": "江湖"})["theme"] == "江湖"
    undecided = {"theme": None, "singer": None, "mood": None}
    assert wishes_of("伤感的歌，下雨天，童声", undecided) == wishes_of("伤感的歌，下雨天，童声", {})
    assert wishes_of("伤感的歌，下雨天，童声", undecided)["theme"] == "下雨天"
    assert "失恋" not in wishes_of("儿歌，童声", undecided)["theme"]
    assert wishes_of("生日歌", {})["theme"] == wishes_of("给爷爷过大寿", {})["theme"] == "生日"
    assert set(wishes_of("军训的歌", {})["theme"]) == {"青春", "梦想", "毕业"}
    lullaby = wishes_of("摇篮曲", {})
    assert max(lullaby["tempo"]) <= 80 and lullaby["mood"] == ("宁静", "温柔")
    assert wishes_of("伤感的摇篮曲，100 BPM", {})["mood"] == "伤感"
    assert wishes_of("伤感的摇篮曲，100 BPM", {})["tempo"] == 100
    assert "theme" not in wishes_of("生日歌", {}, read=False)


def test_refusals_decide_what_is_left(caplog: pytest.LogCaptureFixture) -> None:
    assert wishes_of("流行，不要童声", {})["singer"] == ("female", "male")
    assert wishes_of("流行，不要男声", {})["singer"] == ("female",)
    assert wishes_of("不要女声，不要男声", {})["singer"] == ("child", "none")
    assert "none" not in wishes_of("不是纯音乐的曲子", {})["singer"]
    assert "摇滚" not in wishes_of("公司年会，不要摇滚", {})["genre"]
    assert "孤独" not in wishes_of("不要孤独的歌", {})["mood"]
    assert max(wishes_of("不要快歌", {})["tempo"]) <= 110
    assert "失恋" not in wishes_of("别写失恋", {})["theme"]
    assert not {"告白", "初恋"} & set(wishes_of("不要写爱情", {})["theme"])
    assert wishes_of("不要摇滚，爵士", {})["genre"] == "爵士"
    for text in ("男女对唱的情歌", "阿卡贝拉"):
        wishes_of(text, {})
    assert "one voice sings: 男女对唱" in caplog.text and "always play: 阿卡贝拉" in caplog.text


def test_children_sing_what_is_theirs() -> None:
    assert wishes_of("失恋了", {})["singer"] == ("female", "male")
    assert (
        "child" in wishes_of("童年的夏天", {})["singer"] and "child" in wishes_of("给孩子的歌", {})["singer"]
    )
    assert wishes_of("一首儿歌", {})["singer"] == "child"
    lullaby = wishes_of("妈妈唱给孩子的摇篮曲", {})
    assert lullaby["singer"] == "female" and max(lullaby["tempo"]) <= 80 and "摇滚" not in lullaby["genre"]
    named = wishes_of("写给母亲的摇篮曲", {})
    assert named["theme"] == "母亲" and named["mood"] == ("宁静", "温柔")


def test_only_who_is_named_plays() -> None:
    wishes = wishes_of("只要钢琴和人声", {})
    assert wishes["harmony"] == "钢琴" and wishes["lead"] == ("钢琴",)


def test_latin_words_of_occasions_are_whole() -> None:
    for text, found in (("a love song", "love"), ("Lullaby in clover", "lullaby"), ("lovely clover", None)):
        named = occasion(text)
        assert (named and named[0]) == found


def test_who_has_the_tune() -> None:
    def players(text: str, **fixed: object) -> tuple[object, object]:
        found = wishes_of(text, fixed)
        return found.get("harmony"), found.get("lead")

    assert players("钢琴曲") == ("钢琴", "钢琴") == players("钢琴，安静的", singer="none")
    assert players("古筝独奏，纯音乐") == ("古筝", "古筝")
    assert players("小提琴和钢琴的纯音乐") == ("钢琴", "小提琴") == players("纯音乐，钢琴，小提琴")
    assert players("民谣，男声，钢琴") == ("钢琴", None) == players("钢琴曲", singer="female")
    assert players("民谣，男声，钢琴和口琴") == ("钢琴", "口琴")
    _, lead = players("纯音乐，不要钢琴")
    assert "钢琴" not in lead and "木吉他" in lead  # type: ignore[operator]


def test_children_and_clear_moods_keep_away_from_what_doesnt_suit_them():
    assert not {"失恋", "打工", "告白"} & set(wishes_of("儿歌，童声", {})["theme"])
    assert "失恋" not in wishes_of("欢快的流行歌", {})["theme"]
    assert (
        "婚礼" not in wishes_of("忧郁的民谣", {})["theme"] and "失恋" in wishes_of("忧郁的民谣", {})["theme"]
    )
    assert "theme" not in wishes_of("流行歌，女声", {})


def genres(text: str) -> set[str]:
    wished = wishes_of(text, {})["genre"]
    return {wished} if isinstance(wished, str) else set(wished)


def test_an_undecided_genre_suits_the_mood_the_theme_the_pace_and_who_plays() -> None:
    assert "抒情" in genres("写给妈妈的歌，钢琴") and not {"电子", "摇滚", "放克"} & genres("写给妈妈的歌")
    assert not {"电子", "摇滚"} & genres("温柔的女声，钢琴") and not {"抒情", "节奏布鲁斯"} & genres(
        "燃一点的歌"
    )
    assert genres("BPM160") == {"摇滚"} and not {"电子", "摇滚"} & genres("慢歌")
    assert genres("江南烟雨，朦胧，古筝") == {"古风"}
    assert "嘻哈" not in genres("伤感的歌") and not {"摇滚", "嘻哈", "电子"} & genres("不要鼓")
    assert wishes_of("写给妈妈的电子音乐，温柔", {})["genre"] == "电子"  # what is named wins
    assert genres("女声") == set(GENRES) - {"嘻哈", "雷鬼", "放克", "爵士", "节奏布鲁斯"}
    assert "嘻哈" in genres("街头") and "爵士" in genres("慵懒") and genres("写江湖") == {"古风"}
    assert "genre" not in wishes_of("写给妈妈的歌", {}, read=False)


def test_an_undecided_mood_suits_the_theme_and_the_genre() -> None:
    assert set(wishes_of("写给妈妈的歌", {})["mood"]) == {"温暖", "温柔", "深情", "怀旧", "思念", "思乡"}
    assert wishes_of("写给妈妈的古风歌", {})["mood"] == ("思乡",)
    assert "mood" not in wishes_of("写给爸爸的摇滚", {}) and wishes_of("妈妈，欢快", {})["mood"] == "欢快"
    assert not {"孤独", "忧郁", "思念", "伤感"} & set(wishes_of("失恋了，不要太悲伤", {})["mood"])


@pytest.mark.parametrize(
    ("text", "moods", "themes"),
    [
        ("看书时听的", {"宁静", "温柔"}, {"日常", "春天", "秋天", "星空", "月亮"}),
        ("下班后放松", {"轻松"}, {"日常", "城市夜晚", "海边"}),
        ("老公出轨了，恨", {"愤怒"}, {"失恋"}),  # the occasion has 伤感 and 忧郁, too, but hatred is clear
        ("广告歌", {"欢快", "动感", "阳光", "轻松"}, {"日常", "夏天", "旅行"}),
        ("毕业典礼上的歌", {"青春", "怀旧", "深情", "温暖"}, {"毕业"}),
    ],
)
def test_occasions_have_their_moods_and_themes(text: str, moods: set[str], themes: set[str]) -> None:
    wishes = wishes_of(text, {})
    found = [{wish} if isinstance(wish, str) else set(wish) for wish in (wishes["mood"], wishes["theme"])]
    assert found == [moods, themes]
    if text[0] in "看下":
        assert max(wishes["tempo"]) <= 100


def test_a_free_theme_suits_the_mood_that_was_chosen(writer: Writer) -> None:
    sad = {"失恋", "离别", "孤独", "失眠"}
    plans = writer.plans(["女声"] * 60, range(60), [14.0] * 60)
    bright = [plan.theme for plan in plans if plan.mood in ("欢快", "阳光", "俏皮", "自信", "动感")]
    assert bright and not sad & set(bright)


def test_traditional_characters_are_read_as_simplified_ones(writer: Writer) -> None:
    assert writer.prompt("寫給媽媽的歌") == writer.prompt("写给妈妈的歌")


def test_a_feeling_that_is_a_theme_is_sung_of() -> None:
    assert wishes_of("流行，女声，想家", {})["theme"] == "思乡"
    assert wishes_of("下雨天想家的歌", {})["theme"] == "下雨天"
    assert wishes_of("孤独的歌", {})["theme"] == "孤独"
    assert len(wishes_of("热血的歌", {})["theme"]) > 5  # no theme is called so


def test_a_pace_that_is_wished_for_and_refused_is_mild() -> None:
    tempi = wishes_of("速度快一点，但不要太快", {})["tempo"]
    assert min(tempi) >= 100 and max(tempi) <= 124


@pytest.mark.parametrize(
    "text", ["离婚了，一个人带孩子", "一个人带孩子", "给孩子换尿布到半夜", "我家娃发烧，陪孩子熬了一宿"]
)
def test_who_minds_a_child_is_no_child(text: str) -> None:
    assert "child" not in wishes_of(text, {})["singer"]


def test_children_sing_where_they_are_spoken_of() -> None:
    assert wishes_of("五岁半的小闺女自己录", {})["singer"] == "child"
    assert wishes_of("离婚了，一个人带孩子", {})["singer"] == ("female", "male")
    assert "child" not in wishes_of("拉丁舞曲", {})["singer"]


@pytest.mark.parametrize(
    "said",
    [
        *("粤语", "英文歌", "转调", "慢慢变快", "前半段", "先抒情后摇滚", "哼唱", "升key"),
        *("周杰伦那种感觉", "五月天那", "模仿邓丽君", "4536和弦", "卡农和弦", "am-f-c-g", "1-6-4-5进行"),
        *("主歌爆发", "副歌要安静"),
    ],
)
def test_what_no_song_can_have_is_said(said: str, caplog: pytest.LogCaptureFixture) -> None:
    wishes_of(f"流行，{said}", {})
    assert f"{said} isn't followed" in caplog.text


@pytest.mark.parametrize(
    "said",
    [
        "像小时候的夏天",
        "五月天的阳光",
        "房东的猫很可爱",
        "ABAB曲式",
        "A-B-A-C曲式",
        "副歌轻快",
        "主歌压抑副歌爆发",
        "BPM 120-125",
    ],
)
def test_what_songs_can_have_is_no_wish_in_vain(said: str, caplog: pytest.LogCaptureFixture) -> None:
    wishes_of(f"流行，{said}", {})
    assert not caplog.records


def test_a_theme_that_only_comes_near_is_said(writer: Writer, caplog: pytest.LogCaptureFixture):
    sketch = writer.plan("圣诞歌，女声", seed=3, duration=12)
    assert sketch.theme == "冬天"
    assert not caplog.records, "nothing is said where the words are the user's own"
    writer.write("圣诞歌，女声", sketch, seed=3)
    assert "no theme for 圣诞: it writes of 冬天" in caplog.text
    caplog.clear()
    writer.write("给爷爷祝寿，女声", writer.plan("给爷爷祝寿，女声", seed=3, duration=12), seed=3)
    assert not caplog.records, "祝寿 is a birthday"


def test_a_song_is_sung_unless_it_is_asked_otherwise(writer: Writer):
    plain = ["下雨天想家的慢歌", "一首热血的摇滚", "安静一点的", "适合看书的歌曲"]
    sketches = writer.plans(plain * 5, range(20), [14.0] * 20)
    assert all(sketch.singer != "none" and any(s.lines for s in sketch.form) for sketch in sketches)
    assert "none" not in wishes_of("快乐的爵士曲风", {})["singer"]
    assert wishes_of("适合看书的音乐", {})["singer"] == ("female", "male", "none")
    assert wishes_of("纯音乐", {})["singer"] == "none" == wishes_of("瑜伽冥想音乐", {})["singer"]
    assert "none" not in wishes_of("冥想音乐，女声哼着", {})["singer"]
    assert writer.plan("慢歌", singer="none").singer == "none"
    assert wishes_of("慢歌，男声", {})["singer"] == "male"


def test_what_nobody_asked_for_is_the_genres_own_and_guests_come_when_asked(writer: Writer) -> None:
    plans = writer.plans(["古风，男声"] * 40, range(40), [14.0] * 40)
    home = GENRES["古风"]
    assert all(plan.mood in home.moods and plan.harmony in home.players["harmony"] for plan in plans)
    assert all(plan.lead in {i.name for i in home.leads} for plan in plans)
    (guest,) = writer.plans(["孤独的雷鬼，女声，二胡"], [1], [14.0])
    assert (guest.genre, guest.mood, guest.lead) == ("雷鬼", "孤独", "二胡")
