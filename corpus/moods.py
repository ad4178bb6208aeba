"""What a mood does to a song: how bright, stirring, strong and far away each word for a feeling is.

Feelings are placed by valence, arousal and dominance (Russell and Mehrabian 1977, "Evidence for a
three-factor theory of emotions"). In what is written arousal is heard as tempo, loudness and density, valence
as mode (Gabrielsson and Lindström 2010, "The role of structure in the musical expression of emotions"): a
stirring song is faster and fuller than others of its genre, a sad one is more often in minor. How it is
played and sung says as much (`corpus.manner`); there a fourth number counts, too: from how far away a song
seems to come. The numbers are this project's own judgement.
"""

import re
from dataclasses import dataclass

from common.theory import SCALES


@dataclass(frozen=True)
class Feeling:
    """A place among feelings; 0 is neither."""

    valence: float  # -1 dark … 1 bright
    arousal: float  # -1 calm … 1 stirring
    dominance: float = 0.0  # -1 tender … 1 strong
    distance: float = 0.0  # -1 close to the ear … 1 far away

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
欢快 0.9 0.7 0 -0.5   温暖 0.6 -0.2 -0.2 -0.9   浪漫 0.6 -0.2 -0.7 0.5   青春 0.7 0.4 0.3 0.5
伤感 -0.8 -0.5 -0.2 -0.8   深情 -0.2 -0.3 0.8 0.2   思念 -0.5 -0.5 -0.6 0.3   孤独 -0.8 -0.7 0 1
激昂 0.4 0.9 0.6 0.7   愤怒 -0.8 0.9 1 -0.6   热血 0.4 1 1 -0.6   自由 0.6 0.3 -0.1 0.9
宁静 0.2 -0.9 -0.7 0.4   怀旧 -0.3 -0.4 -0.4 -0.4   思乡 -0.5 -0.4 0.5 -0.5   动感 0.5 0.8 0.3 -0.6
梦幻 0.2 -0.4 -0.6 1   狂欢 0.8 1 0.4 0.7   未来 0 0.3 0.4 0.5   慵懒 0.2 -0.8 -0.3 -0.7
优雅 0.2 -0.4 0.4 -0.1   俏皮 0.8 0.5 -0.8 -0.7   性感 0 -0.1 0.3 -1   忧郁 -0.7 -0.6 -0.1 0.5
温柔 0.2 -0.6 -0.9 -0.4   酷 -0.1 0.2 0 0.8   自信 0.5 0.6 0.9 0.1   街头 0 0.4 0.2 -0.9
深沉 -0.6 -0.5 0.6 0.3   苍凉 -0.7 -0.3 0.7 0.8   悠远 0 -0.6 -0.6 1   飘逸 0.2 0.1 -0.8 0.3
轻松 0.7 -0.1 -0.5 0.2   悠闲 0.2 -0.7 -0.4 -0.6   阳光 0.8 0.4 0.4 0.1   快乐 0.9 0.6 0.1 -0.4
开心 0.9 0.6 0 -0.5   热烈 0.5 0.9 0.6 0.1   甜蜜 0.8 0 -0.7 -0.6   励志 0.5 0.7 0.7 0.4
活泼 0.8 0.7 -0.4 -0.5   治愈 0.5 -0.4 -0.5 -0.2   豪迈 0.4 0.8 0.9 0.6   幸福 0.8 0.1 -0.1 -0.3
兴奋 0.7 0.9 0.4 -0.2   悲伤 -0.9 -0.6 -0.5 0.1   凄美 -0.7 -0.5 -0.6 0.6   忧伤 -0.8 -0.6 -0.4 0.3
失落 -0.7 -0.5 -0.5 0.2   孤寂 -0.8 -0.8 -0.7 0.9   惆怅 -0.6 -0.4 -0.4 0.4   低沉 -0.6 -0.6 0.5 0.1
压抑 -0.8 -0.2 0.3 -0.5   沉重 -0.7 -0.3 0.7 0.2
"""
FEELINGS: dict[str, Feeling] = {
    word: Feeling(*map(float, numbers))
    for word, *numbers in map(str.split, re.split(r"\n|   ", _TABLE.strip()))
}
_NEUTRAL = Feeling(0.0, 0.0)


def feeling(mood: str) -> Feeling:
    """The place of a mood; a word that isn't in the table is neither bright nor dark, calm nor stirring."""
    return FEELINGS.get(mood, _NEUTRAL)
