"""Songs as torch data sets: an item depends on its index alone."""

from itertools import islice

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from common.audio import Audio
from common.errors import ConfigError
from corpus import data, synth
from corpus.data import Crops, Songs
from corpus.synth import sheet


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Noise in place of the synthesis; forked workers inherit it."""

    def song(seed, split="train", stems=False, **overrides):
        written = sheet(seed, split, genre="流行", singer="none", duration=6.0)
        rng = np.random.default_rng(seed)
        audio = Audio(rng.uniform(-0.1, 0.1, (2, 44100 + seed % 3000)).astype(np.float32), 44100)
        record = synth._record(written, seed, split, audio.duration, ())
        return synth.SyntheticSong(record, audio, {"drums": audio} if stems else {}, written)

    monkeypatch.setattr(data, "song", song)


def _loader(items, workers):
    context = "fork" if workers else None
    return DataLoader(items, batch_size=None, num_workers=workers, multiprocessing_context=context)


def _signature(item):
    return item.record.id, item.start, tuple(item.audio.shape), float(item.audio.sum())


def test_an_item_is_a_song():
    item = Songs(3, seed=2, stems=True)[1]
    assert item.audio.dtype == torch.float32 and item.audio.shape[0] == 2
    assert torch.equal(item.stems["drums"], item.audio) and item.record.seed == synth.song_seed(2, 1)
    with pytest.raises(IndexError):
        Songs(3)[3]
    with pytest.raises(ConfigError, match="at least one"):
        Songs(0)


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_give_the_same_songs(workers):
    songs = Songs(4, seed=5)
    assert [_signature(i) for i in _loader(songs, workers)] == [_signature(songs[i]) for i in range(4)]


def test_pieces_are_the_same_for_any_number_of_workers():
    pieces = Crops(Songs(3, seed=5), seconds=0.5)
    alone = [_signature(i) for i in islice(_loader(pieces, 0), 6)]
    shared = [_signature(i) for i in islice(_loader(pieces, 2), 6)]
    assert alone == shared
    assert alone[0] != alone[3]  # the second round cuts elsewhere
    assert all(shape == (2, 22050) for _, _, shape, _ in alone)


def test_a_piece_lies_where_it_says():
    songs = Songs(2, seed=7)
    piece = next(iter(Crops(songs, seconds=0.25)))
    start = round(piece.start * 44100)
    assert torch.equal(piece.audio, songs[0].audio[:, start : start + 11025])
    with pytest.raises(ConfigError, match="longer than 0"):
        Crops(songs, seconds=0)
