"""Songs with one fault each, everything else equal: what metrics are asked to notice.

    versions(record, root)      # Version by name: "none", "take", and every fault that the song allows

Conventions: a song of the synthetic corpus is rendered again from its seed, so that a fault of the music
is a fault and not a trick of signal processing; a song of any other source takes the faults of sound only.
Faults of sound leave the song as loud as it was, but for clipping.

    none        nothing: the song as the corpus has it
    take        no fault: the same score, singer and instruments with other chance in playing, voice and mix
    tempo       1.3 times as fast where the song is slower than 105, else 1.3 times as slow
    genre       the same melody, words, chords, tempo and singer, played and drummed as another genre
    words       every second line isn't sung
    clipping    12 dB too loud, cut off at full scale
    mono        both channels are their mean
    low-pass    nothing above 4 kHz
    noise       hiss 12 dB below the song           (`eval.mos.planted`, as the next two)
    wow         pitch that wavers by about 50 cents
    jitter      half-second pieces that come up to 70 ms too early or late

A wrong prompt is no fault of a song: `eval.faults` plants it in what is asked.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.signal import butter, sosfilt

from common.audio import Audio, read_audio
from common.errors import ManifestError
from common.loudness import amplitude
from common.score import NoteSpan, Score
from common.seeds import derive_seed, generator
from corpus.genres import GENRES
from corpus.instruments import SAMPLE_RATE
from corpus.plan import SongPlan, plan, plan_of
from corpus.record import SongRecord
from corpus.synth import perform, voice_of
from corpus.voice import sing
from eval.mos import planted

NONE, TAKE = "none", "take"
MUSIC = ("tempo", "genre", "words")
SOUND = ("clipping", "mono", "low-pass", "noise", "wow", "jitter")
FAULTS = (*MUSIC, *SOUND)

_TEMPO_RATIO, _MIDDLE_TEMPO = 1.3, 105.0
_DRIVE = 12.0  # dB
_CUT = 4000.0  # Hz
_STRENGTHS = {"noise": 0.6, "wow": 0.5, "jitter": 0.5}
_FADE = 0.01  # seconds


@dataclass(frozen=True, eq=False)
class Version:
    """A song with a fault; `score` is what it was played from, None where the song has none."""

    fault: str
    audio: Audio
    score: Score | None


# ---- the sound -----------------------------------------------------------------------------


def clip(audio: Audio, drive: float = _DRIVE) -> Audio:
    """Too loud by `drive` dB and cut off at full scale."""
    return Audio(np.clip(audio.samples * np.float32(amplitude(drive)), -1, 1), audio.sample_rate)


def fold(audio: Audio) -> Audio:
    """As many channels as before, all of them the mean."""
    return Audio(np.broadcast_to(audio.samples.mean(0), audio.samples.shape).copy(), audio.sample_rate)


def muffle(audio: Audio, cut: float = _CUT) -> Audio:
    """Without what is above `cut` Hz (Butterworth, 48 dB an octave), as loud as before."""
    sections = butter(8, min(cut, 0.45 * audio.sample_rate), fs=audio.sample_rate, output="sos")
    low = sosfilt(sections, audio.samples.astype(np.float64), axis=1)
    return _as_loud(low, audio)


def spoil(audio: Audio, fault: str, seed: int) -> Audio:
    """A fault of `eval.mos.planted` on every channel; the channels waver and jump together."""
    channels = []
    for number, channel in enumerate(audio.samples):
        apart = number if fault == "noise" else 0
        single = Audio(channel[None], audio.sample_rate)
        rng = generator(seed, "planted fault", fault, apart)
        channels.append(planted.spoil(single, fault, _STRENGTHS[fault], rng).samples[0])
    return Audio(_below_full_scale(np.stack(channels)), audio.sample_rate)


def _as_loud(samples: np.ndarray, audio: Audio) -> Audio:
    scaled = samples * (audio.samples.std() / max(samples.std(), 1e-9))
    return Audio(_below_full_scale(scaled), audio.sample_rate)


def _below_full_scale(samples: np.ndarray) -> np.ndarray:
    """Softer where a peak would leave full scale: a fault that isn't clipping mustn't clip."""
    return (samples / max(1.0, float(np.abs(samples).max()))).astype(np.float32)


_SOUND: dict[str, Callable[[Audio, int], Audio]] = {
    "clipping": lambda audio, seed: clip(audio),
    "mono": lambda audio, seed: fold(audio),
    "low-pass": lambda audio, seed: muffle(audio),
    "noise": lambda audio, seed: spoil(audio, "noise", seed),
    "wow": lambda audio, seed: spoil(audio, "wow", seed),
    "jitter": lambda audio, seed: spoil(audio, "jitter", seed),
}


# ---- the music -----------------------------------------------------------------------------


class Studio:
    """Renders a song of the corpus again, whole or with one thing wrong.

    Args:
        record: of a synthetic song, with its seed and score.
    Raises:
        ManifestError: this version of the corpus wouldn't make the song.
    """

    def __init__(self, record: SongRecord) -> None:
        found = plan_of(record)
        if found is None or record.score is None:
            raise ManifestError(f"song {record.id} can't be rendered again from its seed")
        self.plan: SongPlan = found
        self.score: Score = record.score

    def render(self, fault: str = NONE) -> Version | None:
        """A version; None where the song has nothing to spoil (words of an instrumental)."""
        if fault in (NONE, TAKE):
            again = TAKE if fault == TAKE else ""
            return self._performed(fault, self.plan, self.score, self._vocals(again), again)
        if fault == "tempo":
            score = self._hurried()
            return self._performed(fault, self.plan, score, self._sung(self.plan, score))
        if fault == "genre":
            other, score = self._dressed()
            return self._performed(fault, other, score, self._vocals())
        vocals = self._half_sung()
        return None if vocals is None else self._performed(fault, self.plan, self.score, vocals)

    def _performed(
        self, fault: str, planned: SongPlan, score: Score, vocals: np.ndarray | None, again: str = ""
    ) -> Version:
        """Arranged, played and mixed by the same chance as the song itself, or (`again`) by another."""
        made = perform(planned, score, vocals, take=[again] if again else [])
        return Version(fault, made.audio, score)

    def _sung(self, planned: SongPlan, score: Score, again: str = "") -> np.ndarray | None:
        if planned.singer == "none":
            return None
        rng = generator(planned.seed, "voice", planned.split)
        voice = voice_of(planned, rng)
        chance = generator(planned.seed, "voice", planned.split, again) if again else rng
        return sing(score.note_spans(sung=True), voice, chance, score.duration).samples

    @cached_property
    def _own_vocals(self) -> np.ndarray | None:
        return self._sung(self.plan, self.score)

    def _vocals(self, again: str = "") -> np.ndarray | None:
        return self._sung(self.plan, self.score, again) if again else self._own_vocals

    def _hurried(self) -> Score:
        faster = self.score.tempo < _MIDDLE_TEMPO
        ratio = _TEMPO_RATIO if faster else 1 / _TEMPO_RATIO
        return replace(self.score, tempo=self.score.tempo * ratio)

    def _dressed(self) -> tuple[SongPlan, Score]:
        """The plan and score with another genre's instruments, ways of playing, drums and swing."""
        own = self.plan
        rng = generator(own.seed, "other genre")
        name = str(rng.choice([g for g in GENRES if g != own.genre]))
        other = plan(
            derive_seed(own.seed, "other genre"), own.split, genre=name, singer=own.singer,
            duration=own.duration,
        )  # fmt: skip
        dressed = replace(
            own,
            genre=name,
            instruments=other.instruments,
            comping=other.comping,
            bass_style=other.bass_style,
            swing=other.swing,
        )
        levels = GENRES[name].grooves
        sections = []
        for section in self.score.sections:
            energy = section.energy
            known = levels.low if energy < 0.5 else levels.middle if energy < 0.8 else levels.high
            groove = None if section.groove is None else known[int(rng.integers(len(known)))]
            sections.append(replace(section, groove=groove))
        return dressed, replace(self.score, sections=tuple(sections), swing=other.swing)

    def _half_sung(self) -> np.ndarray | None:
        lines = self.score.lines()
        if self._own_vocals is None or len(lines) < 2:
            return None
        return silence_lines(self._own_vocals, lines, range(1, len(lines), 2))


