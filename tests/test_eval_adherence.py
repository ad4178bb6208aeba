"""What is heard in synthetic performances of a known score, and in performances of another."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.audio import Audio, write_audio
from common.errors import AudioError
from common.score import ChordChange, Groove, Note, Score, Section
from common.statistics import bootstrap
from common.theory import Chord, Key
from corpus import manifest
from corpus.record import SongRecord
from eval import hearing, tempo
from eval.adherence import (
    chords_kept,
    chroma,
    key_heard,
    key_weight,
    main,
    measure,
    melody,
    onset_correlation,
    onsets,
    summary,
    template,
)

RATE = 22050
PITCHES = (60, 64, 67, 69, 65, 62, 59, 67)


def sheet(
    bpm: float = 96.0, chords: tuple[str, ...] = ("C", "Am", "F", "G"), pitches=PITCHES, bars: int = 8
) -> Score:
    """Four-four with a bar a chord, two sung half notes a bar, kick and snare."""
    changes = tuple(ChordChange(48 * bar, chords[bar % len(chords)]) for bar in range(bars))
    notes = tuple(
        Note(24 * i, 22, pitches[i % len(pitches)], "啦", "la1", ends_line=i % 4 == 3)
        for i in range(2 * bars)
    )
    groove = Groove("X...x...X...x...", "....X.......X...", "................")
    return Score(bpm, Key(0), (Section("verse", bars, changes, notes, groove),), lead_in=0.4, tail=0.5)


def hum(midi: float, length: int, harmonics: int) -> np.ndarray:
    time = np.arange(length) / RATE
    frequency = 440 * 2 ** ((midi - 69) / 12)
    wave = sum(np.sin(2 * np.pi * frequency * h * time) / h for h in range(1, harmonics + 1))
    return wave * np.minimum(1, np.minimum(time, time[::-1]) / 0.01)


def play(score: Score) -> Audio:
    """Noise bursts for drums, organ chords, a bright voice."""
    out = np.zeros(int((score.duration + 0.5) * RATE))
    rng = np.random.default_rng(0)

    def add(start: float, wave: np.ndarray) -> None:
        at = int(start * RATE)
        out[at : at + len(wave)] += wave[: len(out) - at]

    for hit in score.drum_hits():
        add(hit.time, 0.4 * hit.velocity * rng.normal(size=1200) * np.exp(-np.arange(1200) / 200))
    for span in score.chord_spans():
        for tone in Chord.parse(span.label).classes:
            add(span.start, 0.06 * hum(48 + tone, int((span.end - span.start) * RATE), 3))
    for note in score.note_spans(sung=True):
        add(note.start, 0.12 * hum(note.pitch, int((note.end - note.start) * RATE), 6))
    return Audio((out / np.abs(out).max())[None].astype(np.float32), RATE)


def test_every_onset_of_a_click_track_is_found_within_twelve_milliseconds():
    times = np.arange(0.5, 9.5, 0.47)
    samples = np.zeros(RATE * 10, dtype=np.float32)
    for time in times:
        samples[int(time * RATE) :][:200] += np.hanning(200).astype(np.float32)
    found = hearing.onset_times(hearing.onset_strength(samples))
    assert len(found) == len(times)
    np.testing.assert_allclose(found, times, atol=0.012)


@pytest.mark.parametrize("bpm", [58, 75, 96, 120, 144, 182])
def test_the_tempo_of_a_click_track(bpm: int):
    samples = np.random.default_rng(0).normal(0, 1e-4, RATE * 20)
    for time in np.arange(0.1, 19.5, 60 / bpm):
        samples[int(time * RATE) :][:300] += np.hanning(300)
    found = tempo.estimate(Audio(samples[None].astype(np.float32), RATE))
    match = tempo.compare(found, bpm)
    assert match.octave
    assert match.exact or not 70 <= bpm <= 150


def test_comparing_tempi():
    assert tempo.compare(123, 120).exact and not tempo.compare(126, 120).exact
    assert tempo.compare(60, 120).octave and not tempo.compare(60, 120).exact
    assert not tempo.compare(90, 120).octave


def test_a_performance_keeps_its_score_and_no_other():
    score = sheet()
    right = measure(play(score), score)
    assert right.onset_correlation > 0.6 and abs(right.onset_null) < 0.1
    assert right.beats > 0.95 and right.beats_null < 0.4
    assert right.chords > 0.85 and right.chords_null < right.chords - 0.15
    assert right.chord_rank == 1.0
    assert right.melody > 0.95 and right.melody_null < 0.5
    assert right.key == 1.0 and right.notes == 16
    other = replace(sheet(113.0, ("Eb", "Bbm", "Ab", "Db"), tuple(p + 3 for p in PITCHES[::-1])), key=Key(3))
    wrong = measure(play(score), other)
    assert wrong.onset_correlation < 0.2
    assert wrong.beats < 0.6
    assert wrong.chord_rank < 0.5
    assert wrong.melody < 0.5
    assert wrong.key == 0.0


def test_a_melody_a_semitone_off_is_not_kept():
    score = sheet()
    off = sheet(pitches=tuple(p + 1 for p in PITCHES))
    share, _, notes = melody(play(score), off)
    assert share < 0.2 and notes == 16


def test_an_octave_is_forgiven_in_the_voice():
    score = sheet()
    share, _, _ = melody(play(score), sheet(pitches=tuple(p - 12 for p in PITCHES)))
    assert share > 0.8


def test_silence_and_noise_keep_nothing():
    score = sheet()
    silence = measure(Audio(np.zeros((1, int(21 * RATE)), dtype=np.float32), RATE), score)
    assert silence.onset_correlation is None
    assert silence.beats == 0.0 and silence.chords == 0.0 and silence.chord_rank == 0.0
    noise = Audio(np.random.default_rng(0).normal(0, 0.1, (2, 21 * RATE)).astype(np.float32), RATE)
    heard = measure(noise, score)
    assert abs(heard.onset_correlation) < 0.1
    assert abs(heard.melody - heard.melody_null) < 0.25
    with pytest.raises(AudioError, match="at least"):
        measure(Audio(np.zeros((1, 100), dtype=np.float32), RATE), score)


def test_a_score_without_words_drums_or_chords_has_no_such_figures():
    bare = replace(sheet(), sections=(Section("intro", 4),))
    figures = measure(play(sheet()), bare)
    assert (figures.onset_correlation, figures.beats, figures.chords, figures.melody) == (None,) * 4
    assert figures.notes == 0
    table = summary([figures, measure(play(sheet()), sheet())])
    assert table["melody"].count == 1 and table["key"].count == 2


def test_a_late_performance_loses_its_correlation():
    score = sheet()
    strength = onsets(play(score))
    late = onsets(play(replace(score, lead_in=0.4 + score.beat_seconds / 2)))
    assert onset_correlation(late, score)[0] < onset_correlation(strength, score)[0] - 0.4


def test_keys_and_chords():
    assert template(Chord.parse("Am"))[[9, 0, 4]] == pytest.approx(3**-0.5)
    assert key_heard(chroma(play(sheet()))) == Key(0)
    table = {"C major": 1.0, "G major": 0.5, "F major": 0.5, "A minor": 0.3, "C minor": 0.2, "D major": 0.0}
    assert {k: key_weight(Key.parse(k), Key(0)) for k in table} == table
    assert key_weight(Key(0), Key.parse("A yu")) == 0.3  # a pentatonic minor mode
    kept = chords_kept(chroma(play(sheet())), sheet())
    assert kept is not None and kept[0] > kept[1]


def test_the_estimate_prints_its_count_and_interval():
    assert str(bootstrap([1.0, 1.0], chance=0.25)) == "1.000 [1.000, 1.000] (n = 2, chance 0.25)"


def test_a_folder_of_any_format_is_measured_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"a": "wav", "b": "flac"}
    records = [SongRecord(n, "test", "CC0-1.0", "test", 21.0, score=sheet()) for n in names]
    manifest.write(tmp_path / "manifest.jsonl", records)
    for name, suffix in names.items():
        write_audio(tmp_path / f"songs/{name}.{suffix}", play(sheet()))
    options = ["--manifest", str(tmp_path / "manifest.jsonl"), "--audio", str(tmp_path / "songs")]
    assert main([*options, "--out", str(tmp_path / "out")]) == 0
    kept = json.loads((tmp_path / "out/adherence.json").read_text(encoding="utf-8"))
    assert kept["key"]["value"] == 1.0 and kept["key"]["count"] == 2
    assert kept["chord_rank"]["chance"] == pytest.approx(1 / 12)
    write_audio(tmp_path / "songs/b.wav", play(sheet()))
    assert main(options) == 2 and "needs b once" in capsys.readouterr().err
    for path in (tmp_path / "songs").glob("b.*"):
        path.unlink()
    assert main(options) == 2 and "has 0 files" in capsys.readouterr().err
