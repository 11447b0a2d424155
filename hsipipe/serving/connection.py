"""A connection that gives up on clients who never say what they want, or never take what they asked for.

uvicorn bounds the idle time between two requests, not the time that a request's head may take.
"""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from hsipipe.serving.failures import body_of
from hsipipe.serving.limits import Limits


def connection_type(limits: Limits) -> type[H11Protocol]:
    """The protocol class of a server with these limits."""
    return type("Connection", (_Connection,), {"limits": limits})


class _Connection(H11Protocol):
    limits: Limits
    _head: asyncio.TimerHandle | None = None
    _stall: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            message = f"{self.limits.connections} connections are open already; try again later."
            self._answer(503, "Service Unavailable", message, {"Retry-After": "5"})
            return
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        self._watch_head()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._head, self._stall):
            if timer is not None:
                timer.cancel()
        self._head = self._stall = None
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall = self.loop.call_later(self.limits.stall_s, self.transport.abort)

    def resume_writing(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        self._answer(400, "Bad Request", f"{msg} Expected HTTP/1.1, for example from curl.", {})

    def _watch_head(self) -> None:
        """Run the timer while a head is awaited, and only then; between two requests uvicorn has its own."""
        idle = self.conn.their_state is h11.IDLE and not self.transport.is_closing()
        awaited = idle and (self.cycle is None or bool(self.conn.trailing_data[0]))
        if awaited and self._head is None:
            self._head = self.loop.call_later(self.limits.head_s, self._head_is_late)
        elif not awaited and self._head is not None:
            self._head.cancel()
            self._head = None

    def _head_is_late(self) -> None:
        self._head = None
        if not self.conn.trailing_data[0]:  # not a word
            self.transport.close()
        elif not self.transport.is_closing():
            message = f"No complete head of a request within {self.limits.head_s:g} s."
            self._answer(408, "Request Timeout", message, {})

    def _answer(self, status: int, reason: str, message: str, headers: dict[str, str]) -> None:
        """Answer outside of any request, and close."""
        body = body_of(message)
        given: dict[str, Any] = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "connection": "close",
            **headers,
        }
        try:
            for event in (
                h11.Response(status_code=status, headers=list(given.items()), reason=reason),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        except h11.LocalProtocolError:  # an answer is under way already
            pass
        self.transport.close()
