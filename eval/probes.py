"""Probes that judge songs: genre, singer, pace, mood, instruments and tempo, learned from corpus audio.

    python -m eval.probes train --manifest data/corpus/train/manifest.jsonl --out runs/probes \
        [--also '[data/corpus/more/manifest.jsonl]'] [--vae runs/vae/model]
    python -m eval.probes judge --probes runs/probes --audio song.flac

A small network reads a vector of each window (`eval.descriptors`). It is trained on clean and
disturbed windows, with `--vae` also on a codec's round trip, so that it judges decoded audio too.
A fifth of the songs is held out; the accuracies on it, clean and disturbed, are printed and kept in
`probes.json`: a judge's verdicts mean something only beside its own accuracy. The tempo is
estimated, not learned (`eval.tempo`).
"""

import itertools
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from common import config as configs
from common.audio import Audio, read_audio
from common.errors import CheckpointError, ManifestError, command
from common.seeds import derive_seed, generator
from common.statistics import Estimate, wilson
from corpus import manifest
from corpus.attributes import tempo_class
from corpus.facts import Facts
from corpus.record import SongRecord
from eval import descriptors, tempo
from eval.hearing import mono
from eval.singing import parting, silence, sung_share

logger = logging.getLogger(__name__)

QUESTIONS = ("genre", "singer", "pace")
MOOD = "mood"  # asked where the corpus names moods
INSTRUMENTS = "instruments"  # the question with several answers
# Share of windows in which an instrument that plays is heard, and in which one that doesn't isn't.
HEARD, NOT_HEARD = "instruments that play", "instruments that don't"
# Share of instrumentals in which nobody is heard to sing, and of sung songs in which somebody is.
SILENT, SUNG = "nobody sings", "somebody sings"
_RARE = 0.03  # an instrument in fewer songs, or in all but so few, isn't learned
UNKNOWN = -100  # cross_entropy's ignore_index: nobody knows this label
_KINDS = ("clean", "disturbed", "decoded")


@dataclass(frozen=True)
class Verdict:
    """What a song is judged to be; `shares` are the probabilities of each answer of each question."""

    genre: str
    singer: str
    pace: str  # slow, medium or fast, as corpus.attributes.tempo_class has them
    tempo: float  # quarter notes a minute
    shares: dict[str, dict[str, float]]
    instruments: frozenset[str] = frozenset()  # heard, of those that the probes know
    mood: str | None = None  # None where the probes know none


class Network(nn.Module):
    """Standardised vector → one hidden layer → logits of each question, and of each instrument's presence."""

    def __init__(self, answers: dict[str, list[str]], width: int = 192) -> None:
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.zeros(descriptors.SIZE))
        self.register_buffer("std", torch.ones(descriptors.SIZE))
        self.hidden = nn.Sequential(
            nn.Dropout(0.1), nn.Linear(descriptors.SIZE, width), nn.GELU(), nn.Dropout(0.3)
        )
        self.heads = nn.ModuleDict({name: nn.Linear(width, len(labels)) for name, labels in answers.items()})

    def features(self, x: Tensor) -> Tensor:
        """The hidden layer (N, width) of vectors (N, 508)."""
        return self.hidden(((x - self.mean) / self.std).clamp(-6, 6))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        hidden = self.features(x)
        return {name: head(hidden) for name, head in self.heads.items()}