def silence_lines(
    vocals: np.ndarray, lines: Sequence[tuple[NoteSpan, ...]], chosen: Sequence[int], rate: int = SAMPLE_RATE
) -> np.ndarray:
    """A copy of vocals (time,) or (time, 2) without some lines.

    A line goes from the middle of the rest before it, since its first consonant sounds early, to the
    middle of the rest behind it.
    """
    gain = np.ones(len(vocals), dtype=np.float32)
    for number in chosen:
        line = lines[number]
        before = lines[number - 1][-1].end if number else 0.0
        after = lines[number + 1][0].start if number + 1 < len(lines) else len(vocals) / rate
        first = round((before + line[0].start) / 2 * rate)
        last = round((line[-1].end + after) / 2 * rate)
        gain[first:last] = 0
    width = round(_FADE * rate)
    smooth = np.convolve(
        np.pad(gain, width, mode="edge"), np.full(2 * width + 1, 1 / (2 * width + 1)), "valid"
    )
    return vocals * (smooth if vocals.ndim == 1 else smooth[:, None]).astype(np.float32)


# ---- all of them ---------------------------------------------------------------------------


def versions(
    record: SongRecord, root: Path, faults: Sequence[str] = FAULTS, seed: int = 0
) -> Iterator[Version]:
    """The song without a fault first, then another take, then with each fault that it allows.

    Args:
        root: folder of the manifest, for audio that can't be rendered again.
        faults: of `FAULTS`.
    Raises:
        ManifestError: the song can't be rendered again and has no audio file.
        AudioError: its audio can't be read.
    """
    try:
        studio = Studio(record)
    except ManifestError:
        if record.audio is None:
            raise
        studio = None
    if studio is None:
        whole = Version(NONE, read_audio(root / str(record.audio)), record.score)
        yield whole
    else:
        whole = studio.render() or _impossible(record)
        yield whole
        for fault in (TAKE, *(f for f in faults if f in MUSIC)):
            made = studio.render(fault)
            if made is not None:
                yield made
    for fault in faults:
        if fault in SOUND:
            spoiled = _SOUND[fault](whole.audio, derive_seed(seed, record.id))
            yield Version(fault, spoiled, record.score)


def _impossible(record: SongRecord) -> Version:
    raise ManifestError(f"song {record.id} has nothing to render")
