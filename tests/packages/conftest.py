"""What is built once for several tests."""

import shutil
from pathlib import Path

import pytest

from tests.packages import source

VERSION = "1.2.3"


@pytest.fixture(scope="session")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of this source with a tag."""
    return source.repository(tmp_path_factory.mktemp("tagged"), tag=f"v{VERSION}")


@pytest.fixture(scope="session")
def wheel(tagged: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return source.build(tagged, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def sdist(tagged: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return source.build(tagged, "sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture
def again(tagged: Path, tmp_path: Path) -> Path:
    """The same repository at another place, checked out at another time."""
    return shutil.copytree(tagged, tmp_path / "again", symlinks=True, copy_function=shutil.copy)
