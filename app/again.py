"""A song made again from the recipe in its file.

    baihua again rain.flac --out rain-again.flac

The same weights, versions and machine give the same samples; what differs is said before it starts.
"""

from typing import TYPE_CHECKING, Any

from app.request import Request
from common.abc import from_abc
from common.errors import RequestError
from common.lyrics import Lyrics

if TYPE_CHECKING:
    from app.pipeline import SongPipeline


def request_of(recipe: dict[str, Any]) -> Request:
    """The request of a recipe, with the user's own words and score where there were some.

    Raises:
        RequestError: the recipe lacks something that the request needs, or names what no request has.
        SongError: what it asks for can't be served.
    """
    try:
        asked = dict(recipe["request"])
        own_lyrics, own_score = asked.pop("own_lyrics"), asked.pop("own_score")
        lyrics = Lyrics.parse(recipe["lyrics"]) if own_lyrics else None
        score = from_abc(recipe["score"]) if own_score else None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RequestError(f"the recipe lacks {error}: it isn't whole") from error
    if "generator" in asked:
        raise RequestError("the song was made from a caller's own noise: its recipe can't make it again")
    try:
        return Request(lyrics=lyrics, score=score, **asked)
    except TypeError as error:
        raise RequestError(f"the recipe is of another version of Baihua: {error}") from error


def differences(recipe: dict[str, Any], pipeline: "SongPipeline") -> list[str]:
    """Sentences about what isn't as it was when the song was made."""
    made, now = recipe.get("models"), pipeline.model_hashes
    parts = {name.split("/")[0] for name in now if isinstance(made, dict) and made.get(name) != now[name]}
    said = [f"the song was made with another {part}: it will sound different" for part in sorted(parts)]
    stack, present = recipe.get("stack", {}), pipeline.stack
    said += [
        f"{name} was {stack.get(name)}, is {value}: samples may differ in their last bits"
        for name, value in present.items()
        if stack.get(name) != value
    ]
    return said
