"""Genres, forms and plans: the table is sound, durations are met, what is kept out stays out."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from common.errors import ConfigError, RequestError, ScoreError
from common.seeds import generator
from common.theory import SCALES, Chord, Key
from corpus.forms import bar_seconds, fit, form, most_syllables
from corpus.genres import GENRES, MOODS
from corpus.moods import FEELINGS, feeling
from corpus.plan import SINGERS, _choices, is_held_out, plan
from corpus.styles import PARENTS, bars_of, chord


def _names(genre):
    """Instruments of harmony and lead, each once."""
    harmony, leads = _choices(genre)
    return list(dict.fromkeys(harmony + leads))


def test_numerals_are_read_in_the_scale():
    assert chord("V7", Key.parse("C major")) == Chord.parse("G7")
    assert chord("ii7", Key.parse("Bb major")) == Chord.parse("Cm7")
    assert chord("bVII", Key.parse("C major")) == Chord.parse("Bb")
    assert chord("VII", Key.parse("D mixolydian")) == Chord.parse("C")
    assert chord("i5", Key.parse("E minor")) == Chord.parse("E5")
    assert chord("III", Key.parse("A yu")) == Chord.parse("C")
    assert [[str(c) for c in bar] for bar in bars_of("ii7_V7 Imaj7", Key(0))] == [["Dm7", "G7"], ["Cmaj7"]]
    with pytest.raises(ScoreError, match="'X'"):
        chord("X", Key(0))


@pytest.mark.parametrize("genre", GENRES.values(), ids=lambda g: g.english)
def test_a_genre_keeps_to_the_keys_that_label_it(genre):
    for scale, rows in genre.harmony.items():
        key, parent = Key(2, scale), SCALES[PARENTS.get(scale, scale)]
        allowed = {(2 + step) % 12 for step in parent}
        for progression in rows.verse + rows.chorus + rows.pre + rows.bridge:
            bars = bars_of(progression, key)
            assert len(bars) == 4
            for found in (c for bar in bars for c in bar):
                dominant = key.family == "minor" and found.root == 9  # its third is the leading tone
                assert dominant or set(found.classes) <= allowed, (progression, str(found))
        assert any(c.root == 2 for p in rows.chorus for bar in bars_of(p, key) for c in bar)


@pytest.mark.parametrize("genre", GENRES.values(), ids=lambda g: g.english)
def test_a_row_is_complete(genre):
    assert genre.tempo[0] < genre.tempo[1] and 0 <= genre.swing[0] <= genre.swing[1] <= 1 / 3
    harmony, leads = _choices(genre)
    assert len(genre.moods) >= 3 and len(leads) >= 2 and harmony and genre.kits
    for level in (genre.grooves.low, genre.grooves.middle, genre.grooves.high):
        assert level
        for groove in level:
            assert {len(groove.kick), len(groove.snare), len(groove.hat)} == {16}


def test_there_are_twelve_genres():
    assert len(GENRES) >= 12 and {"流行", "古风", "爵士"} <= GENRES.keys()


@settings(deadline=None, max_examples=80)
@given(duration=st.floats(12, 240), tempo=st.floats(60, 165), seed=st.integers(0, 999), sung=st.booleans())
def test_a_form_fills_its_duration_exactly(duration, tempo, seed, sung):
    made = form(duration, tempo, rng=np.random.default_rng(seed), instrumental=not sung)
    bars = sum(section.bars for section in made.sections)
    bar = bar_seconds(made.fit.tempo)
    assert made.fit.lead_in + bars * bar + made.fit.tail == pytest.approx(duration, abs=1e-9)
    assert abs(made.fit.tempo / tempo - 1) < 0.031 and made.fit.tail >= 0.5
    for section in made.sections:
        if section.lines:
            each = section.bars / len(section.lines)
            assert max(section.lines) <= most_syllables(made.fit.tempo, each)
    assert any(section.lines for section in made.sections) == sung


@given(duration=st.floats(5, 600), tempo=st.floats(60, 200))
def test_a_fit_adds_up(duration, tempo):
    found = fit(duration, tempo)
    assert found.lead_in + found.bars * bar_seconds(found.tempo) + found.tail == pytest.approx(duration)
    assert found.tail >= 0


def test_a_form_grows_with_its_duration():
    short, long = form(12, 100), form(240, 100)
    assert {s.tag for s in short.sections} <= {"intro", "verse", "chorus", "outro"}
    assert {"intro", "verse", "chorus", "bridge", "outro"} <= {s.tag for s in long.sections}
    assert len({s.lines for s in long.sections if s.tag == "chorus"}) == 1


def test_durations_out_of_range_are_told():
    with pytest.raises(RequestError, match="5 to 600"):
        form(3, 100)


@example(duration=175.46875, tempo=84.0)  # a bar less rings out long; a bar more would bend the tempo by 1e-4
@given(duration=st.floats(12, 240), tempo=st.floats(84, 200))
def test_an_exact_tempo_is_kept_where_the_ring_out_can_give(duration, tempo):
    found = fit(duration, tempo, exact=True)
    assert found.tempo == pytest.approx(tempo, abs=1e-9) and 1.0 - 1e-9 <= found.tail <= 4.0 + 1e-9
    assert found.lead_in + found.bars * bar_seconds(found.tempo) + found.tail == pytest.approx(duration)


def test_a_plan_comes_from_its_seed():
    assert plan(7) == plan(7) != plan(8)
    assert plan(7, genre="爵士", singer="male", tempo=100, duration=30).genre == "爵士"


def test_combinations_are_kept_for_evaluation():
    test_share = 0
    for seed in range(1000):
        for split in ("train", "valid"):
            made = plan(seed, split, durations=(12, 20))
            names = made.instruments["harmony"].name, made.instruments["lead"].name
            assert not any(is_held_out(made.genre, made.singer, name) for name in names)
        test_share += plan(seed, "test", durations=(12, 20)).held_out
    assert 430 < test_share < 570


def test_whoever_carries_a_tune_leads_where_nobody_sings():
    genre = GENRES["流行"]
    sung, played = (
        {plan(s, genre="流行", singer=who, duration=20).instruments["lead"].name for s in range(120)}
        for who in ("female", "none")
    )
    home = {i.name for i in genre.soloists}
    assert sung & home <= {i.name for i in genre.leads} and "钢琴" not in sung
    assert "钢琴" in played and home == set(genre.players["lead"])
    elsewhere = {i.name for row in GENRES.values() if row is not genre for i in row.leads}
    assert sung - home and played - home and (sung | played) - home <= elsewhere  # guests
    assert plan(1, genre="流行", singer="none", lead="木吉他").instruments["lead"].name == "木吉他"
    with pytest.raises(ConfigError, match="lead of 流行"):
        plan(1, genre="流行", singer="male", lead="木吉他")
    names = [i.name for i in GENRES["电子"].soloists]
    assert "钢琴" in names and names.count("合成器") == [i.name for i in GENRES["电子"].leads].count("合成器")
    assert not {"闷音吉他", "击弦键琴"} & {i.name for i in GENRES["放克"].soloists}


def test_some_songs_have_a_mood_or_a_player_that_is_strange_to_their_genre():
    """Listeners ask for lonely jazz, and for pop with an erhu: both occur, and don't prevail."""
    made = [plan(seed, durations=(12, 20)) for seed in range(1500)]
    held = [plan(seed, split="test", durations=(12, 20)) for seed in range(600)]
    strange = [np.mean([p.mood not in GENRES[p.genre].moods for p in some]) for some in (made, held)]
    assert 0.45 < strange[0] < 0.6 and 0.2 < strange[1] < 0.35  # songs for training are freer
    assert len({(p.genre, p.mood) for p in made}) > 0.6 * len(GENRES) * len(MOODS)
    for role in ("harmony", "lead", "pad"):
        guests = [
            role in p.instruments and p.instruments[role].name not in GENRES[p.genre].players[role]
            for p in made
        ]
        assert 0.1 < np.mean(guests) < 0.2
    named = plan(3, genre="爵士", mood="孤独", split="test", harmony="钢琴", lead="萨克斯")
    assert (named.mood, named.instruments["harmony"].name, named.instruments["lead"].name) == (
        "孤独", "钢琴", "萨克斯",
    )  # fmt: skip
    assert not any(p.comping in ("power", "chug", "ring") for p in made if p.genre != "摇滚")


