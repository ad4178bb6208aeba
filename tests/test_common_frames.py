"""The frame channels of a score, against its own seconds."""

import logging

import numpy as np
import pytest

from common.errors import ScoreError
from common.frames import CHANNELS, GROUPS, N_CHANNELS, PITCH_LOW, render
from common.pinyin import FINALS, INITIALS
from common.score import HOLD, ChordChange, Groove, Note, Score, Section
from common.theory import Key

RATE = 44100 / 1024
BEAT = "X.......X......."
GROOVE = Groove(kick=BEAT, snare="....X.......X...", hat="x.x.x.x.x.x.x.x.")


def song() -> Score:
    notes = (
        Note(12, 12, 64, "天", "tian1"),
        Note(24, 12, 66, HOLD),
        Note(36, 12, 67, "上", "shang4", ends_line=True),
        Note(60, 24, 72),
    )
    sections = (
        Section("intro", 1, (ChordChange(0, "N"),), groove=None, energy=0.2),
        Section("verse", 2, (ChordChange(0, "Am7"), ChordChange(48, "F/C")), notes, GROOVE, True, 0.8),
    )
    return Score(120.0, Key(9, "minor"), sections, lead_in=0.25, tail=1.0)


def column(frames: np.ndarray, name: str) -> np.ndarray:
    return frames[:, CHANNELS.index(name)]


def rows(time: np.ndarray, start: float, end: float) -> np.ndarray:
    return (time >= start) & (time < end)


