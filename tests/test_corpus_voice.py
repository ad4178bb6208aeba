"""The singer, judged by ear's instruments: pitch, onsets, and the same samples everywhere."""

import hashlib
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import pyworld
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, sosfiltfilt

from common.errors import AudioError
from common.pinyin import SYLLABLES
from common.score import HOLD, NoteSpan
from corpus import espeak, syllables, vocoder
from corpus.syllables import VARIANTS, analyse, template
from corpus.voice import RANGES, SAMPLE_RATE, Voice, draw_voice, sing

SINGERS = ("female", "male", "child")


@pytest.fixture(scope="module", autouse=True)
def cache_folder(tmp_path_factory):
    """A cache of its own, so that the tests neither use nor fill the user's."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


def note(start, end, pitch, syllable="啊", reading="a1"):
    return NoteSpan(start, end, pitch, syllable, reading, 0, False)


def line(readings, pitches, start=0.5, length=0.5):
    """A note each, legato; "-" holds."""
    return [
        note(
            start + i * length,
            start + (i + 1) * length,
            p,
            HOLD if r == "-" else "字",
            None if r == "-" else r,
        )
        for i, (r, p) in enumerate(zip(readings, pitches))
    ]


def melody(singer):
    """Two phrases in the singer's range, notes of 0.25 to 1.5 s."""
    low = RANGES[singer][0] + 4
    readings = ["wo3", "zai4", "zhe4", "li3", "deng3", "ni3", "hui2", "lai2"]
    steps, lengths = (0, 2, 4, 7, 5, 4, 2, 0), (0.25, 0.25, 0.5, 0.5, 0.25, 0.25, 0.5, 1.5)
    notes, at = [], 0.5
    for reading, step, length in zip(readings, steps, lengths):
        notes.append(note(at, at + length, low + step, "字", reading))
        at += length
    return [*notes, *line(["xia4", "yu3", "-", "tian1"], [low, low + 5, low + 7, low + 3], at + 0.8)]


def cents_off(samples, notes):
    """For each note, how far the median pitch of its middle is from it."""
    low = soxr.resample(samples.astype(np.float64), SAMPLE_RATE, 12000)
    f0, times = pyworld.dio(low, 12000, f0_floor=70, f0_ceil=900)
    f0 = pyworld.stonemask(low, f0, times, 12000)
    errors = []
    for n in notes:
        span = n.end - n.start
        heard = f0[int((n.start + 0.25 * span) / 0.005) : int((n.end - 0.25 * span) / 0.005)]
        heard = heard[heard > 0]
        assert len(heard), f"nothing voiced on {n}"
        errors.append(1200 * np.log2(np.median(heard) / (440 * 2 ** ((n.pitch - 69) / 12))))
    return np.abs(errors)


@pytest.mark.parametrize("singer", SINGERS)
def test_the_pitch_is_that_of_the_notes(singer):
    notes = melody(singer)
    voice = draw_voice(singer, np.random.default_rng(4))
    sung = sing(notes, voice, np.random.default_rng(5), notes[-1].end + 0.5)
    errors = cents_off(sung.samples, notes)
    assert np.median(errors) < 15
    assert errors.max() < 50


def test_quick_notes_are_not_smeared():
    pitches = [60, 65, 60, 67, 62, 69, 60, 65]
    notes = line(["la1"] * 8, pitches, length=0.2)
    sung = sing(notes, Voice(portamento=0.12, vibrato_depth=0.4), np.random.default_rng(1), 2.6)
    assert cents_off(sung.samples, notes).max() < 40


def low_band_onsets(samples, targets):
    """Where the low band, which vowels fill and voiceless consonants don't, rises to half its height."""
    band = sosfiltfilt(butter(4, [80, 900], "band", fs=SAMPLE_RATE, output="sos"), samples)
    level = np.sqrt(np.convolve(band**2, np.ones(441) / 441, "same"))
    found = []
    for target in targets:
        a, b = int((target - 0.12) * SAMPLE_RATE), int((target + 0.15) * SAMPLE_RATE)
        span = level[a:b]
        least = int(span[: int(0.17 * SAMPLE_RATE)].argmin())
        half = (span[least] + span[least:].max()) / 2
        found.append((a + least + int(np.argmax(span[least:] > half))) / SAMPLE_RATE)
    return np.asarray(found)


@pytest.mark.parametrize("singer", SINGERS)
def test_vowels_start_on_their_notes(singer):
    readings = ["ta1", "shi2", "ka3", "ba1", "jia4", "qu4", "zhuo1", "sha1", "fei1", "che1"]
    low = RANGES[singer][0] + 5
    notes = line(readings, [low + i % 5 for i in range(10)], length=0.45)
    sung = sing(notes, draw_voice(singer, np.random.default_rng(2)), np.random.default_rng(3), 5.5)
    targets = np.asarray([n.start for n in notes])
    np.testing.assert_allclose(sung.onsets, targets, atol=0.003)
    assert np.abs(low_band_onsets(sung.samples, targets) - targets).max() < 0.05


