"""Words' vectors as a teacher of the text tower, and a trained tower that goes on where it stands."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from test_chinmu_train import MODEL, config, corpus  # noqa: F401

from chinmu import train
from chinmu.meaning import Meanings, WordVectors, read
from chinmu.model import ChinMu, build
from chinmu.text import character_tokenizer
from common.errors import CheckpointError, ConfigError
from common.seeds import generator

WORDS = ["的", "忧伤", "hello", "悲伤", "欢快", "一个很长很长的词", "歡快", "快乐"]


def vectors_of(count: int, width: int = 3) -> np.ndarray:
    return generator(0, "vectors").normal(size=(count, width)).astype(np.float32) + 2


def write(path: Path, words: list[str], vectors: np.ndarray, binary: bool) -> Path:
    """A file of word2vec's format, written by hand."""
    head = f"{len(words)} {vectors.shape[1]}\n".encode()
    rows = [
        f"{word} ".encode() + (row.tobytes() if binary else " ".join(map(str, row)).encode()) + b"\n"
        for word, row in zip(words, vectors)
    ]
    data = head + b"".join(rows)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


# ---- files ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["words.bin", "words.txt", "words.gz"])
def test_files_of_word_vectors_are_read(tmp_path: Path, name: str):
    vectors = vectors_of(len(WORDS))
    found = read(write(tmp_path / name, WORDS, vectors, name != "words.txt"), 100)
    assert found.words == ["的", "忧伤", "悲伤", "欢快", "快乐"], (
        "Chinese, short, each once in its canonical form"
    )
    kept = vectors[[0, 1, 3, 4, 7]]
    kept /= np.linalg.norm(kept, axis=1, keepdims=True)
    kept -= kept.mean(0)
    expected = kept / np.linalg.norm(kept, axis=1, keepdims=True)
    np.testing.assert_allclose(found.vectors, expected, atol=1e-5)
    assert read(tmp_path / name, 2).words == ["的", "忧伤"], "the most frequent come first"


def test_what_is_no_file_of_word_vectors_is_refused(tmp_path: Path):
    with pytest.raises(CheckpointError, match=r"there is no file of word vectors .*none\.bin"):
        read(tmp_path / "none.bin", 10)
    (tmp_path / "junk.bin").write_bytes(b"\x00\x01 this is nothing\n" * 20)
    with pytest.raises(CheckpointError, match="isn't a file of word vectors"):
        read(tmp_path / "junk.bin", 10)
    with pytest.raises(CheckpointError, match="no Chinese word"):
        read(write(tmp_path / "latin.bin", ["blue", "red"], vectors_of(2), True), 10)
    with pytest.raises(CheckpointError, match="no Chinese word"):
        read(write(tmp_path / "nan.bin", ["红", "蓝"], np.full((2, 3), np.nan, np.float32), True), 10)


# ---- learning ------------------------------------------------------------------------------


def test_the_loss_is_one_less_the_cosine():
    known = WordVectors(["忧伤", "欢快"], np.eye(3, dtype=np.float32)[:2])
    meanings = Meanings(known, 3)
    with torch.no_grad():
        meanings.head.weight.copy_(torch.eye(3))
        meanings.head.bias.zero_()
    states = torch.tensor([[2.0, 0, 0], [0, -1.0, 0], [1.0, 1.0, 0]])
    found = float(meanings(states, torch.tensor([0, 1, 0])).detach())
    assert found == pytest.approx((0 + 2 + 1 - 0.5**0.5) / 3, rel=1e-5)
    words, rows = meanings.drawn(5, 1, "a")
    assert sorted(words) == ["忧伤", "欢快"] and [known.words[row] for row in rows] == list(words)
    assert meanings.drawn(1, 1, 7)[0] == meanings.drawn(1, 1, 7)[0]


