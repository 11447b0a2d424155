"""ASGI application: routes and error handlers."""

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from hsipipe.serving.answers import Options
from hsipipe.serving.descriptions import (
    Health,
    ModelDescription,
    Refresh,
    metrics,
    prediction,
    refusals,
    without_422,
)
from hsipipe.serving.failures import INTERNAL, ClientGoneError, RequestError, body_of, headers_of
from hsipipe.serving.guard import MEDIA, Guard
from hsipipe.serving.hosts import Hosts
from hsipipe.serving.pages import docs_page, start_page
from hsipipe.serving.service import ModelServer
from hsipipe.serving.uploads import media_types

_GONE = 499
_ABOUT = (
    "One cube in, one super-resolved cube out. An error is one line: got, expected, how to fix. An unknown path gives "
    "404, another method of a known path 405."
)


class _App(FastAPI):
    def openapi(self) -> dict[str, Any]:
        return without_422(super().openapi())


def make_app(server: ModelServer, *, hosts: Hosts, started: Callable[[], None] = lambda: None) -> Guard:
    """Build the ASGI application of a server.

    Args:
        server: Implementation of the routes.
        hosts: Host names of the server.
        started: Called at startup.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        handles_signals = threading.current_thread() is threading.main_thread()
        if handles_signals:
            loop.add_signal_handler(signal.SIGHUP, server.model.refresh)
        following = asyncio.create_task(server.follow())
        started()
        try:
            yield
        finally:
            if handles_signals:
                loop.remove_signal_handler(signal.SIGHUP)
                signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the default would end the process
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following
            server.close()

    # FastAPI's documentation pages load scripts from other hosts.
    app = _App(title="hsipipe model server", description=_ABOUT, docs_url=None, redoc_url=None, lifespan=lifespan)
    _add_routes(app, server)
    _add_error_handlers(app, server)
    return Guard(app, hosts=hosts, limits=server.limits, metrics=server.metrics)


def _add_routes(app: FastAPI, server: ModelServer) -> None:
    body = {"requestBody": {"required": True, "content": media_types()}}

    @app.post("/predict", openapi_extra=body, response_class=Response, responses=prediction() | refusals(415, 504))
    async def predict(request: Request, options: Annotated[Options, Query()]) -> Response:
        """Super-resolve one LR cube; the answer has its format. A .npy may be a batch (B, C, h, w)."""
        return await server.predict(request, options)

    @app.get("/health", responses=refusals())
    async def health() -> Health:
        """Check that the model predicts."""
        await server.check_health()
        return Health(status="ok")

    @app.get("/model", responses=refusals())
    async def model() -> ModelDescription:
        """Describe the model in service."""
        return server.describe()

    @app.post("/model/refresh", status_code=202, responses=refusals(401))
    async def refresh(request: Request) -> Refresh:
        """Load the wanted version and put it in service after a trial; /model shows the result."""
        server.check_may_refresh(request)
        return Refresh(started=server.model.refresh())

    @app.get("/metrics", response_class=Response, responses=metrics() | refusals())
    async def prometheus() -> Response:
        """Return the Prometheus metrics."""
        return Response(server.metrics.text(), media_type=MEDIA)

    @app.get("/", include_in_schema=False)
    async def start() -> Response:
        return start_page(server.describe(), server.limits)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return docs_page(app.openapi())


def _add_error_handlers(app: FastAPI, server: ModelServer) -> None:
    @app.exception_handler(RequestError)
    async def of_request(_: Request, error: RequestError) -> Response:
        if error.reason is not None:
            server.metrics.refused.labels(error.reason).inc()
        return _error(error.status, str(error), headers_of(error))

    @app.exception_handler(RequestValidationError)
    async def of_query(_: Request, error: RequestValidationError) -> Response:
        found = [f"{entry['loc'][-1]}: {entry['msg']}" for entry in error.errors()]
        return _error(400, f"Invalid query: {'; '.join(found)}; expected {', '.join(Options.model_fields)}.")

    @app.exception_handler(HTTPException)
    async def of_http(request: Request, error: HTTPException) -> Response:
        known = ", ".join(f"{path} ({', '.join(sorted(ways))})" for path, ways in _known(app).items())
        message = f"{request.method} {request.url.path}: {error.detail}; expected {known}."
        return _error(error.status_code, message, dict(error.headers or {}))

    @app.exception_handler(ClientGoneError)
    async def of_disconnect(_: Request, __: ClientGoneError) -> Response:
        return Response(status_code=_GONE)

    @app.exception_handler(Exception)
    async def of_server(_: Request, __: Exception) -> Response:
        return _error(500, INTERNAL)


def _known(app: FastAPI) -> dict[str, set[str]]:
    return {
        str(getattr(route, "path", "")): set(getattr(route, "methods", None) or ()) - {"HEAD"} for route in app.routes
    }


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return Response(body_of(message), status_code=status, headers=headers, media_type="application/json")
