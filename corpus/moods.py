"""What a mood does to a song: how bright and how stirring each word for a feeling is.

Feelings are placed by two numbers, valence and arousal (Russell 1980, "A circumplex model of affect"). In
music arousal is heard as tempo, loudness and density, valence as mode (Gabrielsson & Lindström 2010, "The
role of structure in the musical expression of emotions"): a stirring song is faster and fuller than others
of its genre, a sad one is more often in minor. The numbers are this project's own judgement.
"""

from dataclasses import dataclass

from common.theory import SCALES


@dataclass(frozen=True)
class Feeling:
    """A place on the circumplex."""

    valence: float  # -1 dark … 1 bright
    arousal: float  # -1 calm … 1 stirring

    @property
    def tone(self) -> str:
        """`bright`, `dark` or `calm`: which hooks the words may have."""
        return "bright" if self.valence > 0.25 else "dark" if self.valence < -0.25 else "calm"

    def liking(self, scale: str) -> float:
        """The weight of a scale beside the other scales of a genre; all weigh 1 where valence is 0."""
        return float(2.0 ** (2.5 * self.valence * _BRIGHTNESS[scale]))


# How bright a scale sounds: major thirds and sixths raise it.
_BRIGHTNESS = {
    "major": 0.9, "gong": 0.8, "mixolydian": 0.5, "dorian": -0.3, "blues": -0.4, "yu": -0.6, "minor": -1.0,
}  # fmt: skip
assert set(_BRIGHTNESS) == set(SCALES)

_TABLE = """
欢快 0.9 0.7   温暖 0.6 -0.2   浪漫 0.6 -0.2   青春 0.7 0.4    伤感 -0.8 -0.5  深情 -0.2 -0.3  思念 -0.5 -0.5
孤独 -0.8 -0.7 激昂 0.4 0.9    愤怒 -0.8 0.9   热血 0.4 1.0    自由 0.6 0.3    宁静 0.2 -0.9   怀旧 -0.3 -0.4
思乡 -0.5 -0.4 动感 0.5 0.8    梦幻 0.2 -0.4   狂欢 0.8 1.0    未来 0.0 0.3    慵懒 0.2 -0.8   优雅 0.2 -0.4
俏皮 0.8 0.5   性感 0.0 -0.1   忧郁 -0.7 -0.6  温柔 0.2 -0.6   酷 -0.1 0.2     自信 0.5 0.6    街头 0.0 0.4
深沉 -0.6 -0.5 苍凉 -0.7 -0.3  悠远 0.0 -0.6   飘逸 0.2 0.1    轻松 0.7 -0.1   悠闲 0.2 -0.7   阳光 0.8 0.4
快乐 0.9 0.6   开心 0.9 0.6    热烈 0.5 0.9    甜蜜 0.8 0.0    励志 0.5 0.7    活泼 0.8 0.7    治愈 0.5 -0.4
豪迈 0.4 0.8   幸福 0.8 0.1    兴奋 0.7 0.9    悲伤 -0.9 -0.6  凄美 -0.7 -0.5  忧伤 -0.8 -0.6  失落 -0.7 -0.5
孤寂 -0.8 -0.8 惆怅 -0.6 -0.4  低沉 -0.6 -0.6  压抑 -0.8 -0.2  沉重 -0.7 -0.3
"""
_WORDS = _TABLE.split()
FEELINGS: dict[str, Feeling] = {
    word: Feeling(float(valence), float(arousal))
    for word, valence, arousal in zip(_WORDS[::3], _WORDS[1::3], _WORDS[2::3], strict=True)
}
_NEUTRAL = Feeling(0.0, 0.0)


def feeling(mood: str) -> Feeling:
    """The place of a mood; a word that isn't in the table is neither bright nor dark, calm nor stirring."""
    return FEELINGS.get(mood, _NEUTRAL)
