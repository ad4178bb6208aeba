"""What descriptions hint at: the lexicon of hints, the readers that learned it, and the plans that follow."""

import numpy as np
import pytest

from common.errors import CheckpointError, ConfigError
from corpus.attributes import in_passing, tempo_class, unnamed
from corpus.genres import GENRES, MOODS
from corpus.speech import held_out_forms, hints
from corpus.words import THEMES
from lyrics_llm.hints import KINDS, Lesson, bundled, hinted, learn, lessons, load, save
from lyrics_llm.wishes import wishes_of

LABELS = {
    "theme": set(THEMES), "mood": set(MOODS), "genre": set(GENRES),
    "singer": {"female", "male", "child", "none"}, "pace": {"slow", "medium", "fast"},
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_label_has_hints_that_are_words_or_clauses(kind) -> None:
    found = hints(kind)
    assert set(found) == LABELS[kind]
    assert min(len(set(texts)) for texts in found.values()) >= 150
    assert all(2 <= len(text) <= 24 for texts in found.values() for text in texts)


@pytest.mark.parametrize("kind", KINDS)
def test_the_bundled_readers_learned_these_hints_and_no_name_that_is_kept(kind) -> None:
    rows = lessons(kind)
    assert not held_out_forms() & {row.text for row in rows}
    said = [row for row in rows if row.label][::40]
    reader = bundled()[kind]
    right = [(found := reader.best(row.text)) is not None and found.label == row.label for row in said]
    assert np.mean(right) > 0.8  # a stale file knows few of the words


def test_a_reader_learns_weighs_and_survives_its_file(tmp_path) -> None:
    rows = [Lesson(f"{word}{k}", label) for label, words in
            {"rain": "雨伞 水洼 屋檐", "sea": "沙滩 贝壳 浪花", "": "唱歌 音乐 节拍"}.items()
            for word in words.split() for k in "甲乙丙"]  # fmt: skip
    learned = learn(rows, 1e-4)
    save(dict.fromkeys(KINDS, learned), tmp_path / "r.safetensors", 0.0)
    reader = load(tmp_path / "r.safetensors")["theme"]
    found = reader.probabilities("屋檐下的雨伞")
    assert found.sum() == pytest.approx(1, abs=1e-5)
    assert reader.labels[found.argmax()] == "rain"
    whole = {s: k for k, s in enumerate(learned.strings)}
    rows_of = [whole[s] for s in ("屋", "檐", "屋檐", "雨", "伞", "雨伞")]
    weights = learned.rarity[rows_of] / np.linalg.norm(learned.rarity[rows_of])
    logits = learned.bias + weights @ learned.weights[rows_of]
    assert found == pytest.approx(np.exp(logits) / np.exp(logits).sum(), abs=0.02)
    assert reader.best("屋檐下的雨伞").label == "rain"
    assert reader.best("屋檐下的雨伞", among=["sea"]) is None
    assert reader.best("音乐") is None
    assert reader.best("贝壳在沙滩上", among=["sea", "rain"]).label == "sea"


def test_readers_need_two_labels_weights_and_a_file_of_theirs(tmp_path) -> None:
    learned = learn([Lesson("雨伞", "rain"), Lesson("沙滩", "sea")], 1e-4)
    with pytest.raises(ConfigError, match="smaller least"):
        save({"theme": learned}, tmp_path / "none.safetensors", 1e6)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConfigError, match="two labels"):
        learn([Lesson("雨", "rain"), Lesson("伞", "rain")], 1e-4)
    (tmp_path / "no.safetensors").write_bytes(b"nothing")
    for name in ("no.safetensors", "missing.safetensors"):
        with pytest.raises(CheckpointError, match="no readers"):
            load(tmp_path / name)


def test_names_of_other_kinds_and_what_is_refused_hint_at_nothing() -> None:
    left = unnamed("站台上不敢回头，钢琴，不要那种哭哭啼啼的，爵士", ("genre", "instrument"))
    assert "站台上不敢回头" in left
    assert not any(word in left for word in ("钢琴", "爵士", "哭"))
    assert "鼓" not in unnamed("海浪，不要鼓", ()) and "海浪" in unnamed("海浪，不要鼓", ())


