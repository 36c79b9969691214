"""A folder of files: what is in it is read and deleted, and nothing outside is reached by any path."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kept.errors import TerminalError, TransientError
from kept.stores.records.files import FileStore


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "uploads"
    folder.mkdir()
    return folder


@pytest.fixture
def store(folder: Path) -> FileStore:
    return FileStore("uploads", folder)


def put(folder: Path, path: str, content: bytes = b"mine") -> Path:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


@pytest.mark.parametrize(
    "path", ["a.txt", "a/b/c.pdf", "Ōé 漢字/ü\u0301.jpg", "a/./b", "-rf *", "back\\slash", ".hidden"]
)
def test_a_file_is_read_and_deleted_and_its_folders_stay(store: FileStore, folder: Path, path: str) -> None:
    file = put(folder, path, b"x" * 3_000_000)
    assert store.size(path) == 3_000_000
    parts = list(store.read(path))
    assert b"".join(parts) == b"x" * 3_000_000
    assert max(map(len, parts)) <= 1024 * 1024
    assert store.delete(path) is True
    assert not file.exists()
    assert file.parent.is_dir()


def test_a_file_that_is_gone_is_gone_already(store: FileStore, folder: Path) -> None:
    put(folder, "a/b")
    for path in ("none", "no/such/folder", "a/none"):
        assert store.delete(path) is False
        assert store.size(path) is None
        assert list(store.read(path)) == []
    assert store.delete("a/b") is True
    assert store.delete("a/b") is False


LEAVING = ["../secret", "a/../../secret", "a/..", "..", "/etc/hostname", "//etc/hostname", "a\0b", "a/../b"]


@pytest.mark.parametrize("path", LEAVING)
def test_a_path_that_leaves_the_folder_is_refused(store: FileStore, folder: Path, path: str) -> None:
    secret = put(folder.parent, "secret")
    put(folder, "a/b")
    for act in acts(store):
        with pytest.raises(TerminalError, match="leaves the folder") as raised:
            act(path)
        assert "secret" not in str(raised.value)
    assert secret.exists()


def acts(store: FileStore) -> list[Callable[[str], object]]:
    return [store.delete, store.size, lambda path: list(store.read(path))]


def test_no_symbolic_link_is_followed_anywhere_on_the_way(store: FileStore, folder: Path) -> None:
    secret = put(folder.parent, "outside/secret")
    put(folder, "inside/file")
    (folder / "link").symlink_to(secret)
    (folder / "way").symlink_to(secret.parent)
    (folder / "near").symlink_to(folder / "inside")
    (folder / "dangling").symlink_to(folder / "nowhere")
    for path in ("link", "way/secret", "near/file", "dangling", "inside/../link"):
        for act in acts(store):
            with pytest.raises(TerminalError, match="leaves the folder"):
                act(path)
    assert secret.exists()
    assert (folder / "inside/file").exists()
    assert (folder / "link").is_symlink()


@pytest.mark.parametrize("path", ["", ".", "./", "a", "a/", "a/b/"])
def test_a_folder_is_never_deleted(store: FileStore, folder: Path, path: str) -> None:
    put(folder, "a/b/c")
    with pytest.raises(TerminalError, match="no file"):
        store.delete(path)
    assert (folder / "a/b/c").exists()


def test_a_pipe_in_place_of_a_file_holds_nobody_up(store: FileStore, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    for act in acts(store):
        with pytest.raises(TerminalError, match="no file"):
            act("pipe")


def test_a_file_with_a_second_name_is_not_called_gone(store: FileStore, folder: Path) -> None:
    file = put(folder, "a")
    (folder / "b").hardlink_to(file)
    with pytest.raises(TerminalError, match="hard links"):
        store.delete("a")
    assert file.exists()
    (folder / "b").unlink()
    assert store.delete("a") is True


def test_a_missing_folder_is_no_proof_that_a_file_is_gone(store: FileStore, folder: Path) -> None:
    folder.rmdir()
    for act in acts(store):
        with pytest.raises(TransientError, match="folder isn't there"):
            act("a")


def test_the_folder_itself_may_be_reached_by_a_link(folder: Path) -> None:
    put(folder, "a")
    link = folder.parent / "current"
    link.symlink_to(folder)
    assert FileStore("uploads", link).delete("a") is True


def test_a_path_too_long_for_any_file_is_told(store: FileStore) -> None:
    with pytest.raises(TerminalError, match="no path"):
        store.delete("x" * 5000)


def test_a_fault_of_the_reader_is_not_taken_for_one_of_the_store(store: FileStore, folder: Path) -> None:
    put(folder, "a")
    with pytest.raises(OSError, match="disk full"), store.open("a"):
        raise OSError("disk full")
