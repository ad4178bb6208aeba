"""Sung words: paths against brute force, the recogniser and its training, verdicts on planted faults."""

import itertools
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from common import config as configs
from common import phones
from common.audio import Audio, read_audio, write_audio
from common.errors import AudioError, CheckpointError, LyricsError, ManifestError, RequestError
from common.lyrics import Lyrics
from common.pinyin import SYLLABLES, split
from corpus import manifest, sung, synth
from corpus.record import TimedLine, TimedSyllable
from eval import ctc, lyrics, recognisers
from eval.syllables import data, features, measure, model, train

RATE = features.RATE


def random_log_probs(frames: int, size: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.log(rng.dirichlet(np.ones(size) * 0.5, frames)).astype(np.float64)


def collapsed(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(token for token, _ in itertools.groupby(path) if token)


def every_path(log_probs: np.ndarray) -> dict[tuple[int, ...], float]:
    """The best log-probability of each path's reading."""
    best: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        score = float(log_probs[np.arange(len(path)), path].sum())
        best[collapsed(path)] = max(score, best.get(collapsed(path), -np.inf))
    return best


# ---- paths -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("wanted", [(1,), (1, 2), (1, 1), (2, 1, 2), (1, 1, 2)])
def test_alignment_is_the_best_of_all_paths(wanted, seed):
    log_probs = random_log_probs(6, 3, seed)
    spans, score = ctc.align(log_probs, wanted)
    assert score == pytest.approx(every_path(log_probs)[wanted])
    path = np.zeros(6, dtype=int)
    for token, (first, last) in zip(wanted, spans):
        assert first < last
        path[first:last] = token
    assert collapsed(tuple(path)) == wanted
    assert log_probs[np.arange(6), path].sum() == pytest.approx(score)


def test_alignment_needs_a_frame_for_every_token_and_one_between_equals():
    with pytest.raises(LyricsError, match="3 frames, but there are 2"):
        ctc.align(random_log_probs(2, 3), (1, 1))
    assert ctc.align(random_log_probs(3, 3), (1, 1))[0] == [(0, 1), (2, 3)]


@pytest.mark.parametrize("seed", range(6))
def test_the_spelt_path_is_the_best_of_all_that_spell_syllables(seed):
    spellings = {"ba": (1, 3), "pa": (2, 3), "a": (3,)}
    log_probs = random_log_probs(6, 4, seed)

    def spelt(reading: tuple[int, ...]) -> int | None:
        if not reading:
            return 0
        counts = [
            1 + rest
            for syllable in spellings.values()
            if reading[: len(syllable)] == syllable and (rest := spelt(reading[len(syllable) :])) is not None
        ]
        return max(counts, default=None)

    for price in (0.0, 0.7):
        best = max(
            score - price * count
            for reading, score in every_path(log_probs).items()
            if (count := spelt(reading)) is not None
        )
        found = ctc.Speller(spellings, price).best(log_probs)
        reading = tuple(t for s in found for t in spellings[s.syllable])
        scores = every_path(log_probs)
        assert scores[reading] - price * len(found) == pytest.approx(best)
        assert all(a.last <= b.first for a, b in itertools.pairwise(found))


def song_of(plan: list[int | None], noise: float = 0.02) -> np.ndarray:
    """Frames that say the tokens of a plan, two frames each, with a pause after each."""
    rows = [row for token in plan for row in ([token or 0] * 2, [0])]
    flat = [t for row in rows for t in row]
    probs = np.full((len(flat), 9), noise)
    probs[np.arange(len(flat)), flat] = 1
    return np.log(probs / probs.sum(1, keepdims=True))


LINES = [(1, 2, 3), (4, 5, 6), (1, 7, 8)]


@pytest.mark.parametrize(
    ("plan", "lines"),
    [
        ([*LINES[0], *LINES[1], *LINES[2]], [0, 1, 2]),
        ([*LINES[0], None, None, *LINES[2]], [0, 2]),
        ([*LINES[0], *LINES[1], *LINES[1], *LINES[2]], [0, 1, 1, 2]),
        ([None, *LINES[2], *LINES[0]], [2, 0]),
        ([*LINES[0], 8, 8, 2, 7, *LINES[1]], [0, 1]),
        ([None] * 6, []),
    ],
)
def test_a_walk_finds_lines_that_are_skipped_repeated_and_moved(plan, lines):
    visits = ctc.walk(song_of(plan), LINES, ctc.WalkCosts(jump=1.0))
    assert [v.line for v in visits] == lines
    assert all(a.last <= b.first for a, b in itertools.pairwise(visits))


def test_a_walk_marks_the_frames_of_a_line_and_passes_over_lines_without_words():
    visits = ctc.walk(song_of([None, 4, 5, 6, None]), [(), (4, 5, 6), ()])
    assert visits == [ctc.Visit(1, 3, 11)]
    assert ctc.walk(song_of([1]), [(), ()]) == []


def walked_score(log_probs: np.ndarray, path: list[tuple[int, int] | None], costs: ctc.WalkCosts) -> float:
    """What a way through lines of one token each costs: (line, token) of every frame, None in a gap."""
    filler = np.maximum(log_probs[:, 0], log_probs[:, 1:].max(1) - costs.filler)
    score, place = 0.0, -1
    for frame, step in enumerate(path):
        score += filler[frame] if step is None else log_probs[frame, step[1]]
        if step is not None and (frame == 0 or path[frame - 1] != step):
            if frame and path[frame - 1] is not None:
                return -np.inf  # a line is entered from a gap
            score -= costs.jump * (step[0] != place + 1)
            place = step[0]
    return score - costs.jump * (place != 1)


@pytest.mark.parametrize("seed", range(5))
def test_a_walk_is_the_best_of_all_ways(seed):
    log_probs, costs = random_log_probs(6, 3, seed), ctc.WalkCosts(0.5, 0.8)
    steps: list[tuple[int, int] | None] = [None, (0, 1), (1, 2)]
    best = max(itertools.product(steps, repeat=6), key=lambda p: walked_score(log_probs, list(p), costs))
    expected = [
        (step[0], frame)
        for frame, step in enumerate(best)
        if step is not None and (frame == 0 or best[frame - 1] != step)
    ]
    assert [(v.line, v.first) for v in ctc.walk(log_probs, [(1,), (2,)], costs)] == expected


@pytest.mark.parametrize(
    ("heard", "written", "edits"),
    [("abcd", "abcd", 0), ("", "abc", 3), ("abc", "", 3), ("axcd", "abcd", 1), ("kitten", "sitting", 3)],
)
def test_edits_are_the_fewest(heard, written, edits):
    pairs, found = ctc.matches(list(heard), list(written))
    assert found == edits
    assert all(heard[i] == written[j] for i, j in pairs)
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in itertools.pairwise(pairs))


# ---- tokens, network, loss -------------------------------------------------------------------


def test_every_syllable_has_a_spelling_of_its_own():
    assert len(set(phones.SPELLINGS.values())) == len(SYLLABLES)
    for syllable in SYLLABLES:
        initial, final, _ = split(syllable)
        assert "".join(phones.TOKENS[t] for t in phones.spell(f"{syllable}3")) == initial + final


def test_latin_words_are_the_nearest_syllable():
    assert recognisers.syllable("hang2") == "hang"
    assert {recognisers.syllable(word) for word in ("baby", "oh", "fly")} <= set(SYLLABLES)
    with pytest.raises(LyricsError, match="a reading is pinyin"):
        recognisers.syllable("!")


def tiny_network(seed: int = 0) -> model.Network:
    torch.manual_seed(seed)
    return model.Network(model.ModelConfig(width=16, hidden=16, steps=(1, 2))).eval()


def test_padding_changes_nothing():
    network = tiny_network()
    short, long = torch.randn(1, features.BANDS, 53), torch.randn(1, features.BANDS, 90)
    both = torch.cat([torch.nn.functional.pad(short, (0, 37), value=7.0), long])
    together = network(both, torch.tensor([53, 90]))
    alone = network(short, torch.tensor([53]))
    torch.testing.assert_close(together[0, : model.frames(53)], alone[0])


def test_the_loss_is_torchs():
    log_probs = torch.randn(2, 12, len(phones.TOKENS), requires_grad=True).log_softmax(-1)
    batch = data.Batch(
        torch.zeros(2, features.BANDS, 48),
        torch.tensor([48, 30]),
        torch.full((2, 12), sung.UNKNOWN),
        torch.tensor([5, 25, 7]),
        torch.tensor([2, 1]),
    )
    config = train.TrainConfig("m", "o", frame_weight=0.0, ctc_weight=1.0)
    loss, report = train.losses(log_probs, batch, config)
    first = torch.nn.functional.ctc_loss(log_probs[0, :12], torch.tensor([5, 25]), (12,), (2,))
    second = torch.nn.functional.ctc_loss(log_probs[1, :8], torch.tensor([7]), (8,), (1,))
    # torch's own mean divides by the length of the target, as ours does.
    torch.testing.assert_close(loss, (first + second) / 2)
    assert report["loss/frame"] == 0


def test_frames_are_labelled_with_what_is_sung_in_them():
    ma, a = phones.spell("ma"), phones.spell("a")
    line = sung.Line(0.9, 2.0, (ma, a, a), ((1.0, 1.4), (1.4, 1.6), (1.6, 2.0)))
    labels = sung.frame_labels([line], model.FRAME_RATE, 0.0, 75)
    times = np.arange(75) / model.FRAME_RATE
    assert (labels[(times > 0.92) & (times < 0.98)] == ma[0]).all()
    assert (labels[times < 0.88] == 0).all() and (labels[times > 2.02] == 0).all()
    assert collapsed(tuple(labels)) == (*ma, *a, *a)  # the same vowel again has a blank before it
    unknown = sung.frame_labels([sung.Line(1.0, 2.0, (ma,))], model.FRAME_RATE, 0.0, 75)
    assert (unknown[(times > 1.02) & (times < 1.98)] == sung.UNKNOWN).all()


# ---- a short song ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """The manifest of a short song of the corpus's test split, in four lines."""
    folder = tmp_path_factory.mktemp("corpus")
    made = synth.song(synth.song_seed(11, 1, "test"), "test", durations=(20.0, 22.0), singer="female")
    write_audio(folder / "audio/song.flac", made.audio)
    manifest.write(folder / "manifest.jsonl", [replace(made.record, id="song", audio="audio/song.flac")])
    return folder / "manifest.jsonl"


@pytest.fixture(scope="module")
def song(corpus):
    record = manifest.read(corpus)[0]
    return record, corpus.parent / record.audio


def test_pieces_equal_the_whole(song, tmp_path):
    _, path = song
    own = recognisers.Syllables(network=tiny_network())
    mono = features.mono(read_audio(path))
    write_audio(tmp_path / "long.wav", Audio(np.tile(mono, 4)[None] * 0.9, RATE))
    heard = own.hear(tmp_path / "long.wav")
    whole = own.network.listen(np.asarray(read_audio(tmp_path / "long.wav").samples[0]))
    assert heard.log_probs.shape == tuple(whole.shape)
    np.testing.assert_allclose(heard.log_probs, whole, atol=1e-4)


def test_the_bundled_recogniser_hears_the_words_of_the_corpus(song, tmp_path):
    heard, own = [(song[0].lyrics, song[1])], recognisers.load(None)
    for number in (2, 3):  # the first is a song of 自由, far away in a hall: of all moods the hardest
        made = synth.song(
            synth.song_seed(11, number, "test"), "test", durations=(20.0, 22.0), singer="female"
        )
        write_audio(tmp_path / f"{number}.flac", made.audio)
        heard.append((made.record.lyrics, tmp_path / f"{number}.flac"))
    rates = [lyrics.judge(own.hear(path), own, words.lines).error_rate for words, path in heard]
    assert np.mean(rates) < 0.25 and rates[0] < 0.5 and max(rates[1:]) < 0.3


def test_the_bundled_recogniser_hears_the_corpus(song):
    record, path = song
    own = recognisers.load(None)
    found = lyrics.judge(own.hear(path), own, record.lyrics.lines)
    assert np.mean([line.verdict == "sung" for line in found.lines]) > 0.7
    assert np.median(lyrics.onset_errors(found, record.timing)) < 60
    read_back = Lyrics.parse(found.lrc("歌"))
    assert read_back.timed
    starts = {line.text: line.start for line in record.timing}
    for section in read_back.sections:
        for time, text in zip(section.times, section.lines):
            assert min(abs(time - s) for t, s in starts.items() if t == text) < 0.5


def test_planted_faults_are_found(song):
    record, path = song
    own = recognisers.load(None)
    audio = read_audio(path)
    backwards = Audio(audio.samples[:, ::-1], audio.sample_rate)
    changed, done = measure.plant(record, audio, record, backwards)
    assert sorted(done.values()) == ["muted", "replaced", "twice"]
    twice = next(k for k, fault in done.items() if fault == "twice")
    line = record.timing[twice]
    assert changed.duration == pytest.approx(audio.duration + line.end - line.start + sung.LEAD, abs=2.0)
    found = measure.listen(own, changed, [line.text for line in record.timing])
    right = {k: measure.FAULTS[fault] for k, fault in done.items()}
    verdicts = {k: line.verdict for k, line in enumerate(found.lines)}
    assert verdicts[twice] == "repeated"
    starts = [v.start for v in found.lines[twice].visits]
    assert starts[1] - starts[0] == pytest.approx(line.end - line.start + sung.LEAD, abs=0.3)
    muted = next(k for k, fault in done.items() if fault == "muted")
    assert verdicts[muted] == right[muted]
    assert all(v in ("missed", "garbled") for k, v in verdicts.items() if done.get(k) == "replaced")


def test_faults_need_four_lines(song):
    record, path = song
    audio = read_audio(path)
    with pytest.raises(ManifestError, match="four timed lines"):
        measure.plant(replace(record, timing=record.timing[:3]), audio, record, audio)


# ---- verdicts without audio ------------------------------------------------------------------


def said(text: str, **pauses: int) -> recognisers.Heard:
    """What a recogniser hears that writes these characters."""
    return recognisers.as_heard(lyrics.written(text))


@pytest.fixture(scope="module")
def writer():
    """A recogniser that hears what it is told."""
    return recognisers._Whisper(model=None, processor=None, name="told")


SONG = ["晚风吹过海面", "你说明天会来", "星星落在窗台", "我们一起等待"]


@pytest.mark.parametrize(
    ("sung", "verdicts"),
    [
        (SONG, "sung sung sung sung"),
        ([SONG[0], SONG[2], SONG[3]], "sung missed sung sung"),
        ([SONG[0], SONG[1], SONG[1], SONG[2], SONG[3]], "sung repeated sung sung"),
        ([SONG[0], "红豆生南国土", SONG[2], SONG[3]], "sung garbled sung sung"),
        ([SONG[0], SONG[1], SONG[3], SONG[2]], "sung sung sung missed"),
        (["红豆生南国土"], "missed missed missed missed"),
    ],
)
def test_verdicts_on_a_transcription(writer, sung, verdicts):
    found = lyrics.judge(said("".join(sung)), writer, SONG)
    if sung == [SONG[0], SONG[1], SONG[3], SONG[2]]:  # one of the two is out of order
        assert sorted(line.verdict for line in found.lines)[-2:] == ["sung", "sung"]
        return
    assert [line.verdict for line in found.lines] == verdicts.split()
    assert found.lines[0].visits == () or found.lines[0].visits[0].start is None
    with pytest.raises(LyricsError, match="known time"):
        found.lrc()


def test_a_swallowed_syllable_doesnt_cost_its_line(writer):
    """The walk passes over the line, since a long wrong vowel costs more than the right ones gain."""
    line, rest = "新年快乐时光", SONG[0]
    heard = [*lyrics.written("新快乐时光"), *lyrics.written(rest)]
    size, frames = len(SYLLABLES) + 1, []
    for syllable in heard:
        row = np.full(size, 1e-8)
        row[writer.spellings[syllable][0]] = 1.0
        frames += [row] * 8
    long = replace(writer, costs=ctc.WalkCosts(filler=0.1, jump=1.0))
    sung = recognisers.Heard(np.log(np.array(frames)), 25.0)
    tokens = [[t for s in lyrics.written(text) for t in long.spellings[s]] for text in (line, rest)]
    assert [v.line for v in ctc.walk(sung.log_probs, tokens, long.costs)] == [1]
    found = lyrics.judge(sung, long, [line, rest]).lines[0]
    assert found.verdict == "sung" and 0.5 < found.confidence < 1
    assert found.visits[0].start == 0 and found.visits[0].end == pytest.approx(5 * 8 / 25)
    other = lyrics.judge(sung, long, ["红豆生南国土", rest]).lines[0]
    assert other.verdict == "garbled" and other.confidence < 0.1 and other.visits[0].start == 0


def test_edits_of_a_song_count_everything(writer):
    found = lyrics.judge(said("晚风吹过海边你说明天会来"), writer, SONG[:2])
    assert (found.edits, found.matched, found.error_rate) == (1, 11, 1 / 12)
    assert found.heard[:6] == ("wan", "feng", "chui", "guo", "hai", "bian")


def test_songs_without_words_are_refused(writer):
    with pytest.raises(LyricsError, match="no words to listen for"):
        lyrics.judge(said("晚风"), writer, ["……"])


def test_the_summary_has_intervals_a_floor_and_onsets(writer):
    songs = [
        lyrics.judge(said("".join(SONG)), writer, SONG),
        lyrics.judge(said("大江东去浪淘尽"), writer, ["大江东去浪淘尽"]),
    ]
    table = lyrics.summary(songs)
    rate = table["syllable_error_rate"]
    assert (rate.value, rate.count) == (0.0, 2)
    assert rate.chance is not None and rate.chance > 0.8
    assert table["syllables_heard"].value == 1
    assert table["lines_sung"].value == 1 and table["lines_missed"].value == 0
    assert "onset_error_ms" not in table
    with pytest.raises(RequestError):
        lyrics.summary([])


def test_onsets_are_compared_with_the_manifests():
    visit = lyrics.Visit(1.0, 2.0, 0.9, (1.1, 1.5))
    line = lyrics.Line("晚风", "sung", 0.9, "wan feng", (visit,))
    judged = lyrics.Judgement((line,), ("wan", "feng"), ("wan", "feng"), 0, 2)
    truth = TimedLine("晚风", 1.0, 2.0, (TimedSyllable("晚", 1.12, 1.5), TimedSyllable("风", 1.46, 2.0)))
    assert lyrics.onset_errors(judged, [truth]) == pytest.approx([20, 40])
    assert lyrics.onset_errors(judged, []) == []
    table = lyrics.summary([judged], [[truth]])
    assert table["onset_error_ms"].value == pytest.approx(30)


# ---- training --------------------------------------------------------------------------------


def tiny_training(corpus: Path, out: Path, **changes) -> train.TrainConfig:
    config = train.TrainConfig(
        manifest=str(corpus), out=str(out),
        model=model.ModelConfig(width=16, hidden=16, steps=(1, 2)),
        data=data.DataConfig(batch_size=2, longest=4.0),
        warmup_steps=2, log_steps=2, ema_decay=0.9, decoded_songs=0, cpu=True,
    )  # fmt: skip
    return replace(config, **changes)


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return model.load(folder)[0].state_dict()


def test_training_begins_from_a_trained_recogniser_and_hears_further_manifests(corpus, tmp_path):
    first = train.train(tiny_training(corpus, tmp_path / "first", max_steps=1))
    (tmp_path / "more").mkdir()
    shutil.copy(corpus.parent / "audio/song.flac", tmp_path / "more/b.flac")
    record = replace(manifest.read(corpus)[0], id="another", audio="b.flac")
    manifest.write(tmp_path / "more/manifest.jsonl", [record])
    changes = {"init": str(first), "also": (str(tmp_path / "more/manifest.jsonl"),), "lr": 0.0}
    other = model.ModelConfig(width=8, hidden=8, steps=(1,))  # sizes are those of the folder
    begun = tiny_training(corpus, tmp_path / "second", max_steps=1, model=other, **changes)
    second = train.train(begun)
    for name, value in weights_of(first).items():
        assert torch.allclose(value, weights_of(second)[name], atol=1e-3), name  # kept in float16
    assert model.load(second)[1].learned_from == f"{len(manifest.read(corpus)) + 1} songs, 1 steps"
    with pytest.raises(CheckpointError, match="no syllable recogniser"):
        train.train(replace(begun, init=str(tmp_path / "none"), out=str(tmp_path / "third")))


def test_training_resumes_exactly_and_exports_what_can_be_loaded(corpus, tmp_path):
    whole = train.train(tiny_training(corpus, tmp_path / "whole", max_steps=4, valid=str(corpus)))
    half = tmp_path / "half"
    shutil.copytree(tmp_path / "whole" / "features", half / "features")
    stopped = tiny_training(corpus, half, max_steps=4)
    # Stop after two of four steps, with the schedule of four.
    seen = []
    original = train.Run.over
    try:
        train.Run.over = lambda self: seen.append(self.step) or self.step >= 2 or original(self)
        train.train(stopped)
    finally:
        train.Run.over = original
    assert max(seen) == 2
    resumed = train.train(stopped)
    for name, value in weights_of(whole).items():
        assert torch.equal(value, weights_of(resumed)[name]), name
    rows = [json.loads(r) for r in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert {"loss/frame", "loss/ctc", "frames/sung_right"} <= set(rows[0])
    assert "valid/loss_ctc" in rows[-1]
    own = recognisers.load(whole)
    heard = own.hear(corpus.parent / "audio/song.flac")
    assert heard.log_probs.shape[1] == len(phones.TOKENS)


def test_a_batch_can_be_learned(corpus, tmp_path):
    config = tiny_training(corpus, tmp_path)
    songs = data.Songs(data.cache(manifest.read(corpus), corpus.parent, tmp_path), config.data, 0)
    network, batch = tiny_network(), songs[0]
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    seen = []
    for _ in range(40):
        loss, report = train.losses(network(batch.mel, batch.lengths), batch, config)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(report)
    assert seen[-1]["loss/frame"] < 0.9 * seen[0]["loss/frame"]
    assert seen[-1]["loss/ctc"] < 0.3 * seen[0]["loss/ctc"]


def test_crops_hold_whole_lines_and_what_is_sung_in_them(corpus, tmp_path):
    record = manifest.read(corpus)[0]
    (versions,) = data.cache([record], corpus.parent, tmp_path)
    every = [t for line in sung.sung_lines(record) for s in line.syllables for t in s]
    text = " ".join(map(str, every))
    rng = np.random.default_rng(0)
    for _ in range(10):
        drawn = data.crop(versions[0], data.DataConfig(), rng)
        assert " ".join(map(str, drawn.targets)) in text
        assert collapsed(tuple(drawn.labels)) == drawn.targets
    quiet = data.silence(versions[0], data.DataConfig(), rng)
    assert quiet.targets == () and not quiet.labels.any()


def test_songs_without_words_teach_nothing(corpus, tmp_path):
    record = replace(manifest.read(corpus)[0], timing=())
    with pytest.raises(ManifestError, match="timed lines"):
        data.Songs(data.cache([record], corpus.parent, tmp_path), data.DataConfig(), 0)


@pytest.mark.parametrize("name", ["demo", "tiny"])
def test_the_configurations_can_be_read(name):
    path = Path(train.__file__).parent / "configs" / f"{name}.yaml"
    config = configs.parse(train.TrainConfig, ["--config", str(path), "--manifest", "m", "--out", "o"])
    assert (config.model == model.ModelConfig()) == (name == "demo")


def test_the_training_command_names_what_is_wrong(tmp_path, capsys):
    arguments = ["--manifest", str(tmp_path / "none.jsonl"), "--out", str(tmp_path), "--cpu", "true"]
    assert train.main(arguments) == 2
    assert "none.jsonl" in capsys.readouterr().err
    assert train.main([*arguments, "--frame_weight", "0", "--ctc_weight", "0"]) == 2
    assert "ctc_weight" in capsys.readouterr().err


# ---- recognisers of transformers -------------------------------------------------------------


@pytest.fixture
def ctc_folder(tmp_path):
    """A random Wav2Vec2 that writes characters."""
    from transformers import (
        Wav2Vec2Config,
        Wav2Vec2CTCTokenizer,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForCTC,
        Wav2Vec2Processor,
    )  # fmt: skip

    folder = tmp_path / "ctc"
    vocabulary = ["<pad>", "<s>", "</s>", "<unk>", "|", "晚", "风", "枫", "海", "x"]
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(vocabulary)}))
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, conv_dim=(8, 8), conv_kernel=(40, 20), conv_stride=(20, 16),
        num_feat_extract_layers=2, num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    Wav2Vec2ForCTC(config).save_pretrained(folder)
    tokenizer = Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))
    Wav2Vec2Processor(Wav2Vec2FeatureExtractor(), tokenizer).save_pretrained(folder)
    return folder


