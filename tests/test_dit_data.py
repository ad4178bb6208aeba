"""Prepared songs and their batches."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from common.errors import ConfigError, ManifestError
from common.frames import render
from dit.conditions import ROLES, Conditions
from dit.data import Batches, Dropout, LatentSongs
from dit.store import StoredSong, read_songs
from tests.dit_songs import DIM, RATE, prepare, score


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("latents"), songs=7)


def same(a: Conditions, b: Conditions) -> bool:
    return all(
        torch.equal(torch.nan_to_num(x), torch.nan_to_num(y))
        for x, y in zip(vars(a).values(), vars(b).values())
    )


def test_a_stored_song_reads_back(folder: Path) -> None:
    for song in read_songs(folder):
        assert StoredSong.from_json(song.to_json()) == song
        assert song.parsed_score == score(
            int(song.id[-1]), 2 + int(song.id[-1]) % 2, int(song.id[-1]) % 3 != 2
        )


def test_a_batch_is_a_pure_function_of_its_step(folder: Path) -> None:
    one = Batches(LatentSongs(folder, 3.0), 3, seed=5, dropout=Dropout())
    other = Batches(LatentSongs(folder, 3.0), 3, seed=5, dropout=Dropout())
    for step in (4, 0, 9):
        other.batch(step + 1)
        a, b = one.batch(step), other.batch(step)
        assert torch.equal(a.latents, b.latents) and torch.equal(a.mask, b.mask)
        assert same(a.conditions, b.conditions)
    assert not torch.equal(
        one.batch(0).latents, Batches(LatentSongs(folder, 3.0), 3, seed=6).batch(0).latents
    )


def test_processes_share_an_epoch_without_overlap(folder: Path) -> None:
    parts = [Batches(LatentSongs(folder, 3.0), 1, 5, process=p, processes=2) for p in (0, 1)]
    seen = [part._songs_of(step * 2 + part.process)[0] for step in range(3) for part in parts]
    assert len(set(seen)) == 6


def test_every_song_comes_once_an_epoch(folder: Path) -> None:
    batches = Batches(LatentSongs(folder, 3.0), 1, 5)
    for epoch in (0, 1):
        assert sorted(i for n in range(7) for i in batches._songs_of(epoch * 7 + n)) == list(range(7))


def test_a_stretch_has_its_own_frames_of_everything(folder: Path) -> None:
    songs = LatentSongs(folder, 2.0)
    song = songs.songs[1]
    latents, conditions = songs.item(1, 30, 40, np.random.default_rng(0))
    assert song.parsed_score is not None
    full = render(song.parsed_score, RATE, song.frames)
    assert latents.shape == (40, DIM)
    assert torch.allclose(conditions.channels[0], torch.from_numpy(full.channels[30:70]), atol=1e-3)
    assert conditions.initial[0].tolist() == full.initial[30:70].tolist()
    assert conditions.timing[0].tolist() == pytest.approx([1.5, song.duration])
    assert song.tokens is not None
    assert tuple(conditions.lyrics[0].tolist()) == song.tokens.window(1.5, 3.5)


def test_short_songs_come_whole_and_padded(folder: Path) -> None:
    songs = LatentSongs(folder, 100.0)
    batch = Batches(songs, 4, 1).batch(0)
    assert batch.latents.shape[1] == max(int(n) for n in batch.mask.sum(1))
    assert not batch.latents[~batch.mask].any()


def test_windows_include_starts_and_ends(folder: Path) -> None:
    songs = LatentSongs(folder, 2.0)
    rng = np.random.default_rng(0)
    starts = [songs.stretch(0, rng)[0] for _ in range(200)]
    last = songs.songs[0].frames - songs.frames
    assert starts.count(0) > 30 and starts.count(last) > 8
    assert all(0 <= s <= last for s in starts)


def test_dropout_has_its_chances(folder: Path) -> None:
    batch = Batches(LatentSongs(folder, 2.0), 7, 1).batch(0)
    many = Conditions.batch([batch.conditions] * 300)
    dropped = Dropout(0.1, 0.0, 0.0, 0.5, 0.25, 0.0).apply(many, np.random.default_rng(0))
    assert 1 - float(dropped.fragment_mask.any(1).float().mean()) == pytest.approx(0.1, abs=0.03)
    assert 1 - float(dropped.has_score.float().mean()) == pytest.approx(0.25, abs=0.04)
    assert torch.equal(dropped.audience, many.audience)
    named = replace(many, arrangement=torch.full((many.size, len(ROLES)), 2))
    told = Dropout(0, 0, 0, 0, 0, 0, 0.2, 0.25).apply(named, np.random.default_rng(0)).arrangement
    assert 1 - float(told.any(1).float().mean()) == pytest.approx(0.2, abs=0.03)
    assert 1 - float(told[told.any(1)].bool().float().mean()) == pytest.approx(0.25, abs=0.03)
    everything = Dropout(0, 0, 0, 0, 0, 1.0).apply(many, np.random.default_rng(0))
    assert not everything.has_score.any() and not everything.lyrics.any() and everything.timing.isnan().all()


def test_songs_name_their_players_as_the_model_counts_them(folder: Path) -> None:
    known = {"singer": ["male", "female"], "lead": ["长笛"]}
    songs = LatentSongs(folder, 2.0, known)
    songs.songs[1] = replace(
        songs.songs[1], arrangement={"singer": "female", "lead": "小号", "genre": "摇滚"}
    )
    rng = np.random.default_rng(0)
    told = [songs.item(number, 0, 8, rng)[1].arrangement.tolist() for number in (0, 1)]
    assert told == [[[0] * len(ROLES)], [[0, 2, 0, 0, 0, 0, 0, 0]]]
    assert not LatentSongs(folder, 2.0).item(1, 0, 8, rng)[1].arrangement.any()


def test_a_chance_above_one_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"dropout\.score is 1\.5"):
        replace(Dropout(), score=1.5)


def test_a_folder_that_is_not_prepared_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"dit\.prepare"):
        LatentSongs(tmp_path, 2.0)