@pytest.fixture(scope="module")
def shown() -> tuple[Score, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    score = song()
    count = int(np.ceil((score.duration + 1) * RATE))
    frames = render(score, RATE, count)
    return score, (np.arange(count) + 0.5) / RATE, frames.channels, frames.initial, frames.final


def test_channels_have_names_and_groups() -> None:
    assert len(CHANNELS) == len(set(CHANNELS)) == N_CHANNELS
    assert sum(s.stop - s.start for s in GROUPS.values()) == N_CHANNELS
    assert CHANNELS[GROUPS["melody"]][60 - PITCH_LOW] == "melody.60"


def test_harmony_and_form_stand_where_the_score_says(shown) -> None:  # type: ignore[no-untyped-def]
    score, time, channels, _, _ = shown
    intro, am, f = rows(time, 0.25, 2.25), rows(time, 2.25, 4.25), rows(time, 4.25, score.duration)
    assert not channels[intro, GROUPS["chord"]].any()
    assert (channels[am, GROUPS["chord"]] == np.eye(12)[[9, 0, 4, 7]].sum(0)).all()
    assert (channels[f, GROUPS["chord"]] == np.eye(12)[[5, 9, 0]].sum(0)).all(), "the last chord rings on"
    assert (channels[f, GROUPS["bass"]] == np.eye(12)[0]).all()
    assert (column(channels, "section.intro") == intro).all()
    assert np.allclose(column(channels, "energy")[am], 0.8)
    assert (column(channels, "fill") == rows(time, 5.25, 6.25)).all()
    assert (column(channels, "song.inside") == rows(time, 0.25, 6.25)).all()
    after = time > score.duration
    assert after.any()
    assert not np.delete(channels[after], CHANNELS.index("song.position"), 1).any()


def test_beat_phase_is_zero_on_beats(shown) -> None:  # type: ignore[no-untyped-def]
    score, time, channels, _, _ = shown
    angle = np.arctan2(column(channels, "metre.beat_sin"), column(channels, "metre.beat_cos"))
    inside = column(channels, "song.inside") > 0
    beats = np.array(score.beats())
    nearest = time[inside] - beats[np.abs(time[inside][:, None] - beats).argmin(1)]
    assert np.allclose(np.exp(1j * angle[inside]), np.exp(2j * np.pi * nearest / 0.5), atol=1e-5)


def test_melody_words_and_lead(shown) -> None:  # type: ignore[no-untyped-def]
    score, time, channels, initial, final = shown
    first, held, last, lead = score.note_spans()
    assert (column(channels, "melody.64") == rows(time, first.start, first.end)).all()
    assert (column(channels, "melody.66") == rows(time, held.start, held.end)).all()
    assert (column(channels, "voice.on") == rows(time, first.start, last.end)).all()
    assert (column(channels, "lead.on") == rows(time, lead.start, lead.end)).all()
    tian, shang = FINALS.index("ian"), FINALS.index("ang")
    assert set(final[rows(time, first.start, held.end)]) == {tian}, "a melisma keeps its syllable"
    assert set(final[rows(time, last.start, last.end)]) == {shang}
    assert set(initial[rows(time, first.start - 0.08, first.start)]) == {INITIALS.index("t")}
    assert set(initial[rows(time, last.start - 0.08, last.end)]) == {INITIALS.index("sh")}
    assert not initial[rows(time, 0, first.start - 0.081)].any()
    assert not final[~rows(time, first.start, last.end)].any()
    position, left = column(channels, "note.position"), column(channels, "note.left")
    on = rows(time, lead.start, lead.end)
    assert np.allclose(position[on], (time[on] - lead.start) / (lead.end - lead.start), atol=1e-6)
    assert np.allclose(left[on], lead.end - time[on], atol=1e-6)


@pytest.mark.parametrize("name", ["voice.onset", "hits.kick", "hits.snare", "lead.onset"])
def test_pulses_keep_the_exact_time(name: str, shown) -> None:  # type: ignore[no-untyped-def]
    score, time, channels, _, _ = shown
    pulse = column(channels, name)
    if name == "voice.onset":
        wanted = [n.start for n in score.note_spans(sung=True) if n.syllable != HOLD]
    elif name == "lead.onset":
        wanted = [n.start for n in score.note_spans(sung=False)]
    else:
        wanted = [h.time for h in score.drum_hits() if h.drum == name[5:]]
    for moment in wanted:
        near = np.abs(time - moment) < 1.01 / RATE
        weight = pulse[near]
        if name != "hits.snare" or weight.sum() > 0.99:
            assert (weight * time[near]).sum() / weight.sum() == pytest.approx(moment, abs=1e-4)
    assert pulse.sum() == pytest.approx(
        sum(h.velocity for h in score.drum_hits() if h.drum == name[5:]) if "hits" in name else len(wanted),
        abs=1e-3,
    )


def test_drum_envelopes_decay_from_the_hit(shown) -> None:  # type: ignore[no-untyped-def]
    score, time, channels, _, _ = shown
    kick = column(channels, "drums.kick")
    hit = next(h.time for h in score.drum_hits() if h.drum == "kick")
    after = rows(time, hit, hit + 0.5)
    assert np.allclose(kick[after], np.exp(-(time[after] - hit) / 0.12), atol=1e-3)
    assert not kick[time < hit].any()


def test_what_is_absent_is_zero_and_swing_moves_notes() -> None:
    bare = render(Score(100, Key(0), (Section("verse", 1),)), 50, 60).channels
    silent = ("chord", "bass", "voice", "lead", "note", "melody", "drums", "hits", "fill")
    assert not any(bare[:, GROUPS[name]].any() for name in silent)
    off_beat = (Section("verse", 1, (), (Note(6, 6, 60),)),)
    late = render(Score(60, Key(0), off_beat, swing=1 / 3), 30, 60).channels
    assert np.flatnonzero(column(late, "melody.60"))[0] == 20  # 2/3 of a second at 30 Hz


def test_far_pitches_are_folded_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    notes = (Note(0, 12, 23, "低", "di1"), Note(12, 12, 110))
    with caplog.at_level(logging.WARNING):
        channels = render(Score(120, Key(0), (Section("verse", 1, (), notes),)), 40, 40).channels
    assert "2 notes outside MIDI 36–95" in caplog.text
    assert column(channels, "melody.47")[2] == 1
    assert column(channels, "melody.86")[30] == 1


def test_a_rate_of_zero_is_refused() -> None:
    with pytest.raises(ScoreError, match="above 0"):
        render(song(), 0, 10)
