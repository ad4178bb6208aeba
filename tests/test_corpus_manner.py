"""How a mood is played: the same score sounds as its feeling has it, and every genre's moods lie apart."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from common.seeds import generator
from corpus.arrange import arrange
from corpus.genres import GENRES
from corpus.manner import colour, placed, touch
from corpus.mix import SAMPLE_RATE, MixSettings, StemSettings, mix, octave_levels
from corpus.moods import FEELINGS, Feeling, feeling
from corpus.synth import perform, sheet
from corpus.voice import Voice, draw_voice

_NEUTRAL = Feeling(0.0, 0.0)


def _place(mood):
    felt = feeling(mood)
    return np.array([felt.valence, felt.arousal, felt.dominance, felt.distance])


def test_the_moods_of_a_genre_lie_apart():
    for genre in GENRES.values():
        for one, other in itertools.combinations(genre.moods, 2):
            assert np.linalg.norm(_place(one) - _place(other)) > 0.9, (genre.name, one, other)


def test_no_feeling_leaves_touch_and_mix_as_they_are():
    assert touch(_NEUTRAL) == touch(feeling("没有这个词"))
    assert (touch(_NEUTRAL).held, touch(_NEUTRAL).register, touch(_NEUTRAL).percussion) == (1.0, 0, "")
    plain = placed(MixSettings(), _NEUTRAL, 90.0)
    assert plain == replace(MixSettings(), echo_time=0.5)


@pytest.mark.parametrize("mood", sorted(FEELINGS))
def test_every_feeling_stays_within_taste(mood):
    felt = feeling(mood)
    how = touch(felt)
    assert 0.3 < how.held <= 1 and abs(how.register) <= 7 and how.rolled < 0.05
    for seed, singer in itertools.product(range(3), ("female", "male", "child")):
        voice = colour(draw_voice(singer, generator(seed, "voice")), felt)
        assert 0 <= voice.breath <= 0.8 and 0 <= voice.vibrato_depth <= 0.6 and voice.portamento <= 0.14
    settings = placed(MixSettings(), felt, 120.0)
    assert abs(settings.tilt) <= 1.4 and settings.reverb_time < 3.5
    assert settings.stems["vocals"].send <= -6 and settings.stems["vocals"].grit == 0  # words stay clear


def test_tenderness_is_breathy_and_anger_pressed():
    voice = Voice(breath=0.3)
    assert colour(voice, feeling("温柔")).breath > 0.4 > 0.1 > colour(voice, feeling("愤怒")).breath
    assert colour(voice, feeling("愤怒")).brightness > colour(voice, feeling("温柔")).brightness + 2


def test_a_glad_player_is_detached_and_a_sad_one_holds_the_same_chords():
    written = sheet(5, genre="流行", mood="欢快", duration=16)
    glad = arrange(written.plan, written.score, generator(5, "arrange"))
    sad = arrange(replace(written.plan, mood="伤感"), written.score, generator(5, "arrange"))

    def held(tracks, stem):
        return np.mean([s.duration for s in tracks[stem][0].strokes])

    def height(tracks):
        return np.mean([s.pitch for s in tracks["harmony"][0].strokes])

    assert held(glad, "harmony") < 0.7 * held(sad, "harmony")
    assert held(glad, "bass") < 0.7 * held(sad, "bass")
    assert height(glad) > height(sad) + 3
    keys = {s.pitch for s in glad["drums"][0].strokes} - {s.pitch for s in sad["drums"][0].strokes}
    assert 54 in keys  # a tambourine


def _performed(mood):
    """The same instrumental of a form with drums, played with a mood."""
    written = sheet(11, genre="流行", mood="欢快", singer="none", duration=14)
    return perform(replace(written.plan, mood=mood), written.score).audio


def test_the_same_score_sounds_dull_when_sad_and_bright_when_glad():
    sad, glad = octave_levels(_performed("伤感")), octave_levels(_performed("欢快"))
    assert (glad - sad)[6:8].mean() > 3  # dB at 4 and 8 kHz


def test_what_is_far_away_echoes_and_what_is_near_is_dry():
    """A click, mixed: energy after its first 60 ms beside that before."""

    def late(mood):
        stem = np.zeros(3 * SAMPLE_RATE, np.float32)
        stem[SAMPLE_RATE // 2 : SAMPLE_RATE // 2 + 400] = 0.5 * np.hanning(400)
        settings = placed(MixSettings(), feeling(mood), 120.0)
        heard = mix({"lead": stem}, generator(1, "mix"), settings).stems["lead"].samples
        power = np.square(heard).sum(axis=0)
        edge = SAMPLE_RATE // 2 + int(0.06 * SAMPLE_RATE)
        return 10 * math.log10(power[edge:].sum() / power[:edge].sum())

    assert late("孤独") > late("没有这个词") + 6 > late("温暖") + 12


def test_echoes_come_in_time_from_alternating_sides():
    stem = np.zeros((3 * SAMPLE_RATE, 2), np.float32)
    stem[4410:4810, 0] = np.hanning(400)
    dry = StemSettings(-20.0, pan=0.0)
    quiet = replace(MixSettings(), balance=0.15, glue=0.0, echo_time=0.5)

    def mixed(echo):
        settings = replace(quiet, stems={"lead": replace(dry, echo=echo)})
        return mix({"lead": stem}, generator(2, "mix"), settings).stems["lead"].samples

    heard, silent = mixed(-6.0), mixed(-math.inf)
    first, second = 4410 + round(0.5 * SAMPLE_RATE), 4410 + SAMPLE_RATE
    energy = np.square(heard)
    assert energy[1, first : first + 800].sum() > 20 * energy[0, first : first + 800].sum()
    assert energy[0, second : second + 800].sum() > 20 * energy[1, second : second + 800].sum()
    assert np.square(silent)[:, first : first + 800].sum() < 1e-3 * energy[:, first : first + 800].sum()


def test_grit_keeps_the_peak_and_fills_the_wave():
    t = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    tone = (0.3 * np.sin(2 * np.pi * 220 * t)).astype(np.float32)

    def third_harmonic(grit):
        settings = replace(MixSettings(), stems={"harmony": StemSettings(-20.0, grit=grit)}, balance=0.15)
        heard = mix({"harmony": tone}, generator(3, "mix"), settings).stems["harmony"].samples[0]
        spectrum = np.abs(np.fft.rfft(heard[SAMPLE_RATE // 2 : SAMPLE_RATE // 2 + SAMPLE_RATE]))
        return spectrum[660] / spectrum[220]

    assert third_harmonic(0.0) < 0.01 < 0.1 < third_harmonic(0.6)