@dataclass(frozen=True)
class Probes:
    """A trained judge: its network, the answers it knows, and its accuracy on held-out songs."""

    network: Network
    answers: dict[str, list[str]]  # with those of `instruments`, if they were learned
    accuracy: dict[str, dict[str, Estimate]]  # question → kind of audio → share right
    parted: float | None = None  # of `eval.singing`: nobody sings below it; None: the network says who does

    def judge(self, audio: Audio) -> Verdict:
        """The verdict on a song: the mean over windows that cover it.

        An instrument plays in a song, and somebody sings, where this is so in one of them.

        Raises:
            AudioError: less than a tenth of a second of audio.
        """
        samples = mono(audio)
        windows = descriptors.windows(samples)
        sung = (
            np.array([sung_share(window) for window in windows]) if self.parted is not None else np.zeros(1)
        )
        each = self._shares(np.stack([descriptors.describe(window) for window in windows]), sung.max())
        shares = {name: p.max(0) if name == INSTRUMENTS else p.mean(0) for name, p in each.items()}
        best = {name: self.answers[name][int(p.argmax())] for name, p in shares.items()}
        named = {
            name: {label: float(v) for label, v in zip(self.answers[name], p)} for name, p in shares.items()
        }
        heard = frozenset(i for i, share in named.get(INSTRUMENTS, {}).items() if share > 0.5)
        pace, mood = best["pace"], best.get(MOOD)
        return Verdict(best["genre"], best["singer"], pace, tempo.estimate(audio), named, heard, mood)

    @torch.inference_mode()
    def _shares(self, vectors: np.ndarray, sung: np.ndarray | float = 0.0) -> dict[str, np.ndarray]:
        """Probabilities by question of vectors (N, 508), of whose songs a share of the frames is sung."""
        logits = self.network.eval()(torch.from_numpy(vectors))
        found = {
            name: (values.sigmoid() if name == INSTRUMENTS else values.softmax(1)).numpy()
            for name, values in logits.items()
        }
        if self.parted is not None:
            nobody = np.arange(len(self.answers["singer"])) == self.answers["singer"].index("none")
            silent = np.broadcast_to(silence(np.asarray(sung), self.parted), len(vectors))[:, None]
            singers = np.where(nobody, 0, found["singer"])
            singers = singers / singers.sum(1, keepdims=True).clip(1e-9)
            found["singer"] = np.where(nobody, silent, (1 - silent) * singers)
        return found

    def save(self, folder: Path) -> None:
        """Write `probes.safetensors` and `probes.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.network.state_dict(), folder / "probes.safetensors")
        kept = {q: {kind: asdict(e) for kind, e in row.items()} for q, row in self.accuracy.items()}
        about = {"answers": self.answers, "parted": self.parted, "accuracy": kept}
        text = json.dumps(about, ensure_ascii=False, indent=2)
        (folder / "probes.json").write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> "Probes":
        """Read what `save` wrote. Raises CheckpointError naming the folder."""
        folder = Path(folder)
        try:
            kept = json.loads((folder / "probes.json").read_text(encoding="utf-8"))
            network = Network(kept["answers"])
            network.load_state_dict(load_file(folder / "probes.safetensors"))
            rows = kept["accuracy"].items()
            accuracy = {q: {k: Estimate(**e) for k, e in row.items()} for q, row in rows}
        except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"no probes can be read from {folder}: {error}") from error
        return cls(network, kept["answers"], accuracy, kept.get("parted"))


# ---- what they learn from ------------------------------------------------------------------


@dataclass(frozen=True)
class TrainConfig:
    """Settings of `train`."""

    manifest: str
    out: str
    also: tuple[str, ...] = ()  # manifests of further songs
    vae: str | None = None  # a codec's folder: train on its round trip too
    songs: int = 600  # at most so many
    crops: int = 2  # windows of each song, each clean, disturbed and (with a codec) decoded
    epochs: int = 60
    batch_size: int = 64
    lr: float = 2e-3
    weight_decay: float = 0.05
    held_out: float = 0.2  # share of songs that accuracy is measured on
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Examples:
    """Vectors with their song, kind of audio and labels, row by row."""

    vectors: np.ndarray  # (N, 508)
    songs: np.ndarray  # (N,) number of the song
    kinds: np.ndarray  # (N,) index into _KINDS
    labels: dict[str, np.ndarray]  # question → (N,) index of the answer or UNKNOWN; instruments (N, K) 0 or 1
    sung: np.ndarray  # (N,) share of the frames in which somebody is heard to sing

    def where(self, rows: np.ndarray) -> "Examples":
        labels = {name: values[rows] for name, values in self.labels.items()}
        return Examples(self.vectors[rows], self.songs[rows], self.kinds[rows], labels, self.sung[rows])


def answer(record: SongRecord, question: str) -> str | None:
    """The true answer of a question about a song; None when nobody knows."""
    if question == "pace":
        return None if record.tempo is None else tempo_class(record.tempo)
    return getattr(record, question)


def known_answers(records: Sequence[SongRecord]) -> dict[str, list[str]]:
    """Each question's answers as they occur in the corpus, sorted; of moods only where it names several.

    Raises:
        ManifestError: nobody knows the answer to a question for any song.
    """
    asked = (*QUESTIONS, MOOD)
    table = {q: sorted({a for r in records if (a := answer(r, q)) is not None}) for q in asked}
    if len(table[MOOD]) < 2:
        del table[MOOD]
    for question, answers in table.items():
        if not answers:
            raise ManifestError(f"probes need songs whose {question} is known, but the manifest has none")
        if len(answers) == 1:
            logger.warning(
                "all songs have the %s %s: the verdict on it will mean nothing", question, answers[0]
            )
    return table


def known_instruments(records: Sequence[SongRecord]) -> list[str]:
    """The instruments whose presence can be learned: some songs have them and some haven't, sorted."""
    told = [set(r.instruments) for r in records if r.instruments]
    names = sorted(set().union(*told)) if told else []
    share = {name: sum(name in songs for songs in told) / len(told) for name in names}
    return [name for name in names if _RARE <= share[name] <= 1 - _RARE]


