"""Arrangements: what is played is what the score says, in the hands of the plan's instruments."""

from dataclasses import replace

import numpy as np
import pytest

from common.score import TICKS
from common.seeds import generator
from common.theory import Chord
from corpus.arrange import BASSES, FIGURES, STEMS, STRUMS, Part, _bass_pitch, _notes_of, arrange, voicing
from corpus.compose import compose
from corpus.genres import GENRES
from corpus.plan import plan


def _made(seed, **overrides):
    made = plan(seed, **{"durations": (14, 40)} | overrides)
    score = compose(made)
    return made, score, arrange(made, score, generator(seed, "arrange"))


@pytest.fixture(scope="module")
def songs():
    return [_made(seed, genre=genre) for seed, genre in enumerate(list(GENRES) * 2)]


def test_every_way_of_playing_is_written_down():
    for genre in GENRES.values():
        for comping in genre.comping:
            assert all(s in STRUMS or s in FIGURES or s == "boomchick" for s in comping.styles)
        assert set(genre.bass_styles) <= BASSES.keys()
    for strum in STRUMS.values():
        for pattern in f"{strum.low} {strum.middle} {strum.high}".split():
            assert len(pattern) == 16 and set(pattern) <= set(".xX") and pattern.strip(".")
    for figure in (f for figures in BASSES.values() for f in figures):
        notes = list(_notes_of(figure))
        assert all(a + n <= b for (a, n, _), (b, _, _) in zip(notes, [*notes[1:], (16, 0, "")]))


def test_strokes_are_playable_and_in_order(songs):
    for made, score, stems in songs:
        assert tuple(stems) == STEMS
        for track in (t for tracks in stems.values() for t in tracks):
            times = [s.time for s in track.strokes]
            assert times == sorted(times)
            for stroke in track.strokes:
                assert 0 <= stroke.time < score.duration and stroke.duration > 0
                assert 0 <= stroke.pitch <= 127 and 0 < stroke.velocity <= 1
        programs = {stem: tracks[0].program for stem, tracks in stems.items()}
        assert programs == {role: made.instruments[role].program for role in programs}


def test_an_arrangement_comes_from_its_seed():
    assert _made(3) == _made(3)


def test_drums_keep_to_the_score_within_three_milliseconds(songs):
    for _, score, stems in songs:
        times = np.array([s.time for s in stems["drums"][0].strokes])
        for hit in score.drum_hits():
            assert np.abs(times - hit.time).min() <= 0.0031


def test_swing_delays_the_off_beat():
    made, score, _ = _made(1, genre="爵士", singer="none")
    swung = replace(score, swing=1 / 3)
    offbeat = TICKS // 2
    straight = replace(score, swing=0.0)
    assert swung.seconds(offbeat) - straight.seconds(offbeat) == pytest.approx(score.beat_seconds / 6)
    played = [s.time for s in arrange(made, swung, generator(1, "a"))["lead"][0].strokes]
    expected = [n.start for n in swung.note_spans(sung=False)]
    assert np.abs(np.array(played) - np.array(expected)).max() < 0.01


def test_bass_and_harmony_play_the_chord_that_is_written(songs):
    for _, score, stems in songs:
        chords = score.chord_spans()
        end = score.seconds(score.bars * score.bar_ticks)
        for stem, least in (("bass", 0.7), ("harmony", 0.97)):
            inside = []
            for stroke in (s for t in stems[stem] for s in t.strokes if s.time < end - 0.1):
                chord = next(c for c in reversed(chords) if c.start <= stroke.time + 0.03)
                inside.append(stroke.pitch % 12 in Chord.parse(chord.label).classes)
            assert not inside or np.mean(inside) >= least, (stem, np.mean(inside))


def test_the_lead_plays_what_nobody_sings(songs):
    for _, score, stems in songs:
        played = [s.pitch for s in stems["lead"][0].strokes]
        written = [n.pitch for n in score.note_spans(sung=False)]
        assert played == written or (played and not written)


def test_every_instrument_of_the_plan_is_heard():
    for seed in range(60):
        made, _, stems = _made(seed, durations=(10, 22))
        assert len(stems["harmony"]) == 1 + ("pad" in made.instruments)
        assert all(track.strokes for tracks in stems.values() for track in tracks), (seed, made.form)


def test_power_chords_have_no_third():
    _, score, stems = _made(4, genre="摇滚", key=None)
    assert all(c.label.endswith("5") for c in score.chord_spans())
    pitches = {s.pitch % 12 for s in stems["harmony"][0].strokes}
    roots = {Chord.parse(c.label).root for c in score.chord_spans()}
    assert pitches <= roots | {(r + 7) % 12 for r in roots}


def test_a_song_ends_with_its_tonic_ringing(songs):
    for made, score, stems in songs:
        end = score.seconds(score.bars * score.bar_ticks)
        last = [s for s in stems["harmony"][0].strokes if s.time > end - 0.05]
        assert last and max(s.duration for s in last) > 0.4
        assert made.key.tonic in {s.pitch % 12 for s in last}


def test_louder_sections_are_denser(songs):
    loud = quiet = 0.0
    for _, score, stems in songs:
        times = np.array([s.time for t in ("drums", "bass", "harmony") for x in stems[t] for s in x.strokes])
        for span, section in zip(score.section_spans(), score.sections):
            rate = ((times >= span.start) & (times < span.end)).sum() / (span.end - span.start)
            loud, quiet = (
                (loud + rate, quiet)
                if section.tag == "chorus"
                else (loud, quiet + rate * (section.tag == "intro"))
            )
    assert loud > 1.5 * quiet


def test_voices_lead_smoothly():
    before: tuple[int, ...] = ()
    for symbol in ("C", "Am", "F", "G", "C"):
        chord = Chord.parse(symbol)
        found = voicing(chord, before, 53, 64)
        assert {p % 12 for p in found} == set(chord.classes)
        assert not before or max(min(abs(p - q) for q in before) for p in found) <= 4
        before = found


def test_bass_tones():
    part = Part(0, 48, Chord.parse("Am"), Chord.parse("D"), 0.6, 0)
    rng = np.random.default_rng(0)
    assert [_bass_pitch(part, tone, rng) % 12 for tone in "RTFO"] == [9, 0, 4, 9]
    assert abs((_bass_pitch(part, "A", rng) - 2) % 12) in (1, 11)
