"""Folders that are written whole or not at all."""

from pathlib import Path

import pytest

from common.files import whole_folder


def test_a_folder_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    for text in ("first", "second"):
        with whole_folder(tmp_path / "a" / "b") as draft:
            (draft / text).write_text(text)
    assert [p.name for p in (tmp_path / "a/b").iterdir()] == ["second"]
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b"]


def test_a_fault_leaves_what_was_there(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "b") as draft:
        (draft / "kept").touch()
    with pytest.raises(OSError, match="full"), whole_folder(tmp_path / "b") as draft:
        (draft / "lost").touch()
        raise OSError("the disk is full")
    assert [p.name for p in tmp_path.rglob("*")] == ["b", "kept"]


def test_a_draft_of_a_killed_process_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / ".b.part" / "old").mkdir(parents=True)
    with whole_folder(tmp_path / "b") as draft:
        (draft / "new").touch()
    assert [p.name for p in tmp_path.rglob("*")] == ["b", "new"]