def test_a_ctc_model_of_transformers_is_pooled_by_reading(ctc_folder, song):
    own = recognisers.load(ctc_folder)
    heard = own.hear(song[1])
    assert heard.rate == RATE / 320
    assert len(heard.log_probs) == pytest.approx(song[0].duration * heard.rate, abs=2)
    np.testing.assert_allclose(np.exp(heard.log_probs).sum(1), 1, rtol=1e-4)
    probs = np.zeros((1, 10))
    probs[0, [6, 7]] = 0.4, 0.5  # 风 and 枫 are both feng
    pooled = np.exp(own._pooled(probs))
    assert pooled[0, own.spellings["feng"][0]] == pytest.approx(1, abs=0.01)
    found = lyrics.judge(heard, own, ["晚风吹过海面"])
    assert found.lines[0].verdict in lyrics.VERDICTS


@pytest.fixture
def whisper_folder(tmp_path):
    """A random Whisper with a byte vocabulary."""
    from transformers import (
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperProcessor,
        WhisperTokenizer,
    )  # fmt: skip
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    folder = tmp_path / "whisper"
    folder.mkdir()
    letters = [*bytes_to_unicode().values(), "<|endoftext|>", "<|startoftranscript|>"]
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(letters)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    torch.manual_seed(0)
    end = len(letters) - 2
    config = WhisperConfig(
        vocab_size=len(letters), d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_target_positions=16,
        pad_token_id=end, bos_token_id=end, eos_token_id=end, decoder_start_token_id=end + 1,
        suppress_tokens=[], begin_suppress_tokens=[],
    )  # fmt: skip
    network = WhisperForConditionalGeneration(config)
    network.generation_config.max_length = 8
    network.save_pretrained(folder)
    tokenizer = WhisperTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    WhisperProcessor(WhisperFeatureExtractor(), tokenizer).save_pretrained(folder)
    return folder


