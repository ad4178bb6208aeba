"""The small sounds around a song that tell its mood whatever plays: rain, vinyl, snaps, a far bell.

A producer who wants a feeling heard at once puts something beside the band: crackling vinyl for what is long
past, wind for who is alone, stamping feet for who is sure of himself. Each mood has its own one or two, so
that moods that are played nearly alike, and moods in a genre that is strange to them, can be told apart.
None is an instrument that a description could ask for. All are made here, from noise and decaying partials:
at times they follow the beat, at times the chords. They are part of the stem `harmony`, behind its chords.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, sosfilt

from common.audio import Samples
from common.score import Score
from common.theory import Chord
from corpus.genres import MOODS
from corpus.moods import FEELINGS, feeling

Wave = npt.NDArray[np.float64]
Sound = Callable[[Score, int, np.random.Generator], Samples]

SAMPLE_RATE = 44100  # Hz
_LOOP = 11.0  # s after which a texture comes again
_TABLE = """
欢快 jingle        温暖 fire          浪漫 triangle glass   青春 claps birds     伤感 rain
深情 heartbeat hum 思念 clock         孤独 wind             激昂 boom riser      愤怒 stomp riser
热血 stomp crowd   自由 waves         宁静 crickets         怀旧 crackle         思乡 crickets bell
动感 cowbell       梦幻 shimmer glass 狂欢 claps crowd      未来 blips           慵懒 snaps crackle
优雅 triangle      俏皮 woodblock     性感 heartbeat        忧郁 rain hum        温柔 shimmer
酷 snaps           自信 stomp         街头 street           深沉 boom hum        苍凉 wind bell
悠远 shimmer bell  飘逸 chimes        轻松 snaps birds      悠闲 birds           阳光 claps waves
"""
ATMOSPHERES: dict[str, tuple[str, ...]] = {
    mood: tuple(names.split()) for mood, names in re.findall(r"([\u4e00-\u9fff]+)((?: +[a-z]+)+)", _TABLE)
}
assert set(ATMOSPHERES) == set(MOODS), set(ATMOSPHERES) ^ set(MOODS)


@cache
def atmosphere(mood: str) -> tuple[str, ...]:
    """Names of the sounds around a song of a mood; those of the nearest mood for a rarer word of feeling."""
    if mood in ATMOSPHERES or mood not in FEELINGS:
        return ATMOSPHERES.get(mood, ())
    felt = feeling(mood)
    place = np.array([felt.valence, felt.arousal, felt.dominance, felt.distance])

    def far(other: str) -> float:
        o = feeling(other)
        return float(np.abs(place - [o.valence, o.arousal, o.dominance, o.distance]).sum())

    return ATMOSPHERES[min(ATMOSPHERES, key=far)]


def surround(samples: Samples, names: Sequence[str], score: Score, rng: np.random.Generator) -> None:
    """Put sounds behind what a stem plays, (time, 2), in place; each some 8 dB softer than it.

    Args:
        names: of `SOUNDS`.
    """
    played = float(np.sqrt(np.vdot(samples, samples) / samples.size))
    for name in names:
        sound, level = SOUNDS[name]
        layer = sound(score, len(samples), rng)
        loud = _loudness(layer)
        if loud > 0:
            gain = played * level * 10 ** (rng.uniform(-2, 2) / 20) / loud
            layer *= np.float32(gain)
            samples += layer


def _loudness(layer: Samples) -> float:
    """The level of what sounds: root mean square of the louder fifth of blocks of 50 ms."""
    block = SAMPLE_RATE // 20
    whole = layer[: len(layer) // block * block].reshape(-1, block * 2)
    if not len(whole):
        return 0.0
    powers = np.sort(np.einsum("bt,bt->b", whole, whole) / whole.shape[1])
    return float(np.sqrt(powers[-max(1, len(powers) // 5) :].mean()))


# ---- what they are made of -------------------------------------------------------------------


@cache
def _band_pass(low: float, high: float) -> Wave:
    return butter(2, [low, high], "band", fs=SAMPLE_RATE, output="sos")


def _band(wave: Wave, low: float, high: float) -> Wave:
    return sosfilt(_band_pass(low, high), wave, axis=0)


def _noise(seconds: float, rng: np.random.Generator, channels: int = 1) -> Wave:
    shape = (round(seconds * SAMPLE_RATE), channels)
    return rng.standard_normal(shape)


def _swell(count: int, seconds: float, rng: np.random.Generator) -> Wave:
    """(count, 1) between 0 and 1, wandering with a knot every so many seconds; ends as it begins."""
    knots = max(3, round(count / SAMPLE_RATE / seconds))
    values = rng.uniform(0, 1, knots)
    return np.interp(np.linspace(0, knots, count), np.arange(knots + 1), [*values, values[0]])[:, None]


def _looped(loop: Wave, total: int) -> Samples:
    """A loop (time, 2) as often as it takes; its end is faded into its beginning."""
    fade = SAMPLE_RATE // 2
    ramp = np.sqrt(np.linspace(0, 1, fade))[:, None]
    body = loop[:-fade].copy()
    body[:fade] = body[:fade] * ramp + loop[-fade:] * ramp[::-1]
    return np.resize(body.astype(np.float32), (total, 2))


def _ping(hertz: Sequence[float], decay: float, rng: np.random.Generator | None = None) -> Wave:
    """(time,) decaying partials, the higher the shorter and softer; `decay` in seconds to −60 dB."""
    t = np.arange(round(decay * SAMPLE_RATE)) / SAMPLE_RATE
    out = np.zeros(len(t))
    for number, frequency in enumerate(hertz):
        if frequency < 16000:
            phase = rng.uniform(0, 2 * np.pi) if rng else 0.0
            fall = np.exp(-6.9 * t / decay * (1 + 0.6 * number))
            out += np.sin(2 * np.pi * frequency * t + phase) * fall / (1 + number)
    attack = min(len(out), 40)
    out[:attack] *= np.linspace(0, 1, attack)
    return out


def _burst(low: float, high: float, decay: float, rng: np.random.Generator) -> Wave:
    """(time,) a burst of noise in a band of hertz, gone (−60 dB) after `decay` seconds."""
    wave = _band(_noise(decay, rng), low, high)[:, 0]
    return wave * np.exp(-6.9 * np.linspace(0, 1, len(wave)))


def _put(out: Samples | Wave, wave: Wave, time: float, gain: float = 1.0, side: float = 0.0) -> None:
    """Add a sound (time,) to (time, 2) at a second, `side` −1 left … 1 right, where it is twice as loud."""
    start = round(time * SAMPLE_RATE)
    if not 0 <= start < len(out):
        return
    piece = wave[: len(out) - start]
    for channel, share in enumerate((1 - side, 1 + side)):
        out[start : start + len(piece), channel] += (gain * share * piece).astype(out.dtype)


def _empty(total: int) -> Samples:
    return np.zeros((total, 2), np.float32)


def _steps(score: Score, *steps: int) -> Iterator[tuple[int, float]]:
    """(step, second) of these sixteenths of every bar."""
    bar = score.bar_ticks
    for number in range(score.bars):
        for step in steps:
            yield step, score.seconds(number * bar + step * bar // 16)


def _chords(score: Score) -> Iterator[tuple[float, float, Chord]]:
    """(start, end, chord) in seconds."""
    for span in score.chord_spans():
        if span.label != "N":
            yield span.start, span.end, Chord.parse(span.label)


def _hertz(midi: float) -> float:
    return float(440.0 * 2 ** ((midi - 69) / 12))


# ---- textures: they know no beat -------------------------------------------------------------


def _texture(make: Callable[[np.random.Generator], Wave]) -> Sound:
    def sound(score: Score, total: int, rng: np.random.Generator) -> Samples:
        return _looped(make(rng), total)

    return sound


def _rain(rng: np.random.Generator) -> Wave:
    """A steady hiss, and drops."""
    out = 0.5 * _band(_noise(_LOOP, rng, 2), 1800, 9000)
    for at in rng.uniform(0, _LOOP - 0.1, 500):
        drop = _ping([rng.uniform(1500, 5000)], 0.03)
        side = 2.0 * float(rng.integers(2)) - 1.0
        _put(out, drop, float(at), 0.5 * float(rng.uniform(0.5, 2.0)), side)
    return out


def _wind(rng: np.random.Generator) -> Wave:
    """Gusts that whistle lower and higher."""
    out = np.zeros((round(_LOOP * SAMPLE_RATE), 2))
    for low, high in ((180, 420), (420, 700), (700, 1100)):
        out += _band(_noise(_LOOP, rng, 2), low, high) * _swell(len(out), 1.6, rng) ** 2
    return out


def _waves(rng: np.random.Generator) -> Wave:
    """The sea: surf that rises slowly and breaks."""
    wave = _band(_noise(_LOOP, rng, 2), 300, 5000)
    phase = (np.arange(len(wave)) / SAMPLE_RATE / (_LOOP / 3)) % 1.0
    return wave * (0.12 + np.where(phase < 0.55, (phase / 0.55) ** 2, ((1 - phase) / 0.45) ** 1.5))[:, None]


def _crackle(rng: np.random.Generator) -> Wave:
    """A worn record: clicks, hiss, and a scratch that comes round."""
    out = 0.06 * _band(_noise(_LOOP, rng, 2), 2000, 10000)
    for at in rng.uniform(0, _LOOP - 0.1, 330):
        _put(out, _burst(1500, 9000, 0.006, rng), at, float(rng.exponential(2.5)))
    for turn in np.arange(0.3, _LOOP - 0.2, 1.8):  # 33 turns a minute
        _put(out, _burst(800, 6000, 0.012, rng), turn, 9.0)
    return out


def _fire(rng: np.random.Generator) -> Wave:
    """A fireplace: a low breath and soft cracks."""
    out = 0.25 * _band(_noise(_LOOP, rng, 2), 90, 350)
    out *= 1 + _swell(len(out), 0.7, rng)
    for at in rng.uniform(0, _LOOP - 0.1, 90):
        crack = _burst(400, 2500, float(rng.uniform(0.01, 0.04)), rng)
        _put(out, crack, at, float(rng.exponential(2.0)))
    return out


def _birds(rng: np.random.Generator) -> Wave:
    """Phrases of chirps from here and there."""
    out = np.zeros((round(_LOOP * SAMPLE_RATE), 2))
    at = 0.1
    while at < _LOOP - 1.2:
        base, bend, side = rng.uniform(2800, 4600), rng.uniform(-0.35, 0.5), rng.uniform(-0.8, 0.8)
        for _ in range(int(rng.integers(2, 6))):
            t = np.arange(round(rng.uniform(0.05, 0.12) * SAMPLE_RATE)) / SAMPLE_RATE
            sweep = base * (1 + bend * t / t[-1])
            chirp = np.sin(2 * np.pi * np.cumsum(sweep) / SAMPLE_RATE) * np.hanning(len(t))
            _put(out, chirp, at, 0.5, float(side))
            at += len(t) / SAMPLE_RATE + rng.uniform(0.02, 0.07)
        at += rng.uniform(0.05, 0.35)
    return out


def _crickets(rng: np.random.Generator) -> Wave:
    """A summer night: two that answer each other."""
    t = np.arange(round(_LOOP * SAMPLE_RATE)) / SAMPLE_RATE
    out = np.zeros((len(t), 2))
    for channel, (pitch, rate) in enumerate(((4300.0, 2.2), (4900.0, 2.7))):
        pulses = 0.5 + 0.5 * np.sin(2 * np.pi * 34 * t + channel)
        open_ = ((t * rate + rng.uniform()) % 1.0) < 0.45
        near = np.sin(2 * np.pi * pitch * t) * pulses * open_
        out[:, channel] += near
        out[:, 1 - channel] += 0.4 * near
    return out


def _crowd(rng: np.random.Generator) -> Wave:
    """Many people: a roar that swells, and clapping."""
    count = round(_LOOP * SAMPLE_RATE)
    out = np.zeros((count, 2))
    for low, high in ((350, 800), (800, 1500), (1500, 3000)):
        out += _band(_noise(_LOOP, rng, 2), low, high) * (0.35 + _swell(count, 0.5, rng))
    for at in rng.uniform(0, _LOOP - 0.1, 500):
        _put(out, _burst(900, 4000, 0.02, rng), at, float(rng.uniform(0.5, 1.5)))
    return out


def _street(rng: np.random.Generator) -> Wave:
    """A road: its rumble, and cars that pass from side to side."""
    count = round(_LOOP * SAMPLE_RATE)
    out = 0.8 * _band(_noise(_LOOP, rng, 2), 60, 260)
    t = np.arange(count) / SAMPLE_RATE
    for at in np.arange(1.0, _LOOP - 1.0, 2.4) + rng.uniform(-0.4, 0.4, 4):
        passing = np.exp(-0.5 * ((t - at) / 0.45) ** 2)
        side = 1 / (1 + np.exp(-(t - at) * 3 * rng.choice([-1, 1])))
        places = np.stack([side, 1 - side], axis=1) * passing[:, None]
        out += 1.6 * _band(_noise(_LOOP, rng), 250, 2200) * places
    horn = _ping([_hertz(68), _hertz(72)], 0.5)
    _put(out, np.tanh(4 * horn), float(rng.uniform(3, 8)), 0.25)
    return out


# ---- on the beat -----------------------------------------------------------------------------


def _beaten(steps: dict[int, float], make: Callable[[np.random.Generator], Sequence[Wave]]) -> Sound:
    """Strokes on sixteenths of every bar, by their loudness; several sounds take turns."""

    def sound(score: Score, total: int, rng: np.random.Generator) -> Samples:
        out, sounds = _empty(total), make(rng)
        for number, (step, time) in enumerate(_steps(score, *steps)):
            late = float(np.clip(rng.normal(0, 0.002), -0.004, 0.004))
            _put(out, sounds[number % len(sounds)], time + late, steps[step] * float(rng.uniform(0.9, 1.1)))
        return out

    return sound


def _snap(rng: np.random.Generator) -> list[Wave]:
    return [_burst(1600, 3200, 0.09, rng) * 2 for _ in range(4)]


def _clap(rng: np.random.Generator) -> list[Wave]:
    """Several pairs of hands, not quite together."""
    sounds = []
    for _ in range(4):
        wave = np.zeros(round(0.2 * SAMPLE_RATE))
        for _ in range(6):
            one = _burst(700, 3500, 0.12, rng)
            start = round(rng.uniform(0, 0.025) * SAMPLE_RATE)
            wave[start : start + len(one)] += one
        sounds.append(wave)
    return sounds


def _thump(hertz: float, decay: float) -> Wave:
    """(time,) a blow on something large, whose pitch falls."""
    t = np.arange(round(decay * SAMPLE_RATE)) / SAMPLE_RATE
    falling = hertz * (1 + 0.8 * np.exp(-t * 40))
    return np.sin(2 * np.pi * np.cumsum(falling) / SAMPLE_RATE) * np.exp(-6.9 * t / decay)


def _stomp(rng: np.random.Generator) -> list[Wave]:
    """Feet, feet, hands: two stamps and a clap, over and over."""
    foot = _thump(115, 0.25)
    foot[: round(0.05 * SAMPLE_RATE)] += 0.4 * _burst(200, 900, 0.05, rng)
    return [foot, foot, 0.8 * _clap(rng)[0]]


def _heart(rng: np.random.Generator) -> list[Wave]:
    sounds = [_thump(150, 0.2), 0.8 * _thump(185, 0.16)]
    for sound in sounds:
        sound[: round(0.07 * SAMPLE_RATE)] += 0.3 * _burst(160, 500, 0.07, rng)
    return sounds


def _tick(rng: np.random.Generator) -> list[Wave]:
    return [_ping([3100, 5200, 7400], 0.05), _ping([2500, 4300, 6900], 0.05)]


def _jingle(rng: np.random.Generator) -> list[Wave]:
    """Sleigh bells: a handful of small ones."""
    sounds = []
    for _ in range(3):
        wave = np.zeros(round(0.16 * SAMPLE_RATE))
        for _ in range(14):
            one = _ping([rng.uniform(5000, 11000)], 0.12, rng)
            start = round(rng.uniform(0, 0.03) * SAMPLE_RATE)
            wave[start : start + len(one)] += one
        sounds.append(wave)
    return sounds


def _triangle(rng: np.random.Generator) -> list[Wave]:
    return [_ping([3320, 4710, 6490, 8730, 11200], 1.6, rng)]


def _boom(rng: np.random.Generator) -> list[Wave]:
    blow = _thump(110, 0.9)
    blow[: round(0.15 * SAMPLE_RATE)] += 0.8 * _burst(180, 900, 0.15, rng)
    return [blow, 0.55 * blow, 0.75 * blow]


def _wood(rng: np.random.Generator) -> list[Wave]:
    return [_ping([1260, 2900, 4700], 0.12), _ping([890, 2150, 3500], 0.12)]


def _cowbell(rng: np.random.Generator) -> list[Wave]:
    bell = np.tanh(3 * _ping([562, 845, 1690, 2530], 0.22))
    return [bell, 0.6 * bell]


def _blips(score: Score, total: int, rng: np.random.Generator) -> Samples:
    """A machine that counts in sixteenths, in tones of the key."""
    out, tonic = _empty(total), 84 + score.key.tonic
    order = rng.permutation([0, 7, 12, 19, 12, 7, 24, 19])
    for number, (_, time) in enumerate(_steps(score, *range(16))):
        if number % 16 in (5, 13):
            continue
        tone = np.tanh(4 * _ping([_hertz(tonic + int(order[number % 8]))], 0.1))
        _put(out, tone, time, 1.0 if number % 4 == 0 else 0.6, 0.6 if number % 2 else -0.6)
    return out


# ---- with the chords -------------------------------------------------------------------------


def _bell(score: Score, total: int, rng: np.random.Generator) -> Samples:
    """A temple bell, on the root of every other bar's first chord."""
    out, last = _empty(total), -10.0
    for start, _, chord in _chords(score):
        if start - last >= 1.9 * 4 * score.beat_seconds:
            base = _hertz(72 + chord.root)
            _put(out, _ping([base * r for r in (0.5, 1.0, 1.19, 2.0, 2.74, 3.76)], 4.0, rng), start)
            last = start
    return out


