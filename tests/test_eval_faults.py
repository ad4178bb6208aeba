"""Planted faults and the matrix: what is spoiled and what isn't, closed forms of cells, a whole small run."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from common.audio import Audio, write_audio
from common.description import Audience, Description
from common.errors import ManifestError, RequestError
from common.loudness import integrated_loudness, true_peak
from common.score import NoteSpan
from corpus import manifest, synth
from corpus.record import SongRecord
from eval import faults, matrix, planting
from eval.faults import Settings, in_sixteen_bits
from eval.matrix import BLIND, MISLED, NOTICES, UNASKED, Cell, Metric
from eval.planting import NONE, TAKE, Studio, silence_lines

RATE = 22050
MORE, LESS, ANY = Metric("m", 1), Metric("m", -1), Metric("m", 0)


# ---- faults of music -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def made() -> synth.SyntheticSong:
    return synth.song(synth.song_seed(5, 0, "test"), "test", durations=(12.0, 13.0), singer="female")


@pytest.fixture(scope="module")
def studio(made: synth.SyntheticSong, monkeypatch_module: pytest.MonkeyPatch) -> Studio:
    monkeypatch_module.setattr(planting, "plan_of", lambda _: made.sheet.plan)
    return Studio(made.record)


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def test_a_song_is_rendered_again_to_the_sample(made: synth.SyntheticSong, studio: Studio):
    again = studio.render()
    assert again is not None and again.fault == NONE
    np.testing.assert_array_equal(again.audio.samples, made.audio.samples)


def test_half_the_words_are_missing_and_nothing_else(studio: Studio):
    spoiled = studio.render("words")
    whole, half = studio._vocals(), studio._half_sung()
    assert spoiled is not None and whole is not None and half is not None
    lines = studio.score.lines()
    for number, line in enumerate(lines):
        inside = slice(round(line[0].start * 44100), round(line[-1].end * 44100))
        if number % 2:
            assert np.abs(half[inside]).max() < 0.05 * np.abs(whole[inside]).max()
        else:
            np.testing.assert_array_equal(half[inside], whole[inside])
    assert spoiled.audio.samples.shape[1] == round(studio.score.duration * 44100)


def test_another_tempo_and_genre_keep_the_rest():
    sheet = synth.sheet(synth.song_seed(5, 1, "test"), "test", durations=(12.0, 13.0))
    studio = Studio.__new__(Studio)
    studio.plan, studio.score = sheet.plan, sheet.score
    hurried = studio._hurried()
    ratio = hurried.tempo / sheet.score.tempo
    assert max(ratio, 1 / ratio) == pytest.approx(1.3) and hurried.sections == sheet.score.sections
    dressed, score = studio._dressed()
    assert dressed.genre != sheet.plan.genre and dressed.instruments != sheet.plan.instruments
    assert (dressed.singer, dressed.tempo, dressed.key) == (
        sheet.plan.singer,
        sheet.plan.tempo,
        sheet.plan.key,
    )
    assert score.lyrics() == sheet.score.lyrics() and score.tempo == sheet.score.tempo
    for mine, own in zip(score.sections, sheet.score.sections):
        assert (mine.notes, mine.chords, mine.bars) == (own.notes, own.chords, own.bars)
        assert (mine.groove is None) == (own.groove is None)


def test_lines_fall_silent_from_rest_to_rest():
    def line(start: float) -> tuple[NoteSpan, ...]:
        return (NoteSpan(start, start + 1.0, 60, "啊", None, 0, True),)

    vocals = np.ones((8000, 2), np.float32)
    out = silence_lines(vocals, [line(0.5), line(2.5), line(4.5)], [1], rate=1000)
    assert (out[2010:3990] == 0).all() and (out[:1990] == 1).all() and (out[4010:] == 1).all()
    assert (vocals == 1).all()


# ---- faults of sound -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def sound() -> Audio:
    rng = np.random.default_rng(0)
    time = np.arange(3 * 44100) / 44100
    voice = sum(np.sin(2 * np.pi * 220 * h * time) / h for h in range(1, 40))
    samples = 0.3 * np.stack([voice, np.roll(voice, 40)]) + 0.01 * rng.standard_normal((2, len(time)))
    return Audio(samples.astype(np.float32), 44100)


def test_faults_of_sound_do_what_they_say(sound: Audio):
    found = {name: spoil(sound, 1) for name, spoil in planting._SOUND.items()}
    assert found["clipping"].peak == 1.0 and true_peak(found["clipping"]) > 0
    assert integrated_loudness(found["clipping"]) > integrated_loudness(sound) + 6
    np.testing.assert_array_equal(found["mono"].samples[0], found["mono"].samples[1])
    np.testing.assert_allclose(found["mono"].samples[0], sound.samples.mean(0), atol=1e-6)
    power = np.abs(np.fft.rfft(found["low-pass"].samples[0])) ** 2
    hertz = np.fft.rfftfreq(sound.samples.shape[1], 1 / 44100)
    assert power[hertz > 8000].sum() < 1e-4 * power.sum() < np.inf
    left, right = found["noise"].samples - sound.samples
    assert abs(np.corrcoef(left, right)[0, 1]) < 0.5  # of its own in each channel, but for the level
    for name in ("mono", "low-pass", "noise", "wow", "jitter"):
        assert found[name].samples.shape == sound.samples.shape and found[name].peak <= 1
        assert not np.array_equal(found[name].samples, sound.samples)
    for name in ("low-pass", "noise", "wow", "jitter"):
        assert found[name].samples.std() == pytest.approx(sound.samples.std(), rel=0.05)
        again = planting._SOUND[name](sound, 1).samples
        np.testing.assert_array_equal(found[name].samples, again)


def test_channels_waver_together(sound: Audio):
    both = Audio(np.stack([sound.samples[0]] * 2), sound.sample_rate)
    for fault in ("wow", "jitter"):
        left, right = planting.spoil(both, fault, 7).samples
        np.testing.assert_array_equal(left, right)


def test_sixteen_bits_are_a_step_away(sound: Audio):
    difference = in_sixteen_bits(sound).samples - sound.samples
    assert 0 < np.abs(difference).max() <= 1.51 * 2**-15 and abs(difference.mean()) < 1e-6


# ---- cells ---------------------------------------------------------------------------------


def test_a_cell_is_a_paired_t_test():
    rng = np.random.default_rng(1)
    before = rng.standard_normal(12)
    after = before - 0.5 + 0.6 * rng.standard_normal(12)
    wanted = stats.ttest_rel(after, before)
    cell = matrix.of_songs(MORE, "f", before, after)
    assert cell.effect == pytest.approx(wanted.statistic) and cell.p == pytest.approx(wanted.pvalue)
    assert matrix.of_songs(LESS, "f", before, after).effect == pytest.approx(-wanted.statistic)
    assert matrix.of_songs(ANY, "f", after, before).effect == pytest.approx(-abs(wanted.statistic))
    holes = np.append(before, [np.nan, 1.0]), np.append(after, [1.0, np.nan])
    assert matrix.of_songs(MORE, "f", *holes).effect == pytest.approx(cell.effect)
    assert (cell.songs, cell.sound, cell.faulty) == (
        12,
        pytest.approx(before.mean()),
        pytest.approx(after.mean()),
    )


def test_what_does_not_move_is_not_noticed_and_too_few_are_not_asked():
    same = matrix.judged([matrix.of_songs(MORE, "f", np.ones(5), np.ones(5))])[0]
    assert (same.effect, same.p, same.verdict) == (0.0, 1.0, BLIND)
    few = matrix.of_songs(MORE, "f", np.ones(3), np.zeros(3))
    assert few.verdict == UNASKED and few.effect is None and matrix.shown(few) == "–"
    sure = matrix.judged([matrix.of_songs(MORE, "f", np.ones(5), np.zeros(5))])[0]
    assert sure.effect == -999.0 and sure.verdict == NOTICES and matrix.shown(sure) == "-999*"


def test_a_hair_in_every_song_is_not_noticed():
    before = np.linspace(0, 1, 9)
    for step, verdict in ((1e-3, BLIND), (0.3, NOTICES)):
        after = before - step * (1 + 0.01 * np.sin(np.arange(9)))
        cell = matrix.judged([matrix.of_songs(MORE, "f", before, after)])[0]
        assert cell.effect is not None and cell.effect < -100 and cell.verdict == verdict
        assert cell.size == pytest.approx(-step / before.std(ddof=1), rel=0.02)


def test_verdicts_are_corrected_for_their_number():
    def cells(count: int) -> list[Cell]:
        return [Cell("m", str(i), 9, 1.0, 0.0, -3.0, p=0.01 if i else 0.002) for i in range(count)]

    assert [c.verdict for c in matrix.judged(cells(3))] == [NOTICES] * 3
    assert [c.verdict for c in matrix.judged(cells(20))] == [NOTICES] + [BLIND] * 19
    better = matrix.judged([Cell("m", "f", 9, 0.0, 1.0, 4.0, p=0.001)])
    assert better[0].verdict == MISLED and matrix.words(better) == ["m: takes for better f"]
    assert matrix.words([Cell("m", "f", 2)]) == [f"m: {UNASKED}"]


def test_an_error_of_sets_is_that_of_a_mean():
    """Half-jackknife of a mean: the textbook's standard error."""
    rng = np.random.default_rng(2)
    effects = []
    for _ in range(40):
        values = rng.standard_normal((2, 24))
        cell = matrix.of_sets(LESS, "f", lambda chosen, v=values: tuple(v[:, chosen].mean(1)), 24)
        wanted = stats.ttest_rel(values[1], values[0]).statistic
        effects.append((cell.effect, -wanted))
    found, known = np.array(effects).T
    assert np.corrcoef(found, known)[0, 1] > 0.98 and 0.8 < found.std() / known.std() < 1.25
    assert matrix.of_sets(LESS, "f", lambda c: (0.0, 1.0), 12, fewest=8).verdict == UNASKED


