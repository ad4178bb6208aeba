"""Commands: a user's fault and the system's refusal are one sentence and status 2."""

from pathlib import Path

import pytest

from common.errors import AudioError, command


def test_what_goes_well_has_the_status_of_the_command() -> None:
    assert command(lambda: None)() == 0
    assert command(lambda: 3)() == 3


def test_a_fault_of_the_user_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    @command
    def main() -> None:
        raise AudioError("too short")

    assert main() == 2
    assert capsys.readouterr().err == "error: too short\n"


def test_what_the_system_refuses_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("x")

    @command
    def main() -> None:
        (tmp_path / "file" / "x").mkdir(parents=True)

    assert main() == 2
    told = capsys.readouterr().err
    assert told.startswith("error: the system refused '") and "Not a directory" in told
    assert "file" in told and told.count("\n") == 1


def test_a_full_disk_has_no_file_name(capsys: pytest.CaptureFixture[str]) -> None:
    @command
    def main() -> None:
        raise OSError(28, "No space left on device")

    assert main() == 2
    assert capsys.readouterr().err == "error: the system refused: No space left on device\n"