def round_trip(folder: str) -> Any:
    """A function that sends audio through a codec: Audio → Audio."""
    from common.audio import resample, to_channels
    from vae.load import load

    codec = load(folder)

    @torch.inference_mode()
    def through(audio: Audio) -> Audio:
        if audio.sample_rate != codec.sample_rate:
            audio = resample(audio, codec.sample_rate)
        wav = torch.from_numpy(to_channels(audio, 2).samples)[None]
        decoded = codec.decode(codec.encode(wav).mode(), length=wav.shape[-1])
        return Audio(decoded[0].float().numpy(), codec.sample_rate)

    return through


def examples(records: Sequence[SongRecord], root: Path, config: TrainConfig) -> Examples:
    """Describe random windows of every song: as they are, disturbed, and decoded by the codec."""
    through = round_trip(config.vae) if config.vae else None
    answers, instruments = known_answers(records), known_instruments(records)
    vectors, songs, kinds, present, sung = [], [], [], [], []
    for number, record in enumerate(records):
        if number % 50 == 0:
            logger.info("listening to song %d of %d", number + 1, len(records))
        facts = Facts.of_record(record)
        for samples, kind, span in _heard(_audio(record, root), number, config, through):
            vectors.append(descriptors.describe(samples))
            sung.append(sung_share(samples))
            songs.append(number)
            kinds.append(kind)
            present.append(_presence(record, facts, span, instruments))
    rows = np.array(songs)
    labels = {q: _indices([answer(r, q) for r in records], known)[rows] for q, known in answers.items()}
    if instruments:
        labels[INSTRUMENTS] = np.array(present)
    return Examples(np.stack(vectors), rows, np.array(kinds), labels, np.array(sung))


_Span = tuple[float, float]  # seconds from the start of a song


def _heard(
    audio: Audio, number: int, config: TrainConfig, through: Any
) -> list[tuple[np.ndarray, int, _Span]]:
    """Windows of one song, mono at 22,050 Hz, with their kinds and places."""
    out = []
    for turn in range(config.crops):
        rng = generator(config.seed, "window", number, turn)
        start, piece = descriptors.crop(audio, rng)
        span, samples = (start, start + piece.duration), mono(piece)
        out += [(samples, 0, span), (descriptors.disturb(samples, rng), 1, span)]
        if through is not None:
            out.append((mono(through(piece)), 2, span))
    return out


def _audio(record: SongRecord, root: Path) -> Audio:
    if record.audio is None:
        raise ManifestError(f"song {record.id} has no audio file, which probes need")
    return read_audio(root / record.audio)


def _presence(record: SongRecord, facts: Facts | None, span: _Span, instruments: Sequence[str]) -> list[int]:
    """Whether each instrument plays between two times; in the song where nobody knows when."""
    if not record.instruments:
        return [UNKNOWN] * len(instruments)
    playing = record.instruments if facts is None else facts.playing(*span).values()
    return [int(name in playing) for name in instruments]


def _indices(given: Sequence[str | None], answers: list[str]) -> np.ndarray:
    place = {a: i for i, a in enumerate(answers)}
    return np.array([UNKNOWN if a is None else place.get(a, UNKNOWN) for a in given])


# ---- training ------------------------------------------------------------------------------