# ---- a whole run ---------------------------------------------------------------------------

SONGS = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Strangers' songs: no seed and no score, so that only their sound can be spoiled."""
    root = tmp_path_factory.mktemp("songs")
    records = []
    for number in range(SONGS + 8):
        rng = np.random.default_rng(number)
        time = np.arange(2 * RATE) / RATE
        tone = np.sign(np.sin(2 * np.pi * (200 + 20 * number) * time)) * (time * (2 + number % 3) % 1 < 0.5)
        samples = 0.15 * np.stack([tone, np.roll(tone, 30)]) + 0.01 * rng.standard_normal((2, len(time)))
        name = f"song{number}"
        write_audio(root / f"{name}.flac", Audio(samples.astype(np.float32), RATE))
        told = Description(f"第{number}首歌", Audience.AMATEUR, "整体", "sentence")
        records.append(
            SongRecord(
                name, "test", "CC0-1.0", "test", 2.0, audio=f"{name}.flac",
                genre=("摇滚", "民谣")[number % 2], descriptions=(told,),
            )
        )  # fmt: skip
    manifest.write(root / "manifest.jsonl", records)
    return root


def run(folder: Path, out: Path, *more: str) -> int:
    return faults.main([
        "--manifest", str(folder / "manifest.jsonl"), "--songs", str(SONGS), "--out", str(out),
        "--encoders", "[corpus]", "--listener", str(out / "nobody"), "--cache", str(out / "cache"),
        "--faults", "[genre, clipping, mono]", *more,
    ])  # fmt: skip


