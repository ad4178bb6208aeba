"""The genres of the synthetic corpus: what each one plays, how fast, in which mode and mood.

A table, not an algorithm: a row names tempi, scales with their progressions, grooves by energy, and the
instruments of each role as General MIDI programs with the names that listeners use. A progression belongs
to one scale, and its numerals are read in that scale, so that a song's labelled key is the key that it is
heard in.
"""

from common.score import Groove
from corpus.styles import Comping, Genre, Grooves, Instrument, Kit, Progressions


def _grooves(*rows: str) -> Grooves:
    """Rows of a level of energy and `kick|snare|hat`, sixteen steps each."""
    levels: dict[str, list[Groove]] = {"low": [], "middle": [], "high": []}
    for row in rows:
        level, steps = row.split()
        levels[level].append(Groove(*steps.split("|")))
    return Grooves(**{level: tuple(grooves) for level, grooves in levels.items()})


def _progressions(*rows: str) -> Progressions:
    """Rows of a kind of section and its progressions, parted by `|`."""
    kinds: dict[str, tuple[str, ...]] = {"verse": (), "pre": (), "chorus": (), "bridge": ()}
    for row in rows:
        kind, _, rest = row.partition(" ")
        kinds[kind] += tuple(progression.strip() for progression in rest.split("|"))
    return Progressions(**kinds)


# ---- instruments by the names that listeners use ---------------------------------------------

_PIANO, _EP, _EP2 = Instrument(0, "钢琴"), Instrument(4, "电钢琴"), Instrument(5, "电钢琴")
_ORGAN, _ACCORDION, _HARMONICA = Instrument(16, "风琴"), Instrument(21, "手风琴"), Instrument(22, "口琴")
_NYLON, _STEEL = Instrument(24, "古典吉他"), Instrument(25, "木吉他")
_JAZZ_GUITAR, _CLEAN, _MUTED = (
    Instrument(26, "爵士吉他"),
    Instrument(27, "电吉他"),
    Instrument(28, "闷音吉他"),
)
_OVERDRIVE, _DISTORTED = Instrument(29, "电吉他"), Instrument(30, "失真吉他")
_UPRIGHT, _FINGER, _PICKED = Instrument(32, "低音提琴"), Instrument(33, "贝斯"), Instrument(34, "贝斯")
_FRETLESS, _SLAP, _SYNTH_BASS, _SYNTH_BASS2 = (
    Instrument(35, "无品贝斯"),
    Instrument(36, "贝斯"),
    Instrument(38, "合成贝斯"),
    Instrument(39, "合成贝斯"),
)
_VIOLIN, _CELLO, _FIDDLE = Instrument(40, "小提琴"), Instrument(42, "大提琴"), Instrument(110, "小提琴")
_ERHU, _PIZZICATO, _HARP = Instrument(110, "二胡"), Instrument(45, "拨弦"), Instrument(46, "竖琴")
_STRINGS, _SLOW_STRINGS, _CHOIR = Instrument(48, "弦乐"), Instrument(49, "弦乐"), Instrument(52, "合唱")
_TRUMPET, _MUTED_TRUMPET, _TROMBONE = (
    Instrument(56, "小号"),
    Instrument(59, "弱音小号"),
    Instrument(57, "长号"),
)
_BRASS, _ALTO, _TENOR = Instrument(61, "铜管"), Instrument(65, "萨克斯"), Instrument(66, "萨克斯")
_OBOE, _CLARINET, _FLUTE = Instrument(68, "双簧管"), Instrument(71, "单簧管"), Instrument(73, "长笛")
_DIZI, _XIAO, _PAN_FLUTE = Instrument(72, "笛子"), Instrument(77, "箫"), Instrument(75, "排箫")
_SQUARE, _SAW, _POLY, _PLUCK = (
    Instrument(80, "合成器"),
    Instrument(81, "合成器"),
    Instrument(90, "合成器"),
    Instrument(84, "合成器"),
)
_WARM, _BOWED, _SWEEP = Instrument(89, "铺底音色"), Instrument(92, "铺底音色"), Instrument(95, "铺底音色")
_VIBRAPHONE, _CELESTA, _MUSIC_BOX = (
    Instrument(11, "颤音琴"),
    Instrument(8, "钢片琴"),
    Instrument(10, "音乐盒"),
)
_CLAVINET, _BANJO = Instrument(7, "击弦键琴"), Instrument(105, "班卓琴")
_PIPA, _GUZHENG = Instrument(106, "琵琶"), Instrument(107, "古筝")

