"""From a manifest to what training reads."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from common.audio import Audio, write_audio
from common.description import Audience, Description, fragments
from common.errors import ConfigError, ManifestError
from common.seeds import generator
from corpus import manifest, synth
from corpus.attributes import attributes
from corpus.record import SongRecord
from dit.data import Batches, LatentSongs
from dit.lyrics import encode
from dit.prepare import PrepareConfig, prepare, prompts
from dit.store import LatentFacts, fragments_path, read_songs, songs_path
from tests.dit_songs import score
from vae.spectral import SpectralVAE

SAID = ("慢歌", "下雨天听的歌", "听起来很想家，让人想哭")


class Embedder:
    """Stands for ChinMu: a vector for each text, by its characters alone."""

    @classmethod
    def from_pretrained(cls, folder: str) -> "Embedder":
        assert folder == "chinmu-folder"
        return cls()

    def to(self, device: str) -> "Embedder":
        return self

    def eval(self) -> "Embedder":
        return self

    def embed_fragments(self, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        rows = [fragments(text) for text in texts]
        longest = max(map(len, rows), default=0)
        vectors = torch.zeros(len(rows), longest, 512)
        for row, pieces in zip(vectors, rows):
            for place, piece in enumerate(pieces):
                values = generator(0, piece).standard_normal(512)
                row[place] = torch.from_numpy(values / np.linalg.norm(values))
        return vectors, vectors.any(-1)


@pytest.fixture(autouse=True)
def embedder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chinmu.model.ChinMu", Embedder)


@pytest.fixture
def corpus(tmp_path: Path) -> PrepareConfig:
    """Three short songs and a tiny codec on disk."""
    records = []
    for number in range(3):
        own = score(number, bars=1)
        noise = generator(number, "audio").uniform(-0.3, 0.3, (2, int(own.duration * 44100)))
        write_audio(tmp_path / f"{number}.wav", Audio(noise.astype(np.float32), 44100))
        record = SongRecord(f"song-{number}", "test", "CC0-1.0", "train", own.duration, audio=f"{number}.wav")
        said = tuple(Description(text, Audience.AMATEUR, "情绪", "phrase") for text in SAID)
        records.append(replace(record, score=own, lyrics=own.lyrics(), descriptions=said))
    records[2] = replace(records[2], score=None)
    manifest.write(tmp_path / "manifest.jsonl", records)
    torch.manual_seed(0)
    SpectralVAE(latent_dim=8, width=16, depth=1).save_pretrained(str(tmp_path / "vae"))
    return PrepareConfig(
        manifest=str(tmp_path / "manifest.jsonl"),
        vae=str(tmp_path / "vae"),
        out=str(tmp_path / "latents"),
        prompts=2,
        shard=2,
    )


def test_prepared_songs_become_batches(corpus: PrepareConfig) -> None:
    prepare(replace(corpus, chinmu="chinmu-folder"))
    songs = LatentSongs(corpus.out, 2.0)
    assert (songs.facts.latent_dim, songs.facts.vae) == (8, "SpectralVAE")
    assert songs.facts.frame_rate == pytest.approx(44100 / 1024)
    for song in songs.songs:
        assert song.frames == -(-int(song.duration * 44100) // 1024)
        assert song.prompts.keys() == {"amateur"} and len(song.prompts["amateur"]) == 2
    assert songs.songs[0].tokens is not None and songs.songs[0].tokens.times is not None
    last = songs.songs[2]
    assert last.score is None and last.tokens is not None and last.tokens.times is None
    assert list(last.tokens.ids) == encode(score(2, bars=1).lyrics())
    batch = Batches(songs, 3, 0).batch(0)
    assert batch.latents.isfinite().all() and bool(batch.conditions.fragment_mask.any(1).all())
    norms = batch.conditions.fragments.norm(dim=-1)[batch.conditions.fragment_mask]
    assert torch.allclose(norms, torch.ones_like(norms), atol=1e-2)


def test_stopped_preparation_goes_on_and_ends_the_same(corpus: PrepareConfig, tmp_path: Path) -> None:
    prepare(corpus)
    before = songs_path(Path(corpus.out), 0).stat().st_mtime_ns
    songs_path(Path(corpus.out), 1).unlink()
    prepare(replace(corpus, chinmu="chinmu-folder"))
    assert songs_path(Path(corpus.out), 0).stat().st_mtime_ns == before, "a whole shard is left alone"
    other = replace(corpus, out=str(tmp_path / "again"), chinmu="chinmu-folder")
    for part in (1, 0):
        prepare(replace(other, part=part, parts=2))
    for path in sorted(Path(corpus.out).iterdir()):
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()
    assert fragments_path(Path(corpus.out), 1).is_file()


def test_songs_of_several_manifests_are_one_data_set(corpus: PrepareConfig, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    records = manifest.read(Path(corpus.manifest))[:2]
    for record in records:
        (other / str(record.audio)).write_bytes((tmp_path / str(record.audio)).read_bytes())
    manifest.write(other / "manifest.jsonl", [replace(r, id=f"more-{r.id}") for r in records])
    prepare(replace(corpus, also=(str(other / "manifest.jsonl"),)))
    ids = [song.id for song in LatentSongs(corpus.out, 2.0).songs]
    assert ids == ["song-0", "song-1", "song-2", "more-song-0", "more-song-1"]
    with pytest.raises(ManifestError, match="song song-0 is in two"):
        prepare(replace(corpus, also=(corpus.manifest,), out=str(tmp_path / "double")))


def test_of_some_manifests_only_the_instrumentals_count(corpus: PrepareConfig, tmp_path: Path) -> None:
    records = manifest.read(Path(corpus.manifest))[:2]
    singers = [replace(r, id=f"more-{r.id}", singer=who) for r, who in zip(records, ("none", "female"))]
    manifest.write(tmp_path / "more.jsonl", singers)
    prepare(replace(corpus, played=(str(tmp_path / "more.jsonl"),)))
    ids = [song.id for song in LatentSongs(corpus.out, 2.0).songs]
    assert ids == ["song-0", "song-1", "song-2", "more-song-0"]


def test_another_corpus_in_the_folder_is_an_error(corpus: PrepareConfig) -> None:
    prepare(corpus)
    records = manifest.read(Path(corpus.manifest))
    manifest.write(corpus.manifest, [replace(r, id=f"other-{r.id}") for r in records])
    with pytest.raises(ManifestError, match="other songs"):
        prepare(corpus)


def test_songs_that_cannot_be_read_are_skipped_and_named(
    corpus: PrepareConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "0.wav").write_bytes(b"RIFF damaged")
    records = manifest.read(Path(corpus.manifest))
    manifest.write(corpus.manifest, [*records[:2], replace(records[2], audio=None)])
    prepare(replace(corpus, chinmu="chinmu-folder"))
    assert "skipped song-0: " in caplog.text and "0.wav can't be read" in caplog.text
    assert "skipped song-2: " in caplog.text and "2 of 3 songs skipped: song-0, song-2" in caplog.text
    (song,) = LatentSongs(corpus.out, 2.0).songs
    assert (song.id, song.shard) == ("song-1", 0), "a shard may be left without a song"
    before = songs_path(Path(corpus.out), 0).stat().st_mtime_ns
    prepare(corpus)
    assert songs_path(Path(corpus.out), 0).stat().st_mtime_ns == before, "skipped songs are the same corpus"
    manifest.write(corpus.manifest, records[1:])
    with pytest.raises(ManifestError, match="other songs"):
        prepare(corpus)


def test_when_no_song_is_left_it_is_refused(corpus: PrepareConfig, tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.wav").unlink()
    with pytest.raises(ManifestError, match=r"no song could be prepared, the last because .*2\.wav"):
        prepare(corpus)
    assert not (tmp_path / "latents/latents.json").exists()
    (tmp_path / "none.jsonl").write_text("")
    with pytest.raises(ManifestError, match="the manifests name none"):
        prepare(replace(corpus, manifest=str(tmp_path / "none.jsonl"), out=str(tmp_path / "none")))


def test_unfinished_parts_are_not_a_data_set(corpus: PrepareConfig) -> None:
    prepare(replace(corpus, part=0, parts=2))
    assert len(read_songs(Path(corpus.out))) == 2
    with pytest.raises(ManifestError, match=r"latents\.json"):
        LatentFacts.read(Path(corpus.out))


def test_prompts_are_of_one_audience_and_end() -> None:
    said = tuple(Description("很长的一句话" * 12, a, "情绪", "sentence") for a in Audience for _ in range(9))
    record = SongRecord("a", "test", "CC0-1.0", "train", 3.0, descriptions=said)
    texts = prompts(record, Audience.AMATEUR, 5, seed=1)
    assert len(texts) == 5 and all(len(text) <= 160 for text in texts)
    assert prompts(record, Audience.AMATEUR, 5, seed=1) == texts
    assert prompts(replace(record, descriptions=()), Audience.AMATEUR, 5, seed=1) == []


def test_prompts_of_a_synthetic_song_name_its_own_instruments() -> None:
    """A plan draws its instruments after its duration: drawn between other limits they are others."""
    named, wrong = 0, []
    for seed in range(10):
        made = synth.sheet(seed, durations=(14.0, 16.0))
        record = synth._record(made, seed, "train", made.score.duration, ())
        instruments = record.instruments or ()
        for text in (text for audience in Audience for text in prompts(record, audience, 9, seed=1)):
            said = attributes(text).get("instruments", ())
            named += len(said)
            wrong += [(text, name) for name in said if name not in instruments]
    assert named > 200 and len(wrong) < 0.03 * named, wrong  # a few names mean two instruments


def test_a_third_of_the_prompts_says_the_song_in_short() -> None:
    said = (Description("听着像下雨", Audience.AMATEUR, "情绪", "phrase"),)
    record = SongRecord(
        "a", "test", "CC0-1.0", "train", 3.0, descriptions=said, genre="民谣", singer="male", tempo=70.0,
        instruments=("木吉他", "口琴"),
    )  # fmt: skip
    short = [text.removeprefix("听着像下雨") for text in prompts(record, Audience.AMATEUR, 30, seed=1)]
    assert [bool(text) for text in short] == [False, False, True] * 10
    for word in ("民谣", "男声", "慢歌", "木吉他", "口琴"):
        assert 3 <= sum(word in text for text in short) <= 10


def test_a_part_beyond_the_parts_is_refused(corpus: PrepareConfig) -> None:
    with pytest.raises(ConfigError, match="part 2 of 2"):
        replace(corpus, part=2, parts=2)
