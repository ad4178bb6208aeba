"""Understanding: reading answers, captions, layouts of data sets, a tiny Qwen2-Audio, measures."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.audio import Audio, write_audio
from common.errors import AudioError, CheckpointError, RequestError, run_command
from eval import measures, rouge, understanding, understanding_data
from eval.understanding import (
    TASKS,
    Answer,
    Qwen2Audio,
    Settings,
    ask,
    classification,
    evaluate,
    lenient,
    strict,
)
from eval.understanding_data import Item

LABELS = ("blues", "hiphop", "jazz", "pop", "rock")


# ---- reading answers -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "exact", "loose"),
    [
        ("Jazz.", "jazz", "jazz"),
        ("**hip-hop**", "hiphop", "hiphop"),
        ("ＲＯＣＫ", "rock", "rock"),
        ("The genre is rock.", None, "rock"),
        ("This is pop, not rock.", None, None),
        ("rap", "hiphop", "hiphop"),
        ("A baroque piece", None, None),  # no rock in baroque
        ("It is popular in bars", None, "pop"),
        ("rockabilly", None, None),
        ("The genre is jazz, which was popular in the 1930s.", None, "jazz"),
        ("a classic rock song", None, "rock"),
        ("Popular", "pop", "pop"),
        ("I cannot tell.", None, None),
        ("", None, None),
    ],
)
def test_an_answer_is_read_twice(said: str, exact: str | None, loose: str | None):
    assert (strict(said, LABELS), lenient(said, LABELS)) == (exact, loose)


def test_labels_inside_labels_and_chinese():
    assert lenient("a classic rock song", (*LABELS, "classical")) == "rock"
    assert lenient("a classic piece", (*LABELS, "classical")) == "classical"
    assert lenient("synth-pop it is", ("pop", "synth-pop")) == "synth-pop"
    assert lenient("这是一首摇滚乐", ("摇滚", "民谣")) == "摇滚"
    assert strict("民谣。", ("摇滚", "民谣")) == "民谣"


@given(st.sampled_from(LABELS))
def test_what_is_strict_is_lenient(label: str):
    assert strict(f" {label.upper()}! ", LABELS) == lenient(label, LABELS) == label


def test_unparsed_answers_are_wrong_and_shown():
    said = ["jazz", "It's jazz", "no idea", "rock", "rock or jazz"]
    found = classification(
        [Answer(str(i), s, "jazz") for i, s in enumerate(said)] + [Answer("5", "rock", "rock")], LABELS
    )
    assert found.strict.value == 2 / 6 and found.lenient.value == 3 / 6
    assert [a.said for a in found.unparsed] == ["no idea", "rock or jazz"]
    assert found.confusion["jazz"] == {"jazz": 2, "unparsed": 2, "rock": 1}
    assert found.balanced.value == pytest.approx((2 / 5 + 1) / 2) and found.strict.chance == 5 / 6
    with pytest.raises(RequestError, match="polka"):
        classification([Answer("0", "x", "polka")], LABELS)


# ---- captions ------------------------------------------------------------------------------


def test_rouge_against_rouge_score():
    # rouge_score 0.1.2, use_stemmer=False: precision, recall, F1 of ROUGE-1 and ROUGE-L.
    table = [
        (
            "A slow piano ballad with a female voice, sad and tender.",
            "This folk song features a male voice singing the main melody in an emotional mood "
            "with a slow piano.",
            (0.545454545455, 0.315789473684, 0.4),
            (0.272727272727, 0.157894736842, 0.2),
        ),
        (
            "the cat sat on the mat the end",
            "the mat is what the cat sat on",
            (0.75, 0.75, 0.75),
            (0.5, 0.5, 0.5),
        ),
        ("Rock!", "rock rock rock", (1.0, 0.333333333333, 0.5), (1.0, 0.333333333333, 0.5)),
    ]
    for candidate, reference, one, longest in table:
        for wanted, found in ((one, rouge.rouge_1), (longest, rouge.rouge_l)):
            score = found(candidate, reference)
            assert (score.precision, score.recall, score.f1) == pytest.approx(wanted, abs=1e-11)


def test_chinese_counts_by_character():
    assert rouge.rouge_l("安静的钢琴曲", "安静的钢琴曲").f1 == 1.0
    assert rouge.rouge_1("安静的钢琴", "吵闹的钢琴").f1 == pytest.approx(3 / 5)
    assert rouge.tokens("80年代的Disco，R&B风格") == ["80", "年", "代", "的", "disco", "r", "b", "风", "格"]
    assert rouge.rouge_l("ＡＢＣ的Ｒ＆Ｂ", "abc的r&b").f1 == 1.0
    assert rouge.rouge_1("", "安静").f1 == 0.0
    assert rouge.best("钢琴", ["吉他", "钢琴曲"]).recall == pytest.approx(2 / 3)


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=12), st.text(max_size=12))
def test_rouge_is_bounded_and_symmetric(a: str, b: str):
    for measure in (rouge.rouge_1, rouge.rouge_l):
        forth, back = measure(a, b), measure(b, a)
        assert 0 <= forth.f1 <= 1 and forth.f1 == pytest.approx(back.f1) and forth.precision == back.recall
    assert rouge.rouge_l(a, b).f1 <= rouge.rouge_1(a, b).f1 + 1e-12


# ---- layouts -------------------------------------------------------------------------------


def beep(path: Path, hertz: float = 300) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(8000) / 8000
    write_audio(path, Audio((0.3 * np.sin(2 * np.pi * hertz * time))[None].astype(np.float32), 8000))
    return path


def test_gtzan_by_its_filtered_list(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    for name in ("blues/blues.00001", "jazz/jazz.00053", "jazz/jazz.00054"):
        beep(tmp_path / f"{name}.wav")
    (tmp_path / "test_filtered.txt").write_text("blues/blues.00001.au\njazz/jazz.00053.wav\n")
    found = understanding_data.read("gtzan", tmp_path, tmp_path / "test_filtered.txt")
    assert [(i.audio.name, i.label) for i in found] == [
        ("blues.00001.wav", "blues"),
        ("jazz.00053.wav", "jazz"),
    ]
    assert not caplog.text
    every = understanding_data.read("gtzan", tmp_path)
    assert len(every) == 2 and "repeats and faults" in caplog.text  # jazz.00054 can't be read
    (tmp_path / "test_filtered.txt").write_text("pop/pop.00001.wav\n")
    with pytest.raises(RequestError, match=r"lacks pop/pop\.00001\.wav"):
        understanding_data.read("gtzan", tmp_path, tmp_path / "test_filtered.txt")


def test_fma_mirex_and_musiccaps(tmp_path: Path):
    fma = tmp_path / "fma"
    for number in (2, 5, 1010):
        beep(fma / f"{number:06}"[:3] / f"{number:06}.wav").rename(
            fma / f"{number:06}"[:3] / f"{number:06}.mp3"
        )
    rows = [
        ["", "set", "set", "track"], ["", "split", "subset", "genre_top"], ["track_id", "", "", ""],
        ["2", "test", "small", "Hip-Hop"], ["5", "training", "small", "Rock"], ["1010", "test", "small", ""],
        ["7", "test", "small", "Rock"],
    ]  # fmt: skip
    with (fma / "tracks.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    assert [(i.audio.name, i.label) for i in understanding_data.read("fma", fma)] == [
        ("000002.mp3", "Hip-Hop")
    ]

    mirex = tmp_path / "mirex"
    for number in (1, 2):
        beep(mirex / f"Audio/00{number}.wav")
    (mirex / "clusters.txt").write_text("Cluster 1\nCluster 5\n")
    assert [i.label for i in understanding_data.read("mirex", mirex)] == ["passionate", "aggressive"]
    (mirex / "clusters.txt").write_text("Cluster 1\n")
    with pytest.raises(RequestError, match="2 songs in Audio, but 1 lines"):
        understanding_data.read("mirex", mirex)

    caps = tmp_path / "caps"
    beep(caps / "-0Gj8-vB1q4.wav")
    beep(caps / "abc-30-40.wav")
    (caps / "musiccaps-public.csv").write_text('ytid,caption\n-0Gj8-vB1q4,"low, sad"\nabc,loud\nxyz,gone\n')
    found = understanding_data.read("musiccaps", caps)
    assert [(i.audio.stem, i.captions) for i in found] == [
        ("-0Gj8-vB1q4", ("low, sad",)),
        ("abc-30-40", ("loud",)),
    ]


def test_wrong_data_sets_are_named(tmp_path: Path):
    for kind, message in (("folders", "no songs"), ("fma", "can't be read"), ("piano", "one of folders")):
        with pytest.raises(RequestError, match=message):
            understanding_data.read(kind, tmp_path)
    (tmp_path / "tracks.csv").write_text("a,b\nc,d\ne,f\n")
    with pytest.raises(RequestError, match="has no column"):
        understanding_data.read("fma", tmp_path)


FMA_HEADS = ",set,set,track\n,split,subset,genre_top\ntrack_id,,,\n"


@pytest.mark.parametrize(
    ("kind", "file", "data", "message"),
    [
        ("fma", "tracks.csv", b"", r"lacks its three lines of heads"),
        ("fma", "tracks.csv", FMA_HEADS[:-13].encode(), "lacks its three lines of heads"),
        ("fma", "tracks.csv", FMA_HEADS.encode() + b"two,test,small,Rock\n", "line 4: .* first 'two'"),
        ("fma", "tracks.csv", FMA_HEADS.encode() + b"2,test\n", "line 4: .* got 2 cells"),
        ("fma", "tracks.csv", FMA_HEADS.encode() + b"2,test,small," + b"x" * 200_000, "line 4: .* larger"),
        ("gtzan", "list.txt", b"jazz/a.wav\n\nb.wav\n", r"list\.txt, line 3: .* got 'b\.wav'"),
        ("gtzan", "list.txt", b"jazz/a.wav\njazz/b.wav\n", r"list\.txt, line 2: .* lacks jazz/b\.wav"),
        ("gtzan", "list.txt", "jazz/a.wav\n爵士/b.wav\n".encode("gbk"), r"line 2: this isn't UTF-8"),
        ("mirex", "clusters.txt", b"Cluster 7\n", r"clusters\.txt, line 1: a cluster is 1 to 5, but 1\.wav"),
        ("musiccaps", "musiccaps-public.csv", b"", "columns ytid and caption"),
        ("musiccaps", "musiccaps-public.csv", b"ytid,caption\na\n", "line 2: 2 cells .* got 1"),
    ],
)
def test_a_damaged_list_is_named(tmp_path: Path, kind: str, file: str, data: bytes, message: str):
    for name in ("jazz/a.wav", "Audio/1.wav"):
        beep(tmp_path / name)
    (tmp_path / file).write_bytes(data)
    with pytest.raises(RequestError, match=message) as raised:
        understanding_data.read(kind, tmp_path, tmp_path / file)
    assert file in str(raised.value)


# ---- runs ----------------------------------------------------------------------------------


class Scripted:
    """Tells low from high, and says so in its own way; counts its answers."""

    name = "scripted"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def answer(self, audio: Audio, question: str) -> str:
        self.asked.append(question)
        spectrum = np.abs(np.fft.rfft(audio.samples[0]))
        low = spectrum.argmax() * audio.sample_rate / audio.samples.shape[1] < 500
        return "A low one, so it's blues." if low else "pop"


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    for number in range(6):
        beep(tmp_path / f"songs/blues/{number}.wav", 200 + number)
        beep(tmp_path / f"songs/pop/{number}.wav", 900 + number)
    return tmp_path


def test_a_scripted_model_is_scored_and_not_asked_again(labelled: Path):
    settings = Settings("", "folders", str(labelled / "songs"), str(labelled / "out"), count=10)
    model = Scripted()
    found = evaluate(model, settings)
    assert found["lenient"]["value"] == 1.0 and found["songs"] == 10
    blues = sum(
        "blues" in row for row in (labelled / "out/answers.jsonl").read_text().splitlines() if "A low" in row
    )
    assert found["strict"]["value"] == pytest.approx(1 - blues / 10)
    assert model.asked[0] == "What is the genre of this music? Answer with exactly one of: blues, pop."
    again = Scripted()
    assert evaluate(again, settings)["lenient"] == found["lenient"] and not again.asked
    assert json.loads((labelled / "out/scores.json").read_text())["model"] == "scripted"
    with pytest.raises(RequestError, match="has labels"):
        evaluate(again, Settings("", "folders", str(labelled / "songs"), str(labelled), task="caption"))


def test_the_task_is_the_data_sets(tmp_path: Path):
    for number in (1, 2):
        beep(tmp_path / f"Audio/00{number}.wav")
    (tmp_path / "clusters.txt").write_text("Cluster 1\nCluster 3\n")
    model, settings = Scripted(), Settings("", "mirex", str(tmp_path), str(tmp_path / "out"))
    assert evaluate(model, settings)["task"] == "mood"
    assert model.asked[0].startswith("What is the mood of this music? ") and "literate" in model.asked[0]
    with pytest.raises(RequestError, match="mirex has labels: its task is mood, but got genre"):
        evaluate(model, replace(settings, task="genre"))
    assert set(TASKS) == set(understanding_data.KINDS)


def test_a_wrong_data_set_is_told_before_the_model_is_loaded(
    labelled: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(understanding, "Qwen2Audio", lambda _: pytest.fail("the model is loaded"))
    for kind, more, message in (
        ("waltzes", [], "a data set is one of folders"),
        ("folders", ["--task", "caption"], "its task is genre or mood"),
        ("folders", ["--count", "0"], "count is 1 or more, but got 0"),
    ):
        command = ["understanding", "--model", "m", "--kind", kind, "--songs", str(labelled / "songs")]
        monkeypatch.setattr("sys.argv", [*command, "--out", str(labelled), *more])
        with pytest.raises(SystemExit) as ended:
            run_command(understanding.main)
        assert ended.value.code == 2 and message in capsys.readouterr().err


def test_a_killed_run_goes_on_after_its_last_whole_line(labelled: Path, caplog: pytest.LogCaptureFixture):
    items = [Item(labelled / f"songs/pop/{n}.wav", "pop") for n in range(3)]
    kept = labelled / "answers.jsonl"
    ask(Scripted(), items, "?", kept)
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-20])
    again = Scripted()
    assert [a.said for a in ask(again, items, "?", kept)] == ["pop"] * 3
    assert len(again.asked) == 1 and "half a line" in caplog.text and kept.read_bytes() == whole
    kept.write_bytes(whole[:-1])  # only the end of the line is missing
    last = Scripted()
    ask(last, items, "?", kept)
    assert not last.asked and kept.read_bytes() == whole
    kept.write_bytes(b'{"model": 3}\n' + whole)
    with pytest.raises(RequestError, match=r"answers\.jsonl, line 1: this is no answer"):
        ask(Scripted(), items, "?", kept)


def test_songs_that_cannot_be_heard(labelled: Path):
    broken = labelled / "songs/pop/0.wav"
    broken.write_bytes(b"no audio")
    items = [Item(broken, "pop"), Item(labelled / "songs/pop/1.wav", "pop")]
    with pytest.raises(AudioError, match=r"1 of 2 songs can't be heard"):
        ask(Scripted(), items, "?", labelled / "answers.jsonl")
    assert len(ask(Scripted(), items, "?", labelled / "answers.jsonl", allow_missing=True)) == 1


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Qwen2-Audio of a few thousand weights with a tokenizer of characters."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import (
        PreTrainedTokenizerFast,
        Qwen2AudioConfig,
        Qwen2AudioForConditionalGeneration,
        Qwen2AudioProcessor,
        WhisperFeatureExtractor,
    )

    folder = tmp_path_factory.mktemp("qwen")
    marks = ["<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>", "<|im_start|>", "<|im_end|>", "<pad>", "<unk>"]
    words = marks + [chr(c) for c in range(32, 127)] + ["\n"]
    backend = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    backend.decoder = decoders.Fuse()
    backend.add_special_tokens(marks)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", unk_token="<unk>")
    template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for c in m.content %}{% if c.type == 'audio' %}"
        "<|audio_bos|><|AUDIO|><|audio_eos|>{% else %}{{ c.text }}{% endif %}"
        "{% endfor %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    extractor = WhisperFeatureExtractor(feature_size=16)
    Qwen2AudioProcessor(extractor, tokenizer, chat_template=template).save_pretrained(folder)
    config = Qwen2AudioConfig(
        audio_config={
            "d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 16,
            "num_mel_bins": 16,
        },
        text_config={
            "model_type": "qwen2", "vocab_size": len(words), "hidden_size": 16, "intermediate_size": 16,
            "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2, "eos_token_id": 4,
        },
        audio_token_index=0,
    )  # fmt: skip
    Qwen2AudioForConditionalGeneration(config).save_pretrained(folder)
    return folder


def test_a_tiny_qwen2_audio_answers(qwen: Path, labelled: Path):
    model = Qwen2Audio(str(qwen), tokens=6, device="cpu")
    song = Audio(np.random.default_rng(0).uniform(-0.5, 0.5, (2, 40 * 8000)).astype(np.float32), 8000)
    said = model.answer(song, "Which genre?")
    assert isinstance(said, str) and len(said) <= 6 and said == model.answer(song, "Which genre?")
    middle = Audio(song.samples[:, 5 * 8000 : 35 * 8000], 8000)
    assert model.answer(middle, "Which genre?") == said  # 30 s from the middle
    found = evaluate(model, Settings("", "folders", str(labelled / "songs"), str(labelled / "out"), count=2))
    assert found["songs"] == 2 and len(found["unparsed"]) <= 2


def test_an_absent_model_is_asked_for(tmp_path: Path):
    with pytest.raises(CheckpointError, match="give the folder of its weights"):
        Qwen2Audio(str(tmp_path / "nothing"), device="cpu")


# ---- measures ------------------------------------------------------------------------------

RATE = 22050


def music(chords: list[tuple[int, ...]], tempo: float, accents: int, seconds: float = 16) -> Audio:
    """Chords that change every bar, and clicks on beats with the first of a bar loud."""
    beat = 60 / tempo
    out = np.zeros(round(seconds * RATE))
    time = np.arange(round(beat * RATE)) / RATE
    for number in range(int(seconds / beat)):
        start = round(number * beat * RATE)
        room = len(out) - start
        notes = chords[number // accents % len(chords)]
        tone = sum(np.sin(2 * np.pi * 440 * 2 ** ((60 + n - 69) / 12) * time) for n in notes) * 0.05
        loud = 1.0 if number % accents == 0 else 0.15
        click = loud * np.random.default_rng(number).standard_normal(len(time)) * np.exp(-time * 80)
        out[start : start + len(time)] += (tone * np.exp(-time) + click)[:room]
    return Audio((0.5 * out / np.abs(out).max())[None].astype(np.float32), RATE)


def test_measures_of_music_that_is_known():
    four = measures.measure(music([(0, 4, 7), (5, 9, 12), (7, 11, 14), (0, 4, 7)], 120, 4))
    three = measures.measure(music([(0, 4, 7)], 120, 3))
    assert four.tempo == pytest.approx(120, rel=0.04)
    assert (four.meter, three.meter) == (4, 3)
    assert four.key == "C major"
    assert four.harmony > three.harmony + 0.5 and four.changes > 10 > three.changes
    assert four.chroma > three.chroma


@pytest.mark.parametrize("noise", [0.0, 3e-5])
def test_silence_has_no_tempo_and_no_key(tmp_path: Path, noise: float, capsys: pytest.CaptureFixture[str]):
    samples = noise * np.random.default_rng(0).uniform(-1, 1, (1, 5 * RATE))
    write_audio(tmp_path / "silence.wav", Audio(samples.astype(np.float32), RATE))
    assert measures.main([str(tmp_path / "silence.wav")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["tempo"], found["meter"], found["key"]) == (None, None, None)
    assert (found["rhythm"], found["harmony"], found["changes"], found["chroma"]) == (0, 0, 0, 0)


def test_entropies():
    assert measures.entropy(np.zeros(4)) == 0.0 and measures.entropy(np.array([3, 0])) == 0.0
    assert measures.entropy(np.ones(8)) == pytest.approx(3)
    strength = measures.Frames(np.zeros(400), 100.0)
    strength.values[::50] = 1
    assert measures.rhythm(strength, 120) == 0.0
    uneven = measures.Frames(np.zeros(400), 100.0)
    uneven.values[np.cumsum([20, 50, 25, 75, 50, 13, 87])] = 1
    assert measures.rhythm(uneven, 120) > 1.5


def test_the_measures_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = beep(tmp_path / "a.wav", 440)
    assert measures.main([str(path)]) == 0
    assert json.loads(capsys.readouterr().out)["key"].startswith("A ")
    assert measures.main(["none.wav", str(path)]) == 2
    printed = capsys.readouterr()
    assert "error: there is no audio file" in printed.err and json.loads(printed.out)["file"] == str(path)
    assert measures.main([]) == 2
