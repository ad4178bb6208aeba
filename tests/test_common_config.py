"""Settings from a command line: bare booleans, dashes for underscores, and values that stay as they are."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from common import config as configs
from common.errors import ConfigError


@dataclass(frozen=True)
class Critic:
    """A nested part."""

    filters: int = 3
    weight_norm: bool = False


@dataclass(frozen=True)
class Settings:
    """One of every kind."""

    songs: str = "songs"
    gain_db: float = 0.0
    allow_missing: bool = False
    use_score: bool = True
    instrumental: bool | None = None
    names: list[str] = field(default_factory=list)
    numbers: tuple[float, ...] | None = None
    main_critic: Critic = field(default_factory=Critic)
    other: Critic | None = None
    table: dict[str, float] = field(default_factory=dict)


def parse(*argv: str) -> Settings:
    return configs.parse(Settings, argv)


@pytest.mark.parametrize(
    "argv",
    [
        ["--allow_missing"],
        ["--allow-missing"],
        ["--allow-missing", "--songs", "songs"],
        ["--allow_missing", "true"],
        ["--allow-missing", "true"],
        ["--allow_missing=true"],
        ["--allow-missing=yes"],
    ],
)
def test_a_boolean_is_given_bare_or_with_its_value(argv: list[str]):
    assert parse(*argv) == Settings(allow_missing=True)


def test_a_boolean_is_taken_back():
    assert not parse("--allow-missing", "--allow_missing", "false").allow_missing
    assert not parse("--use-score", "false").use_score
    assert parse("--instrumental").instrumental is True
    assert parse("--instrumental", "null").instrumental is None


@pytest.mark.parametrize(
    ("argv", "names"),
    [
        (["--names", "a b.jsonl"], ["a b.jsonl"]),
        (["--names", "a.jsonl", "b: c", "--songs", "s"], ["a.jsonl", "b: c"]),
        (["--names=a"], ["a"]),
        (["--names", "[a, b]"], ["a", "b"]),
        (["--names", '["a, b", c]'], ["a, b", "c"]),
        (["--names", "[]"], []),
        (["--names", "a", "--names+", "b"], ["a", "b"]),
    ],
)
def test_a_list_is_given_value_by_value(argv: list[str], names: list[str]):
    assert parse(*argv).names == names


def test_numbers_and_no_list_at_all():
    assert parse("--numbers", "0.5", "-1", "3e-2").numbers == (0.5, -1.0, 0.03)
    assert parse("--numbers", "0.5", "--numbers", "null").numbers is None
    for wrong in ("a", "0.5,0.9"):
        with pytest.raises(ConfigError, match="numbers"):
            parse("--numbers", wrong)
    with pytest.raises(ConfigError):
        parse("--names")


def test_nested_names_take_dashes_too():
    found = parse("--main-critic.filters", "4", "--main_critic.weight-norm", "--other.weight-norm")
    assert found.main_critic == Critic(4, True) and found.other == Critic(3, True)
    assert parse("--main-critic", '{"filters": 5}').main_critic == Critic(5)


def test_values_stay_as_they_are():
    assert parse("--songs", "a-b").songs == "a-b" and parse("--songs=--a-b").songs == "--a-b"
    assert parse("--gain-db", "-3").gain_db == -3 and parse("--gain_db=-3e-1").gain_db == -0.3
    assert parse("--songs", "--allow-missing=a b").songs == "--allow-missing=a b"
    assert parse("--songs", "-3").songs == "-3"
    assert parse("--names+", "a-b", "--names+=c-d").names == ["a-b", "c-d"]
    assert parse("--table.a-b", "3").table == {"a-b": 3.0}


def test_a_file_of_differences_is_read_and_overruled(tmp_path: Path):
    (tmp_path / "a-b.yaml").write_text("allow_missing: true\nmain_critic:\n  filters: 7\n")
    found = parse("--config", str(tmp_path / "a-b.yaml"), "--main-critic.weight-norm")
    assert found == Settings(allow_missing=True, main_critic=Critic(7, True))
    assert not parse("--config", str(tmp_path / "a-b.yaml"), "--allow-missing", "false").allow_missing


@pytest.mark.parametrize(
    "argv", [["--allow-mising"], ["--songs"], ["--gain-db", "loud"], ["--use-score", "x"]]
)
def test_what_is_wrong_is_named(argv: list[str]):
    with pytest.raises(ConfigError, match=argv[0][2:5]):
        parse(*argv)
    with pytest.raises(ConfigError, match="songs"):
        parse("--songs", "--allow-missing")


def test_the_processs_own_arguments_are_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.argv", ["run", "--allow-missing", "--songs", "x"])
    assert configs.parse(Settings) == Settings("x", allow_missing=True)
