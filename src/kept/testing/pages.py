"""A site on this machine: the files of a folder, with the names of other hosts written as where these are now."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from kept.testing.loopback import Call, Loopback, Reply

TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}


class Pages(Loopback):
    """The files of `folder`, looked up anew for each visit; `written` says what stands in them in place of what.

    `takes` are paths to which anything may be sent: it is taken, and forgotten.
    """

    def __init__(
        self,
        folder: Path,
        written: Mapping[str, str] | None = None,
        takes: tuple[str, ...] = (),
        port: int = 0,
    ) -> None:
        super().__init__(port)
        self.folder = folder
        self.written = dict(written or {})
        self.takes = takes

    def handle(self, call: Call) -> Reply:
        self.calls.clear()  # nobody asks who was here
        if call.path in self.takes:
            return Reply(204)
        name = call.path.removeprefix("/") or "index.html"
        files = {file.name: file for file in self.folder.iterdir() if file.suffix in TYPES}
        if call.method not in ("GET", "HEAD") or name not in files:
            return Reply(404, b"", {"Content-Type": "text/plain"})
        text = files[name].read_text("utf-8")
        for name_, place in self.written.items():
            text = text.replace(name_, place)
        headers = {"Content-Type": TYPES[files[name].suffix], "Cache-Control": "no-store"}
        return Reply(200, text.encode(), headers)
