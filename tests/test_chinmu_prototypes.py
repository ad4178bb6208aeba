"""Labels as targets, and what keeps a new model's vectors apart."""

import math

import numpy as np
import pytest
import torch

from chinmu.audio import Standard
from chinmu.losses import spread
from chinmu.prototypes import Prototypes, Vocabulary, of_song, of_text
from corpus.record import SongRecord


def record(number: int, **labels) -> SongRecord:
    return SongRecord(f"song-{number}", "test", "CC0-1.0", "train", 2.0, **labels)


RECORDS = [
    record(0, genre="流行", singer="female", tempo=70.0, key="C major", instruments=("钢琴", "贝斯")),
    record(1, genre="摇滚", singer="male", tempo=130.0, key="A minor", instruments=("电吉他", "贝斯")),
    record(2, genre="流行", singer="none"),
]


def test_labels_of_songs_and_of_what_texts_name():
    song = of_song(RECORDS[1])
    assert {kind: tuple(values) for kind, values in song.items() if kind != "tempo"} == {
        "genre": ("摇滚",),
        "singer": ("male",),
        "tempo_class": ("fast",),
        "mode": ("minor",),
        "tonic": ("A",),
        "instruments": ("电吉他", "贝斯"),
    }
    assert of_song(RECORDS[2]) == {"genre": {"流行": 1.0}, "singer": {"none": 1.0}}
    named = of_text("一首慢的流行歌，女声，钢琴")
    assert tuple(named["genre"]) == ("流行",) and tuple(named["singer"]) == ("female",)
    assert tuple(named["tempo_class"]) == ("slow",) and tuple(named["instruments"]) == ("钢琴",)
    assert of_text("下班路上") == {}


def test_tempi_share_a_value_with_their_neighbours_alone():
    def tempo(bpm: float) -> dict[str, float]:
        return dict(of_song(record(0, tempo=bpm))["tempo"])

    assert tempo(40.0) == {"000": 1.0}
    for bpm in (33.0, 61.0, 92.0, 93.0, 166.5):
        assert sum(tempo(bpm).values()) == pytest.approx(1.0) and len(tempo(bpm)) <= 2
    assert set(tempo(92.0)) & set(tempo(94.0)) and not set(tempo(92.0)) & set(tempo(98.0))
    assert tempo(92.0) == of_text("速度 92 BPM")["tempo"], "songs and texts are spoken of alike"
    assert of_text("降E大调")["tonic"] == of_song(record(0, key="Eb minor"))["tonic"] == {"Eb": 1.0}


def test_each_value_has_a_column_and_kinds_of_one_value_teach_nothing():
    vocabulary = Vocabulary(RECORDS)
    assert len(vocabulary) == 2 + 3 + 2 + 2 + 3 + 2 + 4  # the last: tonics, and values of two tempi
    row = np.array(vocabulary.row(of_song(RECORDS[0])))
    assert row.sum() == pytest.approx(8) and row.max() == 1 and row.min() == 0
    assert sum(vocabulary.row({"genre": {"爵士": 1.0}})) == 0
    alike = Vocabulary([record(0, genre="流行", singer="male"), record(1, genre="流行", singer="female")])
    assert len(alike.slices) == 1


def test_the_loss_is_the_mean_cross_entropy_of_the_kinds_that_are_known():
    vocabulary = Vocabulary(RECORDS)
    prototypes = Prototypes(vocabulary, dim=4, scale=3.0)
    vectors = torch.nn.functional.normalize(
        torch.randn(3, 4, generator=torch.Generator().manual_seed(0)), dim=1
    )
    targets = torch.tensor([vocabulary.row(of_song(r)) for r in RECORDS])
    places = torch.nn.functional.normalize(prototypes.vectors.detach(), dim=1)
    logits = 3.0 * vectors @ places.T
    expected = []
    for part in vocabulary.slices:
        terms, total = 0.0, 0.0
        for row in range(3):
            chances = logits[row, part].softmax(0)
            for chance, share in zip(chances.tolist(), targets[row, part].tolist()):
                terms, total = terms - share * math.log(chance), total + share
        expected.append(terms / total)
    assert float(prototypes(vectors, targets).detach()) == pytest.approx(np.mean(expected), rel=1e-5)
    nothing = prototypes(vectors, torch.zeros(3, len(vocabulary)))
    assert float(nothing.detach()) == 0.0
    assert float(Prototypes(Vocabulary([]), 4)(vectors, torch.zeros(3, 0)).detach()) == 0.0


def test_the_spread_is_missed_by_vectors_that_are_alike():
    generator = torch.Generator().manual_seed(0)
    apart = torch.nn.functional.normalize(torch.randn(512, 64, generator=generator), dim=1)
    assert float(spread(apart)) < 0.001
    alike = torch.nn.functional.normalize(
        torch.ones(512, 64) + 0.01 * torch.randn(512, 64, generator=generator), dim=1
    )
    assert float(spread(alike)) > 0.6
    alike.requires_grad_()
    spread(alike).backward()
    assert torch.isfinite(alike.grad).all() and alike.grad.abs().sum() > 0


def test_standardising_is_measured_once_and_then_fixed():
    layer = Standard(3)
    batch = (
        torch.randn(200, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([2.0, 0.5, 1.0]) + 5
    )
    assert torch.equal(layer(batch), batch)
    layer.measuring = True
    layer(batch)
    layer.measuring = False
    out = layer(batch)
    torch.testing.assert_close(out.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.std(0), torch.ones(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(layer(batch[:1]), out[:1])


def test_prototypes_begin_where_texts_are():
    songs = [
        record(n, theme=theme, singer="male") for n, theme in enumerate(("月亮", "过年", "月亮", "海边"))
    ]
    vocabulary = Vocabulary(songs)
    torch.manual_seed(0)
    prototypes = Prototypes(vocabulary, 4)
    before = prototypes.vectors.detach().clone()
    rows = [vocabulary.row({"theme": {name: 1.0}}) for name in ("月亮", "月亮", "过年")]
    texts = torch.eye(4)[[0, 0, 1]]
    prototypes.place(texts, torch.tensor(rows))
    moon, year, sea = (vocabulary.columns["theme", name] for name in ("月亮", "过年", "海边"))
    placed = torch.nn.functional.normalize(prototypes.vectors.detach(), dim=-1)
    assert placed[moon].argmax() == 0 and placed[year].argmax() == 1
    assert float(placed[moon] @ placed[year]) == pytest.approx(-1.0), "what all texts share tells nothing"
    assert torch.equal(prototypes.vectors.detach()[sea], before[sea])
    assert float(prototypes.vectors.detach()[moon].norm()) == pytest.approx(float(before[moon].norm()))
