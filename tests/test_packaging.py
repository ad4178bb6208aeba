"""What is installed from a wheel has every file that its code opens."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_every_file_of_a_package_is_in_its_wheel() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    patterns = settings["package-data"]["*"]
    rooms = [name.removesuffix("*") for name in settings["packages"]["find"]["include"]]
    packages = [init.parent for room in rooms for init in (ROOT / room).rglob("__init__.py")]
    files = {
        file
        for room in rooms
        for file in (ROOT / room).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    shipped = {file for folder in packages for file in folder.glob("*.py")}
    shipped |= {file for folder in packages for pattern in patterns for file in folder.glob(pattern)}
    assert len(files) > 300 and files - shipped == set()