def test_whisper_transcribes_and_what_it_writes_is_judged(whisper_folder, song, monkeypatch):
    own = recognisers.load(whisper_folder)
    assert own.hear(song[1]).rate is None
    monkeypatch.setattr(own.processor, "batch_decode", lambda *a, **k: ["晚风吹过海面，hello 3"])
    heard = own.hear(song[1])
    found = lyrics.judge(heard, own, ["晚风吹过海面"])
    assert found.heard[:6] == ("wan", "feng", "chui", "guo", "hai", "mian")
    assert found.heard[-1] == "san" and found.lines[0].verdict == "sung"


def test_folders_without_a_model_are_named(tmp_path):
    with pytest.raises(CheckpointError, match="nothing"):
        recognisers.load(tmp_path / "nothing")
    for text in ("{}", '{"model_type": "whisper"}', '{"tokens": []}', "[]", "no"):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(CheckpointError, match=tmp_path.name):
            recognisers.load(tmp_path)


# ---- the command -----------------------------------------------------------------------------


def test_the_command_writes_what_it_finds(corpus, tmp_path, capsys):
    assert lyrics.main(["--songs", str(corpus), "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "syllable_error_rate" in printed and "onset_error_ms" in printed
    table = json.loads((tmp_path / "lyrics.json").read_text())
    assert set(table["lines_sung"]) >= {"value", "low", "high", "count"}
    assert table["syllable_error_rate_of_corpus"]["count"] >= 24
    assert Lyrics.parse((tmp_path / "lrc/song.lrc").read_text()).timed
    lines = json.loads((tmp_path / "lines.json").read_text())["song"]
    assert {line["verdict"] for line in lines} <= set(lyrics.VERDICTS)


def test_the_command_reads_folders_tags_and_files_of_words(song, tmp_path, caplog):
    record, path = song
    songs = tmp_path / "songs"
    write_audio(songs / "tagged.flac", read_audio(path), {"lyrics": str(record.lyrics)})
    shutil.copy(path, songs / "beside.flac")
    (songs / "beside.lrc").write_text("[00:01.00]晚风吹过海面\n", encoding="utf-8")
    shutil.copy(path, songs / "wordless.flac")
    found = {s.name: s.lyrics.lines for s in lyrics.songs_of(str(songs))}
    assert found == {"tagged": record.lyrics.lines, "beside": ("晚风吹过海面",)}
    assert "wordless.flac has no words" in caplog.text
    words = tmp_path / "words.txt"
    words.write_text("你说明天会来\n", encoding="utf-8")
    (one,) = lyrics.songs_of(str(songs / "wordless.flac"), str(words))
    assert one.lyrics.lines == ("你说明天会来",)
    assert len(list(lyrics.songs_of(str(songs), str(words), count=2))) == 2


def test_words_in_gb18030_and_a_song_in_two_formats(song, tmp_path):
    shutil.copy(song[1], tmp_path / "a.flac")
    (tmp_path / "._a.flac").write_bytes(b"Mac OS X")
    (tmp_path / "a.txt").write_text("晚风吹过海面\n", encoding="gbk")
    assert [s.lyrics.lines for s in lyrics.songs_of(str(tmp_path))] == [("晚风吹过海面",)]
    (tmp_path / "a.wav").write_bytes(b"the same")
    with pytest.raises(AudioError, match="'a' twice, in two formats"):
        list(lyrics.songs_of(str(tmp_path)))


def test_a_song_that_cannot_be_heard_costs_no_others(song, tmp_path, capsys):
    record, path = song
    write_audio(tmp_path / "songs/good.flac", read_audio(path), {"lyrics": str(record.lyrics)})
    (tmp_path / "songs/torn.flac").write_bytes(b"no music")
    (tmp_path / "songs/torn.txt").write_text("晚风吹过海面\n", encoding="utf-8")
    command = ["--songs", str(tmp_path / "songs"), "--out", str(tmp_path / "out")]
    assert lyrics.main(command) == 2
    assert "1 of 2 files can't be heard" in capsys.readouterr().err
    assert lyrics.main([*command, "--allow-missing"]) == 0
    assert list(json.loads((tmp_path / "out/lines.json").read_text())) == ["good"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--songs", "{t}/none.jsonl"], "none.jsonl"),
        (["--songs", "{t}/none"], "none"),
        (["--songs", "{t}/empty"], "a manifest"),
        (["--songs", "{t}/bad"], "bad.flac"),
        (["--songs", "{t}/quiet"], "--lyrics"),
        (["--songs", "{t}/quiet", "--lyrics", "{t}/nowhere"], "nowhere"),
        (["--songs", "{t}/quiet", "--lyrics", "{t}/latin1.txt"], "UTF-8"),
        (["--songs", "{t}/quiet", "--model", "{t}/empty"], "no recogniser"),
        (["--songs", "{t}/quiet", "--mdoel", "x"], "mdoel"),
    ],
)
def test_bad_inputs_are_one_sentence(tmp_path, capsys, arguments, message):
    (tmp_path / "empty").mkdir()
    write_audio(tmp_path / "quiet/quiet.wav", Audio(np.zeros((1, RATE), np.float32), RATE))
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/bad.flac").write_bytes(b"no music")
    (tmp_path / "latin1.txt").write_bytes("café".encode("latin-1"))
    given = [a.format(t=tmp_path) for a in arguments]
    assert lyrics.main([*given, "--out", str(tmp_path / "out")]) == 2
    printed = capsys.readouterr().err
    assert message in printed and "Traceback" not in printed and printed.count("\n") == 1
