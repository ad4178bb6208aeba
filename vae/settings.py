"""The settings of a codec, which come from a config.json that any hand may have changed."""

import math
import sys

from common.errors import ConfigError


def check_whole(least: int, **settings: object) -> None:
    """Refuse settings that aren't integers, or are below a least value.

    Raises:
        ConfigError: naming the first.
    """
    for name, value in settings.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ConfigError(f"{name} is a whole number of at least {least}, but got {value!r}")


def check_wholes(least: int, **settings: object) -> None:
    """Refuse settings that aren't lists of such integers, of one at least.

    Raises:
        ConfigError: naming the first.
    """
    for name, values in settings.items():
        if not isinstance(values, list | tuple) or not values:
            raise ConfigError(f"{name} is a list of whole numbers, but got {values!r}")
        for value in values:
            check_whole(least, **{f"every one of {name}": value})


def check_number(zero: bool, **settings: object) -> None:
    """Refuse settings that aren't positive finite numbers.

    Args:
        zero: whether 0 will do.
    Raises:
        ConfigError: naming the first.
    """
    for name, value in settings.items():
        number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
        if not 0 <= number <= sys.float_info.max or (number == 0 and not zero):
            kind = "a number of at least 0" if zero else "a positive number"
            raise ConfigError(f"{name} is {kind}, but got {value!r}")
