"""A mixture with PyPI's package of the same name is seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from uvicorn_worker.worker.installed import mixture


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages, with a folder uvicorn_worker in it."""
    (tmp_path / "uvicorn_worker").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def install(site: Path, version: str) -> None:
    folder = site / f"uvicorn_worker-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: uvicorn-worker\nVersion: {version}\n")


def test_this_one_alone() -> None:
    assert mixture() == ""


def test_one_version_is_fine(site: Path) -> None:
    install(site, "1.0.0")
    assert mixture((site / "uvicorn_worker").resolve()) == ""


def test_two_in_one_folder(site: Path) -> None:
    install(site, "0.4.0")
    install(site, "1.0.0")
    folder = (site / "uvicorn_worker").resolve()
    line = mixture(folder)
    assert line.startswith(f"0.4.0 and 1.0.0 of uvicorn-worker are installed over each other in {folder}: remove")


def test_another_of_a_similar_name_is_none(site: Path) -> None:
    install(site, "1.0.0")
    (site / "uvicorn_worker_more-2.0.dist-info").mkdir()
    assert mixture((site / "uvicorn_worker").resolve()) == ""


def test_a_folder_that_can_not_be_read(tmp_path: Path) -> None:
    assert mixture(tmp_path / "gone" / "uvicorn_worker") == ""


def test_one_that_is_shadowed_is_none(site: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    install(site, "0.4.0")
    folder = tmp_path_factory.mktemp("other") / "uvicorn_worker"
    folder.mkdir()
    assert mixture(folder.resolve()) == ""


def test_a_module_that_the_other_left(site: Path) -> None:
    folder = (site / "uvicorn_worker").resolve()
    (folder / "_workers.py").write_text("from uvicorn.config import Config\n")
    assert mixture(folder).startswith("files of another package called uvicorn-worker lie among these in ")
    (folder / "_workers.py").write_text("from uvicorn_worker.worker import UvicornWorker\n")
    assert mixture(folder) == ""