# ---- kits ------------------------------------------------------------------------------------

_STANDARD, _ROOM = Kit(0, "架子鼓"), Kit(8, "架子鼓")
_POWER = Kit(16, "架子鼓")
_ELECTRONIC = Kit(24, "电子鼓", snare=40)
_TR808 = Kit(25, "电子鼓", snare=39, toms=(50, 48, 45, 41), ghosts=False)
_BRUSH = Kit(40, "爵士鼓", hat=51, open_hat=51)
_JAZZ = Kit(32, "爵士鼓", hat=51, open_hat=51)
_RIM = Kit(0, "架子鼓", snare=37)
_SHAKER = Kit(0, "沙锤与打击乐", snare=37, hat=70, open_hat=70, ghosts=False)
_CHINESE = Kit(
    48, "中国鼓", kick=41, snare=76, hat=81, open_hat=81, crash=52, toms=(47, 45, 43, 41), ghosts=False
)

# ---- progressions shared by several rows -----------------------------------------------------

_POP_MAJOR = _progressions(
    "verse  I V vi IV | I vi IV V | vi IV I V | I iii IV V | I IV vi V | Iadd9 V vi7 IV",
    "pre    ii V iii vi | IV V iii vi | ii iii IV Vsus4_V",
    "chorus IV V iii vi | I V vi IV | IVmaj7 V iii7 vi | I V vi iii | IV I V vi | vi IV I V",
    "bridge vi V IV V | ii vi IV V | IV IV V V | iii vi ii V",
)
_POP_MINOR = _progressions(
    "verse  i VI III VII | i iv VI V | i VII VI VII | i v VI III",
    "pre    iv VI VII VII | VI VII i i | iv v VI VII",
    "chorus VI VII i i | i VI III VII | VI VII III i | iv VII III VI",
    "bridge VI VI VII VII | iv i VII V | III VII iv V",
)
_FOLK_MAJOR = _progressions(
    "verse  I IV I V | I vi IV V | I I IV V | I V IV I",
    "pre    vi IV ii V | IV V IV V",
    "chorus IV I V I | IV V I vi | I IV I_V I | vi IV I V",
    "bridge vi iii IV V | ii V ii V",
)

# ---- the table -------------------------------------------------------------------------------