def test_a_melisma_carries_the_vowel_to_a_new_pitch():
    held = line(["ma1", "-", "-"], [60, 64, 62])
    sung = sing(held, Voice(), np.random.default_rng(0), 2.5)
    assert sung.onsets == [0.5]
    assert cents_off(sung.samples, held).max() < 25
    joints = (np.asarray([1.0, 1.5]) * SAMPLE_RATE).astype(int)
    whole = np.sqrt(np.mean(sung.samples[SAMPLE_RATE // 2 : SAMPLE_RATE * 2] ** 2))
    for joint in joints:  # no consonant, no gap
        assert np.sqrt(np.mean(sung.samples[joint - 900 : joint + 900] ** 2)) > 0.4 * whole


def test_forty_syllables_sound():
    chosen = sorted({*SYLLABLES[::11], "jiong", "qiong", "xiong", "lv", "nve", "er"})
    assert len(chosen) >= 40
    notes = line([s + "1" for s in chosen], [62] * len(chosen), length=0.3)
    sung = sing(notes, Voice("f2"), np.random.default_rng(1), notes[-1].end + 0.5)
    for n in notes:
        level = np.sqrt(np.mean(sung.samples[int(n.start * 44100) : int(n.end * 44100)] ** 2))
        assert 0.02 < level < 0.4, n.reading


def test_syllables_of_one_vowel_and_three_english_spellings_differ_as_they_should():
    """jiong, qiong and xiong are one final after three initials; espeak spells them as letters by itself."""
    finals = [template("f2", s).envelope[template("f2", s).onset :] for s in ("jiong", "qiong", "xiong")]
    steady = [final[len(final) // 3 : len(final) // 2].mean(axis=0) for final in finals]
    assert np.corrcoef(steady).min() > 0.98


def digest(samples):
    return hashlib.sha256(samples.tobytes()).hexdigest()


def song_digest():
    notes = line(["wo3", "ai4", "xiong1", "-"], [60, 64, 62, 65])
    return digest(sing(notes, Voice("m3", 0.95), np.random.default_rng(9), 3.0).samples)


def test_the_same_samples_with_and_without_cache_and_in_another_process(tmp_path):
    here = song_digest()
    syllables._template.cache_clear()
    assert song_digest() == here  # from the disk
    folder = str(Path(__file__).parent)
    code = (
        f"import sys; sys.path.insert(0, {folder!r}); import test_corpus_voice as t; print(t.song_digest())"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == here  # analysed anew, nothing said before
    assert list(tmp_path.glob("baihua/voice/*/m3/wo.npz"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_worker_sings_the_same(tmp_path):
    """In a process of its own: one that has run other tests has threads, and what they lock stays locked."""
    folder = str(Path(__file__).parent)
    code = (
        f"import sys; sys.path.insert(0, {folder!r}); import multiprocessing, os, test_corpus_voice as t\n"
        "print(t.song_digest())\n"
        f"os.environ['XDG_CACHE_HOME'] = {str(tmp_path)!r}\n"
        "with multiprocessing.get_context('fork').Pool(1) as pool: print(pool.apply(t.song_digest))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    here, forked = run.stdout.split()
    assert here == forked == song_digest()


def test_what_espeak_says_does_not_depend_on_what_it_said():
    first = espeak.say("ma1", "cmn-latn-pinyin+f3", pitch=35)
    espeak.say("hello", "en-us")
    time.sleep(1.1)  # left to itself its noise begins anew with every second
    again = espeak.say("ma1", "cmn-latn-pinyin+f3", pitch=35)
    assert np.array_equal(first.samples, again.samples)
    assert first.phonemes == again.phonemes
    with pytest.raises(AudioError, match="xx-nowhere"):
        espeak.say("a", "xx-nowhere")


def test_a_broken_cache_file_is_mended(cache_folder, caplog):
    template("m1", "ma")
    path = next(cache_folder.glob("baihua/voice/*/m1/ma.npz"))
    path.write_bytes(b"half a fi")
    syllables._template.cache_clear()
    again = template("m1", "ma")
    assert "unreadable" in caplog.text
    assert np.array_equal(again.envelope, analyse("m1", "ma").envelope)
    syllables._template.cache_clear()
    assert np.array_equal(template("m1", "ma").envelope, again.envelope)


def test_a_cache_that_cannot_be_written_is_no_obstacle(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert template("f1", "ba").stopped


@pytest.mark.parametrize(
    "syllable, reading, message",
    [("love", "love", "English"), ("好", "xyz", "'hao' is sung"), ("?", None, "'a' is sung")],
)
def test_what_is_no_mandarin_is_sung_and_said(caplog, syllable, reading, message):
    notes = [note(0.5, 1.2, 62, syllable, reading)]
    with caplog.at_level(logging.WARNING, logger="corpus.voice"):
        sung = sing(notes, Voice(), np.random.default_rng(0), 1.5)
    assert message in caplog.text
    assert np.abs(sung.samples).max() > 0.1


def test_edges_of_the_song():
    nothing = sing([note(0, 1, 60, None, None)], Voice(), np.random.default_rng(0), 1.0)
    assert nothing.samples.shape == (44100,) and not nothing.samples.any() and nothing.onsets == []
    early = [note(0.0, 0.4, 62, "他", "ta1"), note(0.4, 3.0, 64, "们", "men5")]
    cut = sing(early, Voice(), np.random.default_rng(0), 1.0)
    assert cut.samples.shape == (44100,)
    assert cut.onsets[0] == 0.0
    orphan = sing([note(0.2, 0.8, 62, HOLD, None)], Voice(), np.random.default_rng(0), 1.0)
    assert np.abs(orphan.samples).max() > 0.1


@given(
    st.lists(st.tuples(st.floats(0.02, 0.6), st.floats(0, 0.3), st.integers(45, 80)), min_size=1, max_size=6)
)
@settings(max_examples=25, deadline=None)
def test_any_rhythm_can_be_sung(rows):
    """Notes shorter than a consonant, rests of any length, leaps of three octaves."""
    notes, at = [], 0.0
    for i, (length, rest, pitch) in enumerate(rows):
        said = (HOLD, None) if i % 3 == 2 else ("字", ("zhuang1", "a1", "xiong2", "men5")[i % 4])
        notes.append(note(at, at + length, pitch, *said))
        at += length + rest
    sung = sing(notes, Voice("m2"), np.random.default_rng(0), at + 0.1)
    assert np.isfinite(sung.samples).all() and np.abs(sung.samples).max() > 0.01
    starts = [n.start for n in notes if n.syllable != HOLD]
    np.testing.assert_allclose(sung.onsets, starts, atol=0.003)


def test_a_word_that_is_no_file_name_is_sung(cache_folder):
    assert len(template("f1", "../rock/roll").envelope) > 20
    assert not list(cache_folder.rglob("*roll*"))


@pytest.mark.parametrize("singer", SINGERS)
def test_drawn_voices_are_many_and_reproducible(singer):
    voices = [draw_voice(singer, np.random.default_rng(i)) for i in range(40)]
    assert len(set(voices)) == 40
    assert len({v.variant for v in voices}) >= 4
    assert all(v.variant in VARIANTS and 0.84 <= v.formant <= 1.25 for v in voices)
    assert voices[7] == draw_voice(singer, np.random.default_rng(7))


def test_wrong_voices_are_refused():
    with pytest.raises(AudioError, match="f9"):
        Voice("f9")
    with pytest.raises(AudioError, match=r"2\.0"):
        Voice(formant=2.0)
    with pytest.raises(AudioError, match="female, male, child"):
        draw_voice("none", np.random.default_rng(0))


# ---- the vocoder ---------------------------------------------------------------------------


def flat(frames, voiced, hertz=200.0):
    spectrum = np.zeros((frames, vocoder.BINS), np.float32)
    noise = np.zeros(vocoder.BINS, np.float32)
    mask = np.full(frames, voiced)
    return vocoder.synthesise(spectrum, np.full(frames, hertz), mask, noise, np.random.default_rng(0))


@pytest.mark.parametrize("hertz", [90.0, 261.6, 700.0])
def test_a_flat_spectrum_has_unit_variance_at_any_pitch(hertz):
    # A little less for pulses: their interpolation is short, so the last kilohertz are missing.
    assert np.var(flat(300, True, hertz)[4000:-4000]) == pytest.approx(0.95, abs=0.05)
    assert np.var(flat(300, False)[4000:-4000]) == pytest.approx(1.0, abs=0.05)


def test_pulses_come_at_the_pitch():
    y = flat(400, True, 200.0)[2000:-2000].astype(np.float64)
    spectrum = np.abs(np.fft.rfft(y * np.hanning(len(y)), 1 << 18))
    peaks = spectrum[: 1 << 13].argmax() * SAMPLE_RATE / (1 << 18)
    assert peaks % 200 == pytest.approx(0, abs=0.5) or peaks % 200 == pytest.approx(200, abs=0.5)


def test_the_spectrum_is_the_one_asked_for():
    hertz = vocoder.hertz()
    wanted = -4 * np.log(1 + (hertz / 1500) ** 2) + 3 * np.exp(-(((hertz - 2800) / 300) ** 2))
    frames = np.repeat(wanted[None].astype(np.float32), 2000, axis=0)
    y = vocoder.synthesise(
        frames, np.full(2000, 150.0), np.zeros(2000, bool), np.zeros(vocoder.BINS, np.float32),
        np.random.default_rng(1),
    )  # fmt: skip
    pieces = np.lib.stride_tricks.sliding_window_view(y, 1024)[::512] * np.hanning(1024)
    heard = np.log((np.abs(np.fft.rfft(pieces, axis=1)) ** 2).mean(axis=0) / (np.hanning(1024) ** 2).sum())
    band = (hertz > 200) & (hertz < 12000)
    assert np.abs(heard - wanted)[band].mean() < 0.15