def _glass(score: Score, total: int, rng: np.random.Generator) -> Samples:
    """Sparkles: high tones of the chord, now and then, from all sides."""
    out = _empty(total)
    for start, end, chord in _chords(score):
        for at in np.arange(start, end, score.beat_seconds / 2):
            if rng.random() < 0.4:
                pitch = 96 + int(rng.choice(chord.classes)) - 12 * int(rng.integers(2))
                tone = _ping([_hertz(pitch), 2.76 * _hertz(pitch), 5.4 * _hertz(pitch)], 1.1, rng)
                _put(out, tone, at, float(rng.uniform(0.5, 1.0)), float(rng.uniform(-0.8, 0.8)))
    return out


def _hum(score: Score, total: int, rng: np.random.Generator) -> Samples:
    """Low voices without words on root and fifth, the mouth closed."""
    out = _empty(total)
    for start, end, chord in _chords(score):
        t = np.arange(round((end - start + 0.25) * SAMPLE_RATE)) / SAMPLE_RATE
        wave = np.zeros(len(t))
        for interval, loud in ((0, 1.0), (7, 0.6)):
            for detune in (-0.06, 0.0, 0.07):
                base = _hertz(48 + chord.root + interval + detune)
                phase = 2 * np.pi * base * t + rng.uniform(0, 2 * np.pi)
                wave += loud * (np.sin(phase) + 0.5 * np.sin(2 * phase) + 0.25 * np.sin(3 * phase))
        fade = min(len(wave) // 2, round(0.2 * SAMPLE_RATE))
        wave[:fade] *= np.linspace(0, 1, fade)
        wave[-fade:] *= np.linspace(1, 0, fade)
        _put(out, wave, start)
    return out


def _shimmer(score: Score, total: int, rng: np.random.Generator) -> Samples:
    """A high veil of the chord that trembles slowly."""
    out = _empty(total)
    for start, end, chord in _chords(score):
        t = np.arange(round((end - start + 0.4) * SAMPLE_RATE)) / SAMPLE_RATE
        fade = min(len(t) // 2, round(0.35 * SAMPLE_RATE))
        for tone in chord.classes[:3]:
            base = _hertz(84 + tone)
            trembling = 1 + 0.6 * np.sin(2 * np.pi * rng.uniform(3.5, 6.0) * t + rng.uniform(0, 6))
            wave = (np.sin(2 * np.pi * base * t) + 0.3 * np.sin(2 * np.pi * 2.003 * base * t)) * trembling
            wave[:fade] *= np.linspace(0, 1, fade)
            wave[-fade:] *= np.linspace(1, 0, fade)
            _put(out, wave, start, 1.0, float(rng.uniform(-0.7, 0.7)))
    return out


def _every(score: Score, bars: int) -> list[float]:
    """Seconds of every so many bars, and of every section's beginning."""
    bar = score.bar_ticks
    spots = {n * bar for n in range(0, score.bars, bars)} | set(score.section_offsets())
    return [score.seconds(tick) for tick in sorted(spots)]


def _chimes(score: Score, total: int, rng: np.random.Generator) -> Samples:
    """A hand runs along hanging rods of metal."""
    out = _empty(total)
    for start in _every(score, 2):
        rods = np.geomspace(2600, 8200, 16) * rng.uniform(0.97, 1.03, 16)
        for number, rod in enumerate(rods if rng.random() < 0.5 else rods[::-1]):
            at = start + 0.07 * number + float(rng.uniform(0, 0.02))
            _put(out, _ping([rod, 1.41 * rod], 1.1, rng), at, 1.0, number / 8 - 1)
    return out


def _riser(score: Score, total: int, rng: np.random.Generator) -> Samples:
    """Noise that climbs through the last half bar before every other bar, and breaks off there."""
    out, seconds = _empty(total), 2 * score.beat_seconds
    noise = _noise(seconds, rng)[:, 0]
    t = np.linspace(0, 1, len(noise))
    bands = np.geomspace(500, 7000, 6)
    wave = sum(
        _band(noise, low, 1.7 * low) * np.exp(-0.5 * ((t - place) / 0.22) ** 2)
        for low, place in zip(bands, np.linspace(0, 1, 6))
    )
    wave = wave * t**1.5
    for start in _every(score, 2):
        _put(out, wave, start - seconds)
    return out


# Each sound, and its level beside the stem that it is put behind.
SOUNDS: dict[str, tuple[Sound, float]] = {
    "rain": (_texture(_rain), 0.4),
    "wind": (_texture(_wind), 0.6),
    "waves": (_texture(_waves), 0.6),
    "crackle": (_texture(_crackle), 0.6),
    "fire": (_texture(_fire), 0.6),
    "birds": (_texture(_birds), 0.8),
    "crickets": (_texture(_crickets), 0.4),
    "crowd": (_texture(_crowd), 0.5),
    "street": (_texture(_street), 0.7),
    "snaps": (_beaten({4: 1.0, 12: 1.0}, _snap), 1.2),
    "claps": (_beaten({4: 1.0, 12: 1.0}, _clap), 1.1),
    "stomp": (_beaten({0: 1.0, 2: 1.0, 4: 1.0, 8: 1.0, 10: 1.0, 12: 1.0}, _stomp), 1.1),
    "heartbeat": (_beaten({0: 1.0, 2: 1.0, 8: 1.0, 10: 1.0}, _heart), 1.4),
    "clock": (_beaten({0: 1.0, 4: 1.0, 8: 1.0, 12: 1.0}, _tick), 0.8),
    "jingle": (_beaten({s: 1.0 if s % 4 == 0 else 0.7 for s in range(0, 16, 2)}, _jingle), 0.7),
    "triangle": (_beaten({0: 1.0, 8: 0.8}, _triangle), 1.0),
    "boom": (_beaten({0: 1.0, 6: 1.0, 8: 1.0}, _boom), 1.6),
    "woodblock": (_beaten({2: 1.0, 6: 1.0, 10: 1.0, 14: 1.0}, _wood), 1.4),
    "cowbell": (_beaten({0: 1.0, 4: 1.0, 8: 1.0, 12: 1.0, 14: 0.7}, _cowbell), 0.8),
    "blips": (_blips, 1.0),
    "bell": (_bell, 0.9),
    "glass": (_glass, 0.9),
    "hum": (_hum, 0.7),
    "shimmer": (_shimmer, 0.5),
    "chimes": (_chimes, 1.0),
    "riser": (_riser, 0.8),
}
assert {name for names in ATMOSPHERES.values() for name in names} <= set(SOUNDS)