def test_a_model_that_knows_more_characters_says_the_same_until_it_learns(tmp_path: Path):
    torch.manual_seed(0)
    model = build(MODEL, character_tokenizer(["安静的钢琴"], longest=64)).eval()
    texts = ["安静的钢琴", "忧郁的钢琴", "憂鬱"]
    before = model.embed_text(texts)
    grown = model.knowing("忧郁 安忧").eval()
    torch.testing.assert_close(grown.embed_text(texts), before)
    own, new = model.tokenizer.get_vocab(), grown.tokenizer.get_vocab()
    assert {token: new[token] for token in own} == own and set(new) - set(own) == {"忧", "郁"}
    grown.save_pretrained(tmp_path)
    again = ChinMu.from_pretrained(tmp_path)
    torch.testing.assert_close(again.embed_text(texts), before)
    ids, _ = again.tokenize(["忧郁"])
    assert again.tokenizer.unk_token_id not in ids
    assert model.knowing("安").tokenizer.get_vocab() == own


def losses(folder: Path, name: str) -> list[float]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [row[name] for row in rows if name in row]


@pytest.fixture
def words(tmp_path: Path) -> str:
    """Six words of two kinds, told by their first character."""
    named = ["静夜", "静坐", "静水", "响亮", "响声", "响动"]
    vectors = np.array([[1, 0.1 * k, 0] if k < 3 else [0, 0.1 * k, 1] for k in range(6)], dtype=np.float32)
    return str(write(tmp_path / "words.bin", named, vectors, True))


def test_training_learns_what_words_mean_and_goes_on_after_a_stop(corpus, tmp_path: Path, words: str):  # noqa: F811
    settings = {"words": words, "words_weight": 5.0, "log_steps": 1}
    folder = train.train(config(corpus, tmp_path / "run", max_steps=20, **settings))
    train.train(config(corpus, tmp_path / "run", max_steps=30, **settings))
    found = losses(tmp_path / "run", "loss/words")
    assert len(found) == 30 and found[-1] < 0.7 * found[0]
    model = ChinMu.from_pretrained(folder)
    assert set("静夜坐水响亮声动") <= set(model.tokenizer.get_vocab())
    assert not [name for name in model.state_dict() if "meaning" in name or "head" in name]


def test_a_missing_file_of_words_is_told_before_songs_are_read(corpus, tmp_path: Path):  # noqa: F811
    with pytest.raises(CheckpointError, match="no file of word vectors"):
        train.train(config(corpus, tmp_path / "run", words=str(tmp_path / "none.bin"), max_steps=1))
    assert not (tmp_path / "run").exists()


def test_cached_gradients_learn_words_too(corpus, tmp_path: Path, words: str):  # noqa: F811
    settings = {"words": words, "log_steps": 1, "max_steps": 2}
    train.train(config(corpus, tmp_path / "whole", **settings))
    train.train(config(corpus, tmp_path / "parts", chunk=2, **settings))
    assert losses(tmp_path / "parts", "loss/words")[0] == pytest.approx(
        losses(tmp_path / "whole", "loss/words")[0]
    )


def test_text_vectors_that_others_rely_on_are_kept(corpus, tmp_path: Path):  # noqa: F811
    first = train.train(config(corpus, tmp_path / "first", max_steps=4))
    texts = ["低音区", "听着平稳", "高"]
    before = ChinMu.from_pretrained(first).embed_text(texts)
    nearness = []
    for weight in (0.0, 100.0):
        out = tmp_path / f"kept-{weight:g}"
        folder = train.train(
            config(corpus, out, init=str(first), keep_weight=weight, max_steps=12, log_steps=1, lr=3e-3)
        )
        nearness.append(float((ChinMu.from_pretrained(folder).embed_text(texts) * before).sum(1).mean()))
        assert len(losses(out, "loss/kept")) == (12 if weight else 0)
    assert nearness[0] < 0.5 < 0.8 < nearness[1]


def test_contradictions_are_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="name init"):
        train.TrainConfig(manifest="a", out="b", keep_weight=1.0)
    with pytest.raises(ConfigError, match="the text tower, which isn't among the parts"):
        train.TrainConfig(manifest="a", out="b", words="w.bin", only=("audio_tower",))