@pytest.mark.parametrize(
    "text",
    [
        "给我一首歌",
        "随便来一首",
        "好听的歌",
        "C大调，120BPM，4/4拍",
        "钢琴，弦乐铺底",
        "一首歌",
        "write me a song",
        "，，，",
    ],
)
def test_who_says_nothing_hints_at_no_singer_and_no_pace(text) -> None:
    found = hinted(text)
    assert "singer" not in found and "pace" not in found


def test_plans_follow_hints_where_nothing_is_named() -> None:
    assert wishes_of("站台上不敢回头", {})["theme"] == "离别"
    assert wishes_of("站台上不敢回头", {}, hints=False).get("theme") != "离别"
    assert wishes_of("站台上不敢回头，写给妈妈的歌", {})["theme"] == "母亲"
    assert wishes_of("站台上不敢回头", {"theme": "江湖"})["theme"] == "江湖"
    assert wishes_of("像晒太阳的猫一样", {})["mood"] in ("慵懒", "悠闲", "阳光", "轻松")
    assert wishes_of("欢快的歌，像晒太阳的猫一样", {})["mood"] == "欢快"


def test_a_story_comes_before_a_theme_that_is_named_in_passing() -> None:
    told = "同桌二十年后在菜市场撞见，俩人都愣了"
    assert wishes_of("逛菜市场的歌", {})["theme"] == "日常"
    assert wishes_of(told, {})["theme"] == "重逢"
    assert wishes_of(told, {"theme": "江湖"})["theme"] == "江湖"
    assert wishes_of(f"{told}，主题是日常", {})["theme"] == "日常"
    assert wishes_of(f"{told}，不要重逢", {}).get("theme") != "重逢"


@pytest.mark.parametrize(
    ("text", "passing"),
    [
        ("同桌二十年后在菜市场撞见", True),
        ("菜市场", False),
        ("菜市场，热闹一点", False),
        ("关于早上菜市场里那些人", False),
        ("想听逛菜市场时放的歌", False),
        ("站台上不敢回头", False),
        ("", False),
    ],
)
def test_what_is_named_in_passing(text: str, passing: bool) -> None:
    assert in_passing(text, "theme") is passing


def test_nobody_sings_where_that_is_clear_and_no_song_is_spoken_of() -> None:
    assert wishes_of("不用人开口，就当咖啡馆里垫底的声儿", {})["singer"] == "none"
    assert wishes_of("不用人开口，就当咖啡馆里垫底的声儿，要一首歌", {})["singer"] != "none"


def test_a_hint_is_held_to_what_is_refused_and_to_a_named_tempo() -> None:
    assert "none" not in wishes_of("别出人声，但是要有人唱", {}).get("singer", ())
    assert wishes_of("像蜗牛爬一样，130 BPM", {})["tempo"] == 130
    assert max(wishes_of("像蜗牛爬一样慢吞吞的", {})["tempo"]) <= 80
    assert "爵士" not in wishes_of("深夜的酒吧里有人吹着小号，不要爵士", {})["genre"]


@pytest.mark.parametrize(
    ("text", "pace"), [("Adagio，钢琴", "slow"), ("Andante", "medium"), ("allegro", "fast")]
)
def test_italian_words_and_notes_name_a_tempo(text, pace) -> None:
    assert tempo_class(float(np.median(wishes_of(text, {})["tempo"]))) == pace
    for said in ("♩=96，民谣", "♩ = 96", "四分音符=96"):
        assert wishes_of(said, {})["tempo"] == 96


def test_weak_hints_at_what_may_stay_open_are_passed_over() -> None:
    assert wishes_of("离婚了，一个人带孩子", {})["singer"] == ("female", "male")
    assert "tempo" not in wishes_of("钢琴，女声", {})
