"""Typed configurations: a frozen dataclass per room, a YAML of differences, `--key value` on top.

python -m vae.train --config vae/configs/demo.yaml --lr 3e-4 --model.depth 3
"""

import sys
from argparse import ArgumentError
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from common.errors import ConfigError

Config = TypeVar("Config")


def parse(config: type[Config], argv: Sequence[str] | None = None) -> Config:
    """Build a dataclass from `--config FILE.yaml` and `--key value` (nested: `--model.depth 3`).

    Later arguments win over earlier ones. `--help` prints every setting with its comment.

    Args:
        config: a dataclass; nested dataclasses become dotted keys.
        argv: the arguments; those of the process when None.
    Raises:
        ConfigError: an unknown key, a wrong type, a missing setting or a missing file, named.
    """
    from jsonargparse import auto_cli  # takes a quarter of a second

    try:
        return auto_cli(
            config, args=None if argv is None else list(argv), as_positional=False, exit_on_error=False
        )
    except ArgumentError as error:
        raise ConfigError(" ".join(str(error).split())) from error


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
