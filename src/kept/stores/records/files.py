"""A folder as a store: columns declared `file in STORE` hold paths below it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from kept.errors import StoreError, TerminalError, TransientError

_CHUNK = 1024 * 1024  # bytes read at a time
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe in its place must not hold us up


class FileStore:
    """The files below one folder; only regular files are read and deleted, folders never.

    A path is taken as the database has it, with slashes, from the folder on. One that would leave the folder (`..`, an
    absolute path, a symbolic link anywhere on the way) is a TerminalError; the path itself, which may name a person,
    is in no error. A file that isn't there is no error: it is gone already. A folder that isn't there is one, for a
    disk that isn't mounted must not look like files that are gone.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder

    def __repr__(self) -> str:
        return f"<FileStore {self.name}>"

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO | None]:
        """The file, to be read; None where it is gone."""
        with self._telling():
            file = self._opened(path)
        if file is None:
            yield None
            return
        with file:
            yield file

    def size(self, path: str) -> int | None:
        """How many bytes the file has; None where it is gone."""
        with self.open(path) as file:
            return None if file is None else os.fstat(file.fileno()).st_size

    def read(self, path: str) -> Iterator[bytes]:
        """The file's bytes, a part at a time; nothing where it is gone."""
        with self.open(path) as file:
            while file is not None:
                with self._telling():
                    part = file.read(_CHUNK)
                if not part:
                    return
                yield part

    def delete(self, path: str) -> bool:
        """Delete the file, durably; False where it was gone already.

        TerminalError where the same content would stay under another name (a hard link, as some backups make them).
        """
        with self._telling(), self._parent(path) as (parent, last):
            file = None if parent is None else self._regular(parent, last)
            if parent is None or file is None:
                return False
            with file:
                if os.fstat(file.fileno()).st_nlink > 1:
                    raise TerminalError(
                        "a file has other names (hard links): its content would stay",
                        help="remove the other names, then repeat",
                        where=self.name,
                    )
            try:
                os.unlink(last, dir_fd=parent)
            except FileNotFoundError:
                return False
            os.fsync(parent)
            return True

    def dispose(self) -> None:
        """Nothing stays open."""

    @contextmanager
    def _parent(self, path: str) -> Iterator[tuple[int | None, str]]:
        """The folder a path ends in, opened step by step so that no link leads out; None where it is gone."""
        *folders, last = self._parts(path)
        opened = [os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)]
        try:
            gone = False
            for folder in folders:
                try:
                    opened.append(os.open(folder, _FOLDER, dir_fd=opened[-1]))
                except FileNotFoundError:
                    gone = True
                    break
                except OSError as error:
                    if error.errno in (errno.ELOOP, errno.ENOTDIR):
                        raise self._leaving() from None
                    raise
            yield None if gone else opened[-1], last
        finally:
            for one in opened:
                os.close(one)

    def _opened(self, path: str) -> BinaryIO | None:
        with self._parent(path) as (parent, last):
            return None if parent is None else self._regular(parent, last)

    def _regular(self, parent: int, last: str) -> BinaryIO | None:
        try:
            descriptor = os.open(last, _FILE, dir_fd=parent)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO):
                raise self._leaving() from None
            raise
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise TerminalError("a path names something that is no file", where=self.name)
        return os.fdopen(descriptor, "rb")

    def _parts(self, path: str) -> list[str]:
        parts = path.split("/")
        if path.startswith("/") or ".." in parts or "\0" in path:
            raise self._leaving()
        parts = [part for part in parts if part not in ("", ".")]
        if not parts or path.endswith("/"):
            raise TerminalError("a path names no file", where=self.name)
        return parts

    def _leaving(self) -> TerminalError:
        return TerminalError(
            "a path leaves the folder of the store",
            help="paths are written from the folder on, without `..` and without symbolic links",
            where=self.name,
        )

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Errors of the system in Kept's words; the original, which names the path, is not chained."""
        try:
            yield
        except OSError as error:
            raise self._told(error) from None

    def _told(self, error: OSError) -> StoreError:
        if not self.folder.is_dir():
            return TransientError("its folder isn't there", help="is its disk mounted?", where=self.name)
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return TerminalError(
                "Kept may not do this to a file",
                help="let the user Kept runs as read and write the folder and what is in it",
                where=self.name,
            )
        if error.errno in (errno.ENAMETOOLONG, errno.EILSEQ):
            return TerminalError("a path is no path of this system", where=self.name)
        what = os.strerror(error.errno) if error.errno else type(error).__name__
        return TransientError(f"a file can't be read or deleted: {what}", where=self.name)
