"""The folder of one request, and the answer that is sent out of it."""

import asyncio
import shutil
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from hsipipe.serving.guard import Space

_BLOCK = 1 << 20


class Workspace:
    """A temporary folder that goes when nobody holds it any more: the request, its worker, its answer.

    Whoever made it holds it.

    Args:
        space: What its uploads take of the disk; given back with the folder.
    """

    def __init__(self, space: Space) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="hsipipe-request-"))
        self._space, self._holders, self._lock = space, 1, threading.Lock()

    def hold(self) -> None:
        """Keep it until :meth:`release` is called once more."""
        with self._lock:
            self._holders += 1

    def release(self) -> None:
        """Let go; of any thread."""
        with self._lock:
            self._holders -= 1
            last = self._holders == 0
        if last:
            shutil.rmtree(self.path, ignore_errors=True)
            self._space.give_back()


class FileAnswer(Response):
    """A file of a workspace, sent piece by piece; the workspace is held until then."""

    def __init__(self, path: Path, workspace: Workspace, *, media_type: str, headers: Mapping[str, str]) -> None:
        super().__init__(headers={**headers, "Content-Length": str(path.stat().st_size)}, media_type=media_type)
        self._path, self._workspace = path, workspace
        workspace.hold()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            with self._path.open("rb") as file:
                while block := await asyncio.to_thread(file.read, _BLOCK):
                    await send({"type": "http.response.body", "body": block, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._workspace.release()