_ROWS = (
    Genre(
        "流行",
        "pop",
        moods=("欢快", "温暖", "浪漫", "青春"),
        tempo=(86, 122),
        harmony={
            "major": _POP_MAJOR,
            "minor": _POP_MINOR,
        },
        grooves=_grooves(
            "low    X.......X.......|................|x...x...x...x...",
            "low    X...........x...|........X.......|x.x.x.x.x.x.x.x.",
            "middle X.....x.X.......|....X.......X...|x.x.x.x.x.x.x.x.",
            "middle X..x....X.x.....|....X.......X...|x.x.x.x.x.x.x.x.",
            "high   X.....X.X.X.....|....X.......X...|X.x.X.x.X.x.X.x.",
            "high   X..X..X...X.....|....X.......X..x|xxXxxxXxxxXxxxXx",
            "high   X...X...X...X...|....X.......X...|..X...X...X...X.",
        ),
        kits=(_STANDARD, _ROOM, _ELECTRONIC),
        comping=(
            Comping(_PIANO, ("block", "broken", "arpeggio")),
            Comping(_EP, ("block", "broken")),
            Comping(_STEEL, ("strum", "picking")),
            Comping(_CLEAN, ("picking", "arpeggio")),
        ),
        basses=(_FINGER, _PICKED, _SYNTH_BASS),
        bass_styles=("root", "eighths", "octaves"),
        leads=(_FLUTE, _SQUARE, _VIOLIN, _CLEAN),
        pads=(_STRINGS, _WARM, None),
    ),
    Genre(
        "抒情",
        "ballad",
        moods=("伤感", "深情", "思念", "孤独"),
        tempo=(60, 82),
        harmony={
            "major": _POP_MAJOR,
            "minor": _POP_MINOR,
        },
        grooves=_grooves(
            "low    ................|................|x...x...x...x...",
            "low    X...............|................|x...x...x...x...",
            "middle X.........x.....|........X.......|x...x...x...x...",
            "middle X.....x...x.....|....X.......X...|x.x.x.x.x.x.x.x.",
            "high   X.....x.X.x.....|....X.......X...|X.x.X.x.X.x.X.x.",
            "high   X..x..x.X.x.....|....X.......X...|xxxxXxxxxxxxXxxx",
        ),
        kits=(_STANDARD, _ROOM, _RIM),
        comping=(
            Comping(_PIANO, ("broken", "arpeggio", "block")),
            Comping(_EP, ("broken", "block")),
            Comping(_NYLON, ("picking", "arpeggio")),
            Comping(_HARP, ("arpeggio",)),
        ),
        basses=(_FINGER, _FRETLESS, _UPRIGHT),
        bass_styles=("long", "root"),
        leads=(_VIOLIN, _CELLO, _OBOE, _CLARINET),
        pads=(_SLOW_STRINGS, _STRINGS, _CHOIR),
        density=0.85,
        drumless=0.5,
    ),
    Genre(
        "摇滚",
        "rock",
        moods=("激昂", "愤怒", "热血", "自由"),
        tempo=(112, 164),
        harmony={
            "minor": _progressions(
                "verse  i5 VII5 VI5 VII5 | i5 i5 VI5 VII5 | i5 VI5 III5 VII5 | i5 iv5 VI5 VII5",
                "pre    VI5 VI5 VII5 VII5 | iv5 VI5 VII5 VII5",
                "chorus VI5 VII5 i5 i5 | i5 VI5 III5 VII5 | VI5 III5 VII5 i5",
                "bridge iv5 iv5 VI5 VII5 | VI5 VI5 VII5 VII5",
            ),
            "mixolydian": _progressions(
                "verse  I5 VII5 IV5 I5 | I5 I5 VII5 IV5",
                "pre    IV5 IV5 VII5 VII5",
                "chorus I5 VII5 IV5 I5 | VII5 IV5 I5 I5 | I5 IV5 VII5 IV5",
                "bridge IV5 VII5 IV5 VII5",
            ),
        },
        grooves=_grooves(
            "low    X.......X.......|....x.......x...|x.x.x.x.x.x.x.x.",
            "low    X.......X.......|................|X...X...X...X...",
            "middle X.x...x.X.x.....|....X.......X...|x.x.x.x.x.x.x.x.",
            "middle X.......X.x.....|....X.......X...|X.x.X.x.X.x.X.x.",
            "high   X.X...X.X.X...X.|....X.......X...|X.X.X.X.X.X.X.X.",
            "high   X.X.X.X.X.X.X.X.|....X.......X...|X...X...X...X...",
            "high   X..X..X.X..X..X.|....X..x....X...|X.X.X.X.X.X.X.X.",
        ),
        kits=(_POWER, _ROOM, _STANDARD),
        comping=(Comping(_DISTORTED, ("power", "chug")), Comping(_OVERDRIVE, ("power", "chug", "ring"))),
        basses=(_PICKED, _FINGER),
        bass_styles=("eighths", "root"),
        leads=(_OVERDRIVE, _DISTORTED, _ORGAN),
        pads=(None, None, _ORGAN),
        fills=0.8,
        drumless=0.05,
    ),
    Genre(
        "民谣",
        "folk",
        moods=("宁静", "怀旧", "温暖", "思乡"),
        tempo=(76, 112),
        harmony={
            "major": _FOLK_MAJOR,
            "mixolydian": _progressions(
                "verse  I VII IV I | I v IV I",
                "chorus IV I VII I | I VII I IV",
                "bridge IV VII IV VII",
            ),
        },
        grooves=_grooves(
            "low    ................|................|x.x.x.x.x.x.x.x.",
            "low    X...............|................|x...x...x...x...",
            "middle X.......X.......|....x.......x...|x.x.x.x.x.x.x.x.",
            "middle X.......x.......|............x...|x.xxx.xxx.xxx.xx",
            "high   X.......X.x.....|....X.......X...|x.X.x.X.x.X.x.X.",
            "high   X...x...X...x...|....X.......X...|xxXxxxXxxxXxxxXx",
        ),
        kits=(_SHAKER, _BRUSH),
        comping=(
            Comping(_STEEL, ("picking", "strum")),
            Comping(_NYLON, ("picking", "arpeggio")),
            Comping(_ACCORDION, ("block",)),
        ),
        basses=(_UPRIGHT, _FINGER),
        bass_styles=("fifths", "long"),
        leads=(_HARMONICA, _FLUTE, _FIDDLE, _ACCORDION),
        fills=0.15,
        drumless=0.5,
    ),
    Genre(
        "电子",
        "electronic",
        moods=("动感", "梦幻", "狂欢", "未来"),
        tempo=(118, 134),
        harmony={
            "minor": _POP_MINOR,
            "major": _progressions(
                "verse  vi IV I V | I V vi IV",
                "pre    IV IV V V",
                "chorus IV V vi I | vi IV I V | IV I V vi",
                "bridge IV V vi vi",
            ),
        },
        grooves=_grooves(
            "low    X...X...X...X...|................|................",
            "low    X...X...X...X...|................|..x...x...x...x.",
            "middle X...X...X...X...|....x.......x...|..X...X...X...X.",
            "middle X...X...X...X..x|....X.......X...|x.X.x.X.x.X.x.X.",
            "high   X...X...X...X...|....X.......X...|x.Xxx.Xxx.Xxx.Xx",
            "high   X...X...X...X...|....X.......X..x|..X...X...X...X.",
            "high   X..X..X...X..X..|....X.......X...|xxXxxxXxxxXxxxXx",
        ),
        kits=(_ELECTRONIC, _TR808),
        comping=(
            Comping(_SAW, ("pump", "stab")),
            Comping(_POLY, ("pump", "arpeggio")),
            Comping(_PIANO, ("stab", "pump")),
            Comping(_EP, ("stab", "arpeggio")),
        ),
        basses=(_SYNTH_BASS, _SYNTH_BASS2),
        bass_styles=("offbeat", "octaves", "eighths"),
        leads=(_SAW, _SQUARE, _PLUCK, _CELESTA, _VIOLIN),
        pads=(_WARM, _SWEEP, _BOWED),
        fills=0.6,
    ),
    Genre(
        "爵士",
        "jazz",
        moods=("慵懒", "优雅", "俏皮", "浪漫"),
        tempo=(86, 144),
        harmony={
            "major": _progressions(
                "verse  ii7 V7 Imaj7 vi7 | Imaj7 vi7 ii7 V7",
                "verse  Imaj7 IVmaj7 iii7_vi7 ii7_V7 | ii9 V7 Imaj9 Imaj9",
                "pre    IVmaj7 iii7 ii7 V7",
                "chorus iii7 vi7 ii7 V7 | ii7 V7 Imaj7 I6 | IVmaj7 V7 iii7 vi7",
                "bridge iii7 iii7 vi7 vi7 | ii7 ii7 V7 V7",
            ),
            "dorian": _progressions(
                "verse  i7 IV7 i7 IV7 | i7 ii7 i7 IV7 | i9 i9 IV7 IV7",
                "chorus IV7 IV7 i7 i7 | i7 ii7 VIImaj7 i7 | ii7 IV7 i7 i7",
                "bridge VIImaj7 VIImaj7 IV7 IV7",
            ),
        },
        grooves=_grooves(
            "low    ................|................|X...X...X...X...",
            "low    x...............|................|X...X.x.X...X.x.",
            "middle x.......x.......|....x.......x...|X...X.x.X...X.x.",
            "middle x.........x.....|......x......x..|X...X.x.X...X.x.",
            "high   X...x...X...x...|....x..x....X...|X...X.x.X...X.x.",
            "high   X.....x.X.......|....X.....x.X...|X.x.X.x.X.x.X.x.",
        ),
        kits=(_JAZZ, _BRUSH),
        comping=(
            Comping(_PIANO, ("comp", "block")),
            Comping(_JAZZ_GUITAR, ("comp", "four")),
            Comping(_VIBRAPHONE, ("comp",)),
        ),
        basses=(_UPRIGHT, _FRETLESS),
        bass_styles=("walk", "two"),
        leads=(_TENOR, _MUTED_TRUMPET, _ALTO, _CLARINET),
        swing=(0.22, 0.33),
        fills=0.4,
    ),
    Genre(
        "节奏布鲁斯",
        "R&B",
        moods=("性感", "浪漫", "忧郁", "温柔"),
        tempo=(64, 94),
        harmony={
            "minor": _progressions(
                "verse  i7 iv7 VII7 IIImaj7 | VImaj7 v7 i7 i7 | i9 iv9 i9 v7",
                "pre    iv7 v7 VImaj7 VII",
                "chorus VImaj7 VII i7 i7 | iv7 VII7 IIImaj7 VImaj7 | VImaj7 v7 iv7 i7",
                "bridge iv7 iv7 v7 v7",
            ),
            "major": _progressions(
                "verse  Imaj7 iii7 vi7 IVmaj7 | IVmaj7 iii7 ii7 Imaj7",
                "chorus IVmaj7 V vi7 iii7 | ii9 V7 Imaj9 vi7 | IVmaj7 iii7 vi7 Imaj7",
                "bridge ii7 iii7 IVmaj7 V7",
            ),
        },
        grooves=_grooves(
            "low    X......x..X.....|....x.......x...|x.x.x.x.x.x.x.x.",
            "low    X...............|....x.......x...|................",
            "middle X.....x...X.....|....X.......X...|x.xxx.x.x.xxx.x.",
            "middle X..x......X..x..|....X.......X...|x.x.x.x.x.x.x.xx",
            "high   X.....X..xX.....|....X.......X..x|xxxxxxxxxxxxxxxx",
            "high   X..x..x...X..x..|....X..x.x..X...|xxXxxxXxxxXxxxXx",
        ),
        kits=(_TR808, _ELECTRONIC, _STANDARD),
        comping=(
            Comping(_EP, ("block", "lazy")),
            Comping(_EP2, ("block", "lazy")),
            Comping(_CLEAN, ("lazy", "arpeggio")),
            Comping(_PIANO, ("block", "lazy")),
        ),
        basses=(_SYNTH_BASS2, _FINGER, _FRETLESS),
        bass_styles=("syncopated", "long"),
        leads=(_JAZZ_GUITAR, _TENOR, _FLUTE),
        pads=(_WARM, _STRINGS, None),
        swing=(0.08, 0.2),
    ),
    Genre(
        "嘻哈",
        "hip-hop",
        moods=("酷", "自信", "街头", "深沉"),
        tempo=(78, 100),
        harmony={
            "minor": _progressions(
                "verse  i i VI VII | i VI i VII | i i iv v",
                "chorus i VI iv VII | VI VII i i | i iv VI v",
                "bridge VI VI v v",
            ),
            "dorian": _progressions(
                "verse  i7 i7 IV7 IV7 | i i IV i",
                "chorus i7 IV7 i7 VII | VII IV i i",
                "bridge VII VII IV IV",
            ),
        },
        grooves=_grooves(
            "low    X..x......x.....|....x.......x...|................",
            "low    X.........X.....|....X.......X...|x...x...x...x...",
            "middle X..x......XX....|....X.......X...|x.x.x.xxx.x.x.xx",
            "middle X.....x.X..x....|....X.......X...|x.x.x.x.x.x.x.x.",
            "high   X..X......XX..x.|....X.......X...|x.x.xxx.x.x.xxxx",
            "high   X.X....X..X.....|....X..x....X...|xxX.xxX.xxX.xxXx",
            "high   X..X..X...X..X..|....X.......X..x|x.xxx.xxx.xxx.xx",
        ),
        kits=(_TR808, _ELECTRONIC, _ROOM),
        comping=(
            Comping(_EP, ("stab", "block")),
            Comping(_PIZZICATO, ("stab", "arpeggio")),
            Comping(_PIANO, ("stab", "arpeggio")),
        ),
        basses=(_SYNTH_BASS, _SYNTH_BASS2),
        bass_styles=("syncopated", "long"),
        leads=(_PAN_FLUTE, _VIBRAPHONE, _SQUARE),
        pads=(None, _STRINGS, _CHOIR),
        swing=(0.05, 0.2),
        density=1.5,
    ),
    Genre(
        "古风",
        "Chinese traditional",
        moods=("苍凉", "悠远", "思乡", "飘逸"),
        tempo=(62, 92),
        harmony={
            "gong": _progressions(
                "verse  I vi ii V | I IV vi V | I vi IV Isus2 | vi V IV I",
                "pre    ii vi IV V",
                "chorus IV V vi I | vi IV V I | I V vi IV | IV I V vi",
                "bridge ii vi ii V | IV vi V V",
            ),
            "yu": _progressions(
                "verse  i VII VI VII | i III VII i | i v VI VII | i VI III VII",
                "pre    iv VI VII VII",
                "chorus VI VII i i | i III VII i | VI VII III i | iv VII III i",
                "bridge VI III iv VII | III VII VI VII",
            ),
        },
        grooves=_grooves(
            "low    X...............|................|................",
            "low    X.......x.......|................|................",
            "middle X.......x..x....|......x.......x.|................",
            "middle X.....x.X.......|....x.......x...|................",
            "high   X.....x.X..x..x.|....x..x....x...|X.......x.......",
            "high   X..x..X.X.x.x.x.|......x.......x.|X...............",
            "high   X.....x.X.......|....X.......X...|x.x.x.x.x.x.x.x.",
        ),
        kits=(_CHINESE,),
        comping=(
            Comping(_GUZHENG, ("roll", "arpeggio")),
            Comping(_PIPA, ("arpeggio", "picking")),
            Comping(_HARP, ("arpeggio", "roll")),
            Comping(_PIANO, ("broken", "arpeggio")),
        ),
        basses=(_UPRIGHT, _CELLO, _FINGER),
        bass_styles=("long", "root"),
        leads=(_DIZI, _XIAO, _ERHU, _PIPA),
        pads=(_STRINGS, _SLOW_STRINGS, None),
        density=0.9,
        fills=0.3,
        drumless=0.5,
    ),
    Genre(
        "乡村",
        "country",
        moods=("欢快", "自由", "怀旧", "轻松"),
        tempo=(92, 134),
        harmony={
            "major": _FOLK_MAJOR,
            "mixolydian": _progressions(
                "verse  I I VII IV | I IV I VII",
                "chorus IV I VII I | I VII IV I",
                "bridge IV IV VII VII",
            ),
        },
        grooves=_grooves(
            "low    X.......X.......|....x.......x...|................",
            "low    X.......X.......|................|x...x...x...x...",
            "middle X...x...X...x...|x.xxX.xxx.xxX.xx|................",
            "middle X.......X.......|....X.......X...|x.x.x.x.x.x.x.x.",
            "high   X...X...X...X...|x.xxX.xxx.xxX.xx|x...x...x...x...",
            "high   X.....x.X.....x.|....X.......X...|X.x.X.x.X.x.X.x.",
        ),
        kits=(_BRUSH, _STANDARD, _ROOM),
        comping=(
            Comping(_STEEL, ("strum", "picking")),
            Comping(_BANJO, ("picking",)),
            Comping(_CLEAN, ("picking", "boomchick")),
        ),
        basses=(_UPRIGHT, _FINGER),
        bass_styles=("fifths", "root"),
        leads=(_FIDDLE, _HARMONICA, _CLEAN),
        swing=(0.0, 0.16),
        fills=0.4,
    ),
    Genre(
        "雷鬼",
        "reggae",
        moods=("悠闲", "阳光", "轻松", "自由"),
        tempo=(68, 92),
        harmony={
            "major": _progressions(
                "verse  I IV I V | I ii I ii | I V IV V",
                "pre    ii V ii V",
                "chorus I V vi IV | IV I V I | I IV V I",
                "bridge vi ii IV V",
            ),
            "minor": _progressions(
                "verse  i VII i VII | i iv i v | i VI VII i",
                "chorus VI VII i i | i iv VII i",
                "bridge iv iv v v",
            ),
        },
        grooves=_grooves(
            "low    ........X.......|................|x.x.x.x.x.x.x.x.",
            "low    ........x.......|........x.......|x...x...x...x...",
            "middle ........X.......|........X.......|x.xxx.xxx.xxx.xx",
            "middle ........X.......|........X.......|X.x.X.x.X.x.X.x.",
            "high   X...X...X...X...|........X.......|x.Xxx.Xxx.Xxx.Xx",
            "high   X.......X.......|....x...X...x..x|x.xxx.xxx.xxx.xx",
        ),
        kits=(_RIM, _STANDARD),
        comping=(
            Comping(_ORGAN, ("skank", "bubble")),
            Comping(_CLEAN, ("skank",)),
            Comping(_PIANO, ("skank", "bubble")),
        ),
        basses=(_FINGER, _PICKED),
        bass_styles=("reggae", "syncopated"),
        leads=(_TRUMPET, _ALTO, _TROMBONE, _HARMONICA),
        pads=(None, _ORGAN),
        swing=(0.05, 0.2),
    ),
    Genre(
        "放克",
        "funk",
        moods=("动感", "俏皮", "自信", "狂欢"),
        tempo=(94, 120),
        harmony={
            "dorian": _progressions(
                "verse  i7 i7 IV7 IV7 | i7 IV7 i7 IV7 | i9 i9 i9 IV7",
                "pre    IV7 IV7 VII VII",
                "chorus i7 VII IV7 i7 | IV7 VII i7 i7 | i7 III IV7 i7",
                "bridge ii7 ii7 IV7 IV7",
            ),
            "mixolydian": _progressions(
                "verse  I7 I7 IV IV | I9 I9 v7 IV",
                "chorus I7 VII IV I7 | VII IV I7 I7 | IV v7 I7 I7",
                "bridge ii7 ii7 IV IV",
            ),
        },
        grooves=_grooves(
            "low    X.....x...x.....|....x.......x...|x.x.x.x.x.x.x.x.",
            "low    X..x............|....X.......X...|x...x...x...x...",
            "middle X..x..x...x..x..|....X..x.x..X...|x.x.x.x.x.x.x.x.",
            "middle X.....X...X.....|....X..x....X..x|xxx.xxx.xxx.xxx.",
            "high   X..X..x...X..X..|....X..x.x..X..x|xxxxxxXxxxxxxxXx",
            "high   X.X....X..X..x..|....X..x.x.xX..x|XxxxXxxxXxxxXxxx",
        ),
        kits=(_STANDARD, _ROOM),
        comping=(
            Comping(_CLEAN, ("scratch", "stab")),
            Comping(_CLAVINET, ("scratch", "stab")),
            Comping(_MUTED, ("scratch",)),
            Comping(_EP, ("stab",)),
        ),
        basses=(_SLAP, _FINGER),
        bass_styles=("funk", "syncopated", "octaves"),
        leads=(_BRASS, _ALTO, _TRUMPET),
        pads=(None, _ORGAN),
        swing=(0.0, 0.14),
        density=1.15,
    ),
)

GENRES: dict[str, Genre] = {genre.name: genre for genre in _ROWS}
MOODS: tuple[str, ...] = tuple(dict.fromkeys(mood for genre in _ROWS for mood in genre.moods))
INSTRUMENT_NAMES: tuple[str, ...] = tuple(
    dict.fromkeys(
        name
        for genre in _ROWS
        for name in (
            *(c.instrument.name for c in genre.comping),
            *(i.name for i in (*genre.basses, *genre.leads)),
            *(p.name for p in genre.pads if p),
            *(k.name for k in genre.kits),
        )
    )
)
