"""Hypothesis strategies for lyrics and scores."""

from hypothesis import strategies as st

from common.abc_write import default_readings
from common.lyrics import TAGS, Lyrics, LyricSection
from common.score import HOLD, ChordChange, Groove, Note, Score, Section
from common.theory import CHORDS, NOTE_NAMES, SCALES, Key

HAN = "天地月光还行乐长海风你我的了着重觉都"
syllables = st.one_of(st.sampled_from(HAN), st.sampled_from(["love", "don't", "ah"]), st.sampled_from(HAN))
symbols = st.one_of(
    st.just("N"),
    st.builds(
        lambda root, quality, bass: root + quality + ("/" + bass if bass else ""),
        st.sampled_from(NOTE_NAMES),
        st.sampled_from(list(CHORDS)),
        st.sampled_from((None, *NOTE_NAMES)),
    ),
)
keys = st.builds(Key, st.integers(0, 11), st.sampled_from(list(SCALES)))
metres = st.sampled_from([(4, 4), (3, 4), (6, 8), (2, 4), (12, 8), (3, 8)])


@st.composite
def notes(draw: st.DrawFn, length: int, grid: tuple[int, ...] = (1, 2, 3, 3, 4, 6, 6, 8, 12, 12, 24)):  # type: ignore[no-untyped-def]
    """Notes of one section: played, sung and held, with lines; readings mostly the usual ones."""
    out: list[Note] = []
    position = draw(st.sampled_from((0, 0, 6, 12)))
    singing = False
    for _ in range(draw(st.integers(0, 14))):
        duration = draw(st.sampled_from(grid))
        if position + duration > length:
            break
        kind = draw(st.sampled_from("wwwwhp" if singing else "wwp"))
        syllable = {"w": draw(syllables), "h": HOLD, "p": None}[kind]
        ends = syllable is not None and draw(st.integers(0, 3)) == 0
        out.append(Note(position, duration, draw(st.integers(36, 96)), syllable, None, ends))
        singing = syllable is not None
        position += duration + draw(st.sampled_from((0, 0, 0, *grid)))
    return tuple(_read(out, draw(st.booleans())))


def _read(notes: list[Note], odd: bool) -> list[Note]:
    out: list[Note] = []
    line: list[Note] = []
    for note in [*notes, None]:
        if note is not None and note.sung:
            line.append(note)
        if note is None or note.ends_line:
            readings = default_readings([n.syllable or "" for n in line])
            if odd and readings and readings[0]:
                readings[0] = "huan2"
            out += [
                Note(n.start, n.duration, n.pitch, n.syllable, r, n.ends_line) for n, r in zip(line, readings)
            ]
            line = []
    return sorted(out + [n for n in notes if not n.sung], key=lambda n: n.start)


def grooves(steps: int) -> st.SearchStrategy[Groove]:
    row = st.text(alphabet=".xX", min_size=steps, max_size=steps)
    return st.builds(Groove, row, row, row)


@st.composite
def sections(draw: st.DrawFn, metre: tuple[int, int]) -> Section:
    bars = draw(st.integers(1, 6))
    length = bars * 48 * metre[0] // metre[1]
    changes = draw(st.dictionaries(st.integers(0, length - 1), symbols, max_size=5))
    return Section(
        draw(st.sampled_from(TAGS)),  # type: ignore[arg-type]
        bars,
        tuple(ChordChange(at, changes[at]) for at in sorted(changes)),
        draw(notes(length)),
        draw(st.one_of(st.none(), grooves(length // bars // 3))),
        draw(st.booleans()),
        draw(st.floats(0, 1)),
    )


@st.composite
def scores(draw: st.DrawFn) -> Score:
    metre = draw(metres)
    return Score(
        draw(st.one_of(st.integers(40, 200).map(float), st.floats(40, 200))),
        draw(keys),
        tuple(draw(st.lists(sections(metre), min_size=1, max_size=3))),
        metre,
        draw(st.sampled_from((0.0, 0.2, 1 / 3))),
        draw(st.floats(0, 2)),
        draw(st.floats(0, 4)),
        draw(st.sampled_from(("", "月光", "100% \\ 好", " 两行\n题 "))),
        draw(st.sampled_from(({}, {"genre": "民谣", "singer": "female"}))),
    )


_line = st.lists(
    st.sampled_from([*HAN, "，", "love", ":", "(", ")", "1", "[", "]"]), min_size=1, max_size=12
).map("".join)
lyrics = st.builds(
    lambda rows: Lyrics(tuple(LyricSection(tag, tuple(lines)) for tag, lines in rows)),  # type: ignore[arg-type]
    st.lists(st.tuples(st.sampled_from(TAGS), st.lists(_line, max_size=4)), min_size=1, max_size=5),
)
