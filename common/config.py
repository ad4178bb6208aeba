"""Typed configurations: a frozen dataclass per room, a YAML of differences, `--key value` on top.

python -m vae.train --config vae/configs/demo.yaml --lr 3e-4 --model.depth 3

In the name of a setting a dash stands for an underscore. A setting that is true or false may be given bare
(`--allow-missing` is `--allow_missing true`), and a list as it is said: `--also a.jsonl b.jsonl` is
`--also '[a.jsonl, b.jsonl]'`.
"""

import itertools
import json
import sys
from argparse import ArgumentError
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from common.errors import ConfigError

Config = TypeVar("Config")


def parse(config: type[Config], argv: Sequence[str] | None = None) -> Config:
    """Build a dataclass from `--config FILE.yaml` and `--key value` (nested: `--model.depth 3`).

    A boolean may come without its value: `--key` is `--key true`; the values of a list may
    follow each other. Later arguments win over earlier ones. `--help` prints every setting with its comment.

    Args:
        config: a dataclass; nested dataclasses become dotted keys.
        argv: the arguments; those of the process when None.
    Raises:
        ConfigError: an unknown key, a wrong type, a missing setting or a missing file, named.
    """
    from jsonargparse import auto_cli  # takes a quarter of a second

    arguments = _spelled_out(sys.argv[1:] if argv is None else argv, dict(_settings(config)))
    try:
        return auto_cli(config, args=arguments, as_positional=False, exit_on_error=False)
    except ArgumentError as error:
        raise ConfigError(" ".join(str(error).split())) from error


def check_least(config: object, least: float, *names: str) -> None:
    """Refuse settings below a least value; one that is None has no value to refuse.

    Raises:
        ConfigError: naming the first that is too small, or isn't a number.
    """
    for name in names:
        value = getattr(config, name)
        if value is not None and not value >= least:
            raise ConfigError(f"{name} is at least {least:g}, but got {value}")


def check_training(config: object, ema: str, warmup: str, every: str) -> None:
    """Refuse numbers that no training can begin, end or learn with.

    Args:
        config: a `TrainConfig`, whose rooms agree on these settings.
        ema: what its decay of the average is called; `warmup`: its steps in which the learning rate rises;
            `every`: its steps between two lines of metrics.
    Raises:
        ConfigError: naming the first setting that is out of its range.
    """
    check_least(config, 0, "lr", "weight_decay", "clip", warmup)
    check_least(config, 0, "max_minutes", "max_steps", "save_minutes")
    check_least(config, 1, every)
    decay = getattr(config, ema)
    if not 0 <= decay < 1:
        raise ConfigError(f"{ema} is at least 0 and below 1, but got {decay}")


def _settings(config: type[Any], above: str = "") -> Iterator[tuple[str, type | None]]:
    """The dotted name of every setting of a dataclass, with `bool` or `list` where it is one of these."""
    hints = get_type_hints(config)
    for setting in fields(config):
        hint, name = hints[setting.name], above + setting.name
        kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        several = any(get_origin(kind) in (list, tuple) for kind in kinds)
        yield name, bool if bool in kinds else list if several else None
        for kind in kinds:
            if isinstance(kind, type) and is_dataclass(kind):
                yield from _settings(kind, f"{name}.")


def _spelled_out(argv: Sequence[str], settings: Mapping[str, type | None]) -> list[str]:
    """The arguments: settings by their own names, `true` behind a bare boolean, lists in brackets.

    Args:
        settings: as of `_settings`. What is none of them, and every other value, stays as it is.
    """
    out: list[str] = []
    arguments = list(argv)
    place = 0
    while place < len(arguments):
        argument = arguments[place]
        place += 1
        if argument == "--":
            return [*out, argument, *arguments[place:]]
        if not argument.startswith("--"):
            out.append(argument)
            continue
        given, equals, value = argument[2:].partition("=")
        name = _own_name(given, settings)
        following = arguments[place : place + 1]
        if settings.get(name) is bool and not equals and (not following or following[0].startswith("-")):
            equals, value = "=", "true"
        if settings.get(name) is list:
            told = [value] if equals else _until_a_setting(arguments[place:])
            if told:
                place += 0 if equals else len(told)
                equals, value = "=", _listed(told)
        out.append(f"--{name}{equals}{value}")
        if name.removesuffix("+") in settings and not equals:
            out += arguments[place : place + 1]
            place += 1
    return out


def _until_a_setting(arguments: Sequence[str]) -> list[str]:
    """The arguments before the next that begins with two dashes."""
    return list(itertools.takewhile(lambda argument: not argument.startswith("--"), arguments))


def _listed(told: Sequence[str]) -> str:
    """A list in YAML of values given one by one; one that is a list, or is none, stays as it is."""
    if len(told) == 1 and (told[0].startswith("[") or told[0] in ("", "null")):
        return told[0]
    return f"[{', '.join(value if _is_plain(value) else json.dumps(value) for value in told)}]"


def _is_plain(value: str) -> bool:
    """Whether a value is a number or a table, which would be another thing in quotes."""
    if value.startswith("{"):
        return True
    try:
        float(value)
    except ValueError:
        return False
    return True


def _own_name(given: str, settings: Mapping[str, type | None]) -> str:
    """The name of a setting that was given with dashes; below a setting the keys of a table stay."""
    parts = given.split(".")
    for count in range(len(parts), 0, -1):
        name = ".".join(parts[:count]).replace("-", "_")
        if name.removesuffix("+") in settings:
            return ".".join([name, *parts[count:]])
    return "print_config" if given == "print-config" else given


def dispatch(
    commands: Mapping[str, Callable[[Sequence[str]], object]], argv: Sequence[str] | None = None
) -> None:
    """Call the command that the first argument names with the rest; `--help` lists the names.

    Raises:
        ConfigError: no command is named, or one that isn't there.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    named = arguments[0] if arguments else "none"
    if named in ("-h", "--help"):
        print(f"commands: {', '.join(commands)}; each has its own --help")
    elif named in commands:
        commands[named](arguments[1:])
    else:
        raise ConfigError(f"name a command, one of {', '.join(commands)}; got {named}")