def fit(data: Examples, answers: dict[str, list[str]], config: TrainConfig) -> Network:
    """Train a network on vectors; a second or two for a few thousand."""
    torch.manual_seed(derive_seed(config.seed, "probes"))
    network = Network(answers)
    vectors = torch.from_numpy(data.vectors)
    network.mean.copy_(vectors.mean(0))
    network.std.copy_(vectors.std(0).clamp_min(1e-3))
    labels = {name: torch.from_numpy(values) for name, values in data.labels.items()}
    # With present and absent weighing the same, a probability over a half means "more likely than usual".
    shares = {name: (v == 1).float().mean(0).clamp(0.01, 0.99) for name, v in labels.items() if v.ndim == 2}
    rarity = {name: (1 - share) / share for name, share in shares.items()}
    rarity |= {name: _evened(v, len(answers[name])) for name, v in labels.items() if v.ndim == 1}
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    steps = config.epochs * -(-len(vectors) // config.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.lr, total_steps=steps)
    network.train()
    for _ in range(config.epochs):
        for rows in torch.randperm(len(vectors)).split(config.batch_size):
            logits = network(vectors[rows])
            losses = [_loss(v, labels[name][rows], rarity.get(name)) for name, v in logits.items()]
            loss = torch.stack(losses).sum()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def _loss(logits: Tensor, labels: Tensor, rarity: Tensor | None = None) -> Tensor:
    """Cross-entropy over known labels; zero where a batch has none. `rarity` weighs answers."""
    if (labels == UNKNOWN).all():
        return logits.sum() * 0
    if labels.ndim == 2:
        known = (labels != UNKNOWN).float()
        return nn.functional.binary_cross_entropy_with_logits(
            logits, labels.clamp(min=0).float(), weight=known, pos_weight=rarity
        )
    return nn.functional.cross_entropy(logits, labels, rarity, ignore_index=UNKNOWN, label_smoothing=0.05)


def _evened(labels: Tensor, answers: int) -> Tensor:
    """Weights with which each answer counts the same, however rare it is; the mean over songs is 1."""
    counts = torch.bincount(labels[labels != UNKNOWN], minlength=answers)
    return counts.sum() / (answers * counts.clamp(min=1))


def accuracy(probes: Probes, data: Examples) -> dict[str, dict[str, Estimate]]:
    """Share of songs judged right, by question and kind of audio; chance is the largest class's share."""
    table: dict[str, dict[str, Estimate]] = {}
    if INSTRUMENTS in probes.answers:
        table |= _instrument_accuracy(probes, data)
    for question in (q for q in probes.answers if q != INSTRUMENTS):
        table |= _singing_accuracy(probes, data) if question == "singer" else {}
        table[question] = {}
        for index, kind in enumerate(_KINDS):
            part = data.where((data.kinds == index) & (data.labels[question] != UNKNOWN))
            if len(part.songs):
                table[question][kind] = _share_right(probes, part, question)
    return table


def _instrument_accuracy(probes: Probes, data: Examples) -> dict[str, dict[str, Estimate]]:
    """Of all pairs of a window and an instrument; the intervals take pairs for independent."""
    table: dict[str, dict[str, Estimate]] = {HEARD: {}, NOT_HEARD: {}}
    for index, kind in enumerate(_KINDS):
        part = data.where((data.kinds == index) & (data.labels[INSTRUMENTS] != UNKNOWN).all(1))
        if not len(part.songs):
            continue
        shares = probes._shares(part.vectors)[INSTRUMENTS]
        heard, plays = shares > 0.5, part.labels[INSTRUMENTS] == 1
        table[HEARD][kind] = wilson(int((heard & plays).sum()), int(plays.sum()))
        table[NOT_HEARD][kind] = wilson(int((~heard & ~plays).sum()), int((~plays).sum()))
    return table


def _singing_accuracy(probes: Probes, data: Examples) -> dict[str, dict[str, Estimate]]:
    """Of instrumentals and of sung songs, where there are both."""
    answers = probes.answers["singer"]
    if "none" not in answers or len(answers) == 1:
        return {}
    table: dict[str, dict[str, Estimate]] = {SILENT: {}, SUNG: {}}
    for index, kind in enumerate(_KINDS):
        rows = (data.kinds == index) & (data.labels["singer"] != UNKNOWN)
        silent = data.labels["singer"] == answers.index("none")
        for name, of in ((SILENT, rows & silent), (SUNG, rows & ~silent)):
            part = data.where(of)
            if not len(part.songs):
                continue
            found = (_best(probes, part, "singer") == answers.index("none")) == (name == SILENT)
            table[name][kind] = wilson(int(found.sum()), len(found))
    return table


def _best(probes: Probes, part: Examples, question: str) -> np.ndarray:
    """The answer judged likeliest of each song, by rising number of the song: (songs,) indices."""
    each, places = np.unique(part.songs, return_inverse=True)
    most = np.array([part.sung[part.songs == song].max() for song in each])
    shares = probes._shares(part.vectors, most[places])[question]
    return np.array([shares[part.songs == song].mean(0).argmax() for song in each])


def _share_right(probes: Probes, part: Examples, question: str) -> Estimate:
    first = np.unique(part.songs, return_index=True)[1]
    truth = part.labels[question][first]
    right = int((_best(probes, part, question) == truth).sum())
    return wilson(right, len(truth), chance=float(np.bincount(truth).max() / len(truth)))


def train(config: TrainConfig) -> Probes:
    """Listen, train and measure; write the probes to `config.out`.

    Raises:
        SongError: the manifest, its audio or the codec can't be used, or there are too few songs.
    """
    records = _records(config)
    if len(records) < 2:
        raise ManifestError(f"probes need at least 2 songs with audio, but the manifest has {len(records)}")
    answers = known_answers(records)
    if instruments := known_instruments(records):
        answers[INSTRUMENTS] = instruments
    data = examples(records, Path(), config)
    order = generator(config.seed, "held out").permutation(len(records))
    kept = np.isin(data.songs, order[: max(1, round(config.held_out * len(records)))])
    learned = data.where(~kept)
    probes = Probes(fit(learned, answers, config), answers, {}, _parted(learned, answers))
    probes = replace(probes, accuracy=accuracy(probes, data.where(kept)))
    probes.save(Path(config.out))
    return probes


def _records(config: TrainConfig) -> list[SongRecord]:
    """The songs to listen to, the paths of their audio whole."""
    songs = ((r, Path(path).parent) for path in (config.manifest, *config.also) for r in manifest.read(path))
    heard = (replace(r, audio=str(root / r.audio)) for r, root in songs if r.audio is not None)
    return list(itertools.islice(heard, config.songs))


def _parted(data: Examples, answers: dict[str, list[str]]) -> float | None:
    """Where shares of sung frames part instrumentals from songs, if they do."""
    if "none" not in answers.get("singer", ()):
        return None
    known = data.labels["singer"] != UNKNOWN
    return parting(data.sung[known], data.labels["singer"][known] == answers["singer"].index("none"))


def tempo_accuracy(records: Sequence[SongRecord], root: Path) -> dict[str, Estimate]:
    """Share of songs whose tempo is estimated within 4 %: at the beat, and at any metrical level."""
    known = [r for r in records if r.tempo is not None]
    matches = [tempo.compare(tempo.estimate(_audio(r, root)), r.tempo or 0) for r in known]
    return {
        "exact": wilson(sum(m.exact for m in matches), len(matches)),
        "octave": wilson(sum(m.octave for m in matches), len(matches)),
    }


# ---- commands ------------------------------------------------------------------------------


@dataclass(frozen=True)
class JudgeConfig:
    """Settings of `judge`."""

    probes: str  # folder
    audio: list[str]  # files


def _train_command(argv: Sequence[str]) -> None:
    config = configs.parse(TrainConfig, argv)
    probes = train(config)
    for question, row in probes.accuracy.items():
        for kind, share in row.items():
            print(f"{question:24} {kind:10} {share}")
    records = _records(config)
    order = generator(config.seed, "held out").permutation(len(records))
    held = [records[i] for i in order[: max(1, round(config.held_out * len(order)))]]
    for level, share in tempo_accuracy(held[:48], Path()).items():
        print(f"{'tempo':24} {level:10} {share}")


def _judge_command(argv: Sequence[str]) -> None:
    config = configs.parse(JudgeConfig, argv)
    probes = Probes.load(config.probes)
    for path in config.audio:
        verdict = probes.judge(read_audio(path))
        asked = (*QUESTIONS, MOOD) if verdict.mood else QUESTIONS
        shown = [f"{q} {getattr(verdict, q)} ({max(verdict.shares[q].values()):.2f})" for q in asked]
        if verdict.instruments:
            shown.append(f"instruments {' '.join(sorted(verdict.instruments))}")
        print(f"{path}: {', '.join(shown)}, tempo {verdict.tempo:.1f}")


@command
def main(argv: Sequence[str] | None = None) -> int:
    """The command: 0, or 2 with one sentence for a wrong input."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logger.setLevel(logging.INFO)  # our own progress, not every resampling
    configs.dispatch({"train": _train_command, "judge": _judge_command}, argv)
    return 0


if __name__ == "__main__":
    sys.exit(main())
