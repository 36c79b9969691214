"""Names of copies: no path of a row's can put a file somewhere else, on any system."""

from __future__ import annotations

import json
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kept.controls.rights.uploads import File, files_json, files_page


@pytest.mark.parametrize("path", ["", "/", "/etc/passwd", "../a", "a/../../b", "a/..", "a/", "a\0b", "."])
def test_a_path_that_names_no_file_below_the_folder_has_no_copy(path: str) -> None:
    file = File.named("uploads", path, set())
    assert file.name is None and file.missing == "the path doesn't name a file of this folder"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("chat/7/1.txt", "uploads/chat/7/1.txt"),
        ("./chat//1.txt", "uploads/chat/1.txt"),
        ("..\\..\\x.exe", "uploads/.._.._x.exe"),
        ("C:/x", "uploads/C_/x"),
        ("a\nb/c?.txt", "uploads/a_b/c_.txt"),
        ("...", "uploads/_"),
        ("name. ", "uploads/name"),
        ("é/😀.png", "uploads/é/😀.png"),
    ],
)
def test_a_copy_is_named_so_that_no_system_misreads_it(path: str, name: str) -> None:
    assert File.named("uploads", path, set()).name == name


def test_two_files_never_have_one_name() -> None:
    taken: set[str] = set()
    names = [File.named("u", path, taken).name for path in ("a?.txt", "a_.txt", "A_.TXT", "b", "./b")]
    assert names == ["u/a_.txt", "u/a_~2.txt", "u/A_~3.TXT", "u/b", "u/b~2"]


@given(st.lists(st.text(max_size=12), max_size=6))
def test_whatever_the_path_a_copy_stays_below_its_folder(paths: list[str]) -> None:
    taken: set[str] = set()
    names = [file.name for path in paths if (file := File.named("uploads", path, taken)).name is not None]
    assert len({name.casefold() for name in names if name}) == len(names)
    for name in names:
        assert name is not None
        for read in (PurePosixPath(name), PureWindowsPath(name)):
            assert not read.is_absolute() and ".." not in read.parts and read.parts[0] == "uploads"
        assert name.encode()


def test_what_is_said_of_files_is_json_and_a_page_that_runs_nothing() -> None:
    taken: set[str] = set()
    path = '"><script>alert(1)</script>/x y.txt'
    files = [File.named("uploads", path, taken).found(3), File.named("uploads", "gone.txt", taken)]
    told = json.loads(b"{" + files_json(files).removeprefix(b",") + b"}")["files"]
    assert told[0]["path"] == path and told[0]["bytes"] == 3 and told[0]["file"].startswith("files/uploads/")
    assert told[1] == {"store": "uploads", "path": "gone.txt", "missing": "it isn't there any more"}
    page = files_page(files)
    assert b"<script>" not in page and b"x%20y.txt" in page
    assert files_json([]) == files_page([]) == b""