@pytest.fixture(scope="module")
def out(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one run writes."""
    path = tmp_path_factory.mktemp("out")
    assert run(folder, path, "--keep", "true") == 0
    return path


def test_a_matrix_of_strangers_songs(out: Path):
    data = json.loads((out / "matrix.json").read_text(encoding="utf-8"))
    cells = {(c["metric"], c["fault"]): c for c in data["cells"]}
    assert {c["fault"] for c in data["cells"]} == {"prompt", "clipping", "mono"} and data["songs"] == SONGS
    assert any("faults of music are left out" in t for t in data["left_out"])
    assert any("the learned listener is left out" in t for t in data["left_out"])
    # Loudness can't see mono or a wrong prompt; a comparison of channels sees mono; clipping is loud.
    assert cells["loudness", "clipping"]["verdict"] == NOTICES
    assert cells["loudness", "prompt"]["effect"] == 0.0 == cells["copy: mel_distance", "prompt"]["effect"]
    assert cells["copy: ccpc", "mono"]["effect"] < -5
    assert cells["probe: genre", "prompt"]["sound"] != cells["probe: genre", "prompt"]["faulty"]
    metrics = {m for m, _ in cells}
    assert {"ASOA (corpus)", "FAD (corpus)", "FAD∞ (corpus)", "KAD (corpus)"} <= metrics
    assert cells["FAD∞ (corpus)", "mono"]["verdict"] == UNASKED  # halves of four songs
    assert not any(m.startswith(("SST", "adherence", "listener")) for m in metrics)
    assert len(list((out / "songs/mono").iterdir())) == SONGS
    with Image.open(out / "matrix.png") as picture:
        assert picture.size[0] > 400
    assert (out / "matrix.md").read_text(encoding="utf-8").startswith("| metric | prompt | clipping | mono |")


def test_what_was_heard_is_kept(
    folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    first = (out / "matrix.json").read_bytes()

    def never(*_: object) -> None:
        raise AssertionError("this song was heard before")

    monkeypatch.setattr(faults, "versions", never)
    assert run(folder, out) == 0
    assert (out / "matrix.json").read_bytes() == first
    assert "loudness: notices clipping" in capsys.readouterr().out
    with pytest.raises(AssertionError, match="heard before"):
        run(folder, out, "--seed", "1")


def test_a_damaged_file_is_heard_anew(tmp_path: Path):
    (tmp_path / "a.npz").write_bytes(b"PK")
    assert faults.kept(tmp_path / "a.npz", {}) is None


def test_wrong_inputs_are_one_sentence(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for wrong in (["--faults", "[sneezing]"], ["--songs", "2"], ["--manifest", str(tmp_path / "none")],
                  ["--probes", str(tmp_path)]):  # fmt: skip
        assert run(folder, tmp_path, *wrong) == 2
        assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(RequestError, match="known are tempo, genre"):
        faults.measure(Settings("m", "o", faults=["sneezing"]))
    with pytest.raises(ManifestError, match="can't be rendered again"):
        Studio(SongRecord("a", "test", "CC0-1.0", "test", 1.0))


def test_controls_come_first():
    assert faults._versions([], Settings("m", "o")) == []
    heard = faults.Hearing({name: {} for name in ("none", "mono", TAKE, "prompt")}, {})
    assert faults._versions([heard], Settings("m", "o")) == [TAKE, "prompt", "mono"]
