"""Rhyme of lyrics: the names of `common.rhyme` that writing words needs."""

from common.rhyme import GROUPS, TABLES, density, group, main_group, marks, rhymes, scheme

__all__ = ["GROUPS", "TABLES", "density", "group", "main_group", "marks", "rhymes", "scheme"]
