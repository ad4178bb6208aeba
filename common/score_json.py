"""Dataclasses of a score out of JSON: the type of every field is checked, an error names its path."""

import dataclasses
import functools
import math
import types
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from common.errors import ScoreError

T = TypeVar("T")


def read(kind: type[T], value: Any, path: str = "", complete: tuple[type, ...] = ()) -> T:
    """The dataclass of a JSON object, field by field as its annotations say.

    Args:
        path: of the object within the whole, such as "sections[0].notes[3]".
        complete: dataclasses of which every field must be there, those with a default too.
    Raises:
        ScoreError: a field is missing, unknown or of another type; its path is named.
    """
    if not isinstance(value, dict):
        raise _wrong(path, "an object", value)
    hints, needed = _fields(kind)  # type: ignore[arg-type]  # a class is hashable
    for name in value:
        if name not in hints:
            raise ScoreError(f"{_below(path, name)} is unknown; known are {', '.join(hints)}")
    for name in hints if kind in complete else needed:
        if name not in value:
            raise ScoreError(f"{_below(path, name)} is missing")
    return kind(
        **{name: _typed(hints[name], item, _below(path, name), complete) for name, item in value.items()}
    )


@functools.cache
def _fields(kind: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The types of a dataclass's fields, and the names of those without a default."""
    fields = [f for f in dataclasses.fields(kind) if f.init]
    missing = dataclasses.MISSING
    needed = tuple(f.name for f in fields if f.default is missing and f.default_factory is missing)
    hints = get_type_hints(kind)
    return {f.name: hints[f.name] for f in fields}, needed


def _below(path: str, name: object) -> str:
    return f"{path}.{name}" if path else str(name)


def _typed(hint: Any, value: Any, path: str, complete: tuple[type, ...]) -> Any:
    """The value, when it is of the annotated type."""
    kind, of = get_origin(hint), get_args(hint)
    if kind is types.UnionType:  # of something and None
        kind = next(h for h in of if h is not types.NoneType)
        return None if value is None else _typed(kind, value, path, complete)
    if kind is tuple:
        return _list(of, value, path, complete)
    if kind is dict:
        if not isinstance(value, dict):
            raise _wrong(path, "an object", value)
        return {k: _typed(of[1], v, _below(path, k), complete) for k, v in value.items()}
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return read(hint, value, path, complete)
    # A section's tag and the like are text here: `Score` says which are known.
    return _plain(str if kind is Literal else hint, value, path)


def _list(of: tuple[Any, ...], value: Any, path: str, complete: tuple[type, ...]) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _wrong(path, "a list", value)
    if of[-1] is Ellipsis:
        of = of[:1] * len(value)
    if len(value) != len(of):
        raise _wrong(path, f"a list of {len(of)}", value)
    items = enumerate(zip(of, value))
    return tuple(_typed(h, item, f"{path}[{number}]", complete) for number, (h, item) in items)


_NAMES = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def _plain(kind: type, value: Any, path: str) -> Any:
    accepted = int | float if kind is float else kind
    right = isinstance(value, accepted) and (kind is bool or not isinstance(value, bool))
    if not right or (kind is float and not math.isfinite(value)):
        raise _wrong(path, _NAMES[kind], value)
    return value


def _wrong(path: str, needed: str, value: Any) -> ScoreError:
    shown = repr(value)
    shown = shown if len(shown) < 60 else shown[:57] + "..."
    return ScoreError(f"{path or 'a score'} needs {needed}, but {shown} came")