def test_nobody_is_sung_to_sleep_with_a_stirring_song():
    drowsy = [p for p in (plan(seed, durations=(12, 20)) for seed in range(1500)) if p.theme == "晚安"]
    assert len(drowsy) > 5 and max(feeling(p.mood).arousal for p in drowsy) <= 0.15


def test_about_an_eighth_of_the_combinations_is_kept():
    triples = [
        (genre.name, singer, name)
        for genre in GENRES.values()
        for singer in SINGERS
        for name in _names(genre)
    ]
    kept = sum(is_held_out(*triple) for triple in triples)
    assert kept == len(GENRES) * len(SINGERS)
    assert 0.1 < kept / len(triples) < 0.2


def test_singers_come_in_their_shares():
    singers = [plan(seed, durations=(12, 20)).singer for seed in range(600)]
    shares = {s: singers.count(s) / 600 for s in SINGERS}
    assert 0.33 < shares["female"] < 0.47 and 0.28 < shares["male"] < 0.42
    assert 0.06 < shares["child"] < 0.15 and 0.1 < shares["none"] < 0.21


def test_wrong_overrides_are_told():
    with pytest.raises(ConfigError, match="genre"):
        plan(1, genre="polka")
    with pytest.raises(ConfigError, match="harmony"):
        plan(1, genre="爵士", harmony="古筝")
    kept = next(n for n in _names(GENRES["流行"]) if is_held_out("流行", "female", n))
    role = "harmony" if kept in _choices(GENRES["流行"])[0] else "lead"
    with pytest.raises(ConfigError, match="kept for evaluation"):
        plan(1, genre="流行", singer="female", **{role: kept})


