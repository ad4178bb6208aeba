"""Readings of lyrics: the names of `common.pinyin` that writing words needs."""

from common.pinyin import annotate, load_overrides, plain, read, split, toneless, units

__all__ = ["annotate", "load_overrides", "plain", "read", "split", "toneless", "units"]