def test_seeds_have_no_process_salt():
    assert generator(1, "plan").integers(1 << 30) == generator(1, "plan").integers(1 << 30)
    assert plan(3).duration == plan(3).duration


def test_every_instrument_of_a_genre_is_heard_in_training():
    for genre in GENRES.values():
        for name in _names(genre):
            assert any(not is_held_out(genre.name, singer, name) for singer in SINGERS)


def test_a_mood_is_heard_in_tempo_mode_and_energy():
    def drawn(mood):
        plans = [plan(seed, genre="流行", mood=mood, duration=30) for seed in range(200)]
        energy = [np.mean([section.energy for section in p.sections]) for p in plans]
        minor = [p.key.family == "minor" for p in plans]
        return np.mean([p.tempo for p in plans]), np.mean(energy), np.mean(minor)

    sad, plain, glad = drawn("伤感"), drawn("没有这个词"), drawn("欢快")
    assert sad[0] + 3 < plain[0] < glad[0] - 3
    assert sad[1] + 0.05 < plain[1] < glad[1] - 0.05
    assert sad[2] > 0.8 and 0.35 < plain[2] < 0.65 and glad[2] < 0.2


def test_every_mood_of_the_table_has_its_feeling():
    assert set(MOODS) <= set(FEELINGS)
    assert all(-1 <= f.valence <= 1 and -1 <= f.arousal <= 1 for f in FEELINGS.values())
    assert feeling("没有这个词").liking("minor") == feeling("没有这个词").liking("major") == 1


@settings(deadline=None, max_examples=60)
@given(duration=st.floats(8, 240), tempo=st.floats(60, 165), seed=st.integers(0, 99))
def test_a_form_can_be_mostly_sung(duration, tempo, seed):
    made = form(duration, tempo, rng=np.random.default_rng(seed), sung=0.6)
    words = sum(section.bars for section in made.sections if section.lines)
    assert words >= 0.6 * sum(section.bars for section in made.sections)


def test_where_no_form_is_sung_enough_the_most_sung_is_taken():
    shares = set()
    for seed in range(20):
        made = form(150, 100, rng=np.random.default_rng(seed), sung=1.0).sections
        shares.add(sum(s.bars for s in made if s.lines) / sum(s.bars for s in made))
    assert len(shares) == 1 and 0.7 < shares.pop() < 1


@given(duration=st.floats(10, 240), tempo=st.floats(60, 165), seed=st.integers(0, 99))
def test_a_form_can_leave_room_for_an_instrument(duration, tempo, seed):
    made = form(duration, tempo, rng=np.random.default_rng(seed), sung=0.6, solos=True)
    assert {bool(section.lines) for section in made.sections} == {False, True}
