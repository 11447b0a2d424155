"""Handle the requests of the model server: predict, health, model, refresh."""

import asyncio
import hmac
import ipaddress
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from starlette.requests import ClientDisconnect, Request

from hsipipe.errors import one_line
from hsipipe.inference.known import domain_of
from hsipipe.serving.answers import Answer, FileAnswer, Options, answer, check_options
from hsipipe.serving.descriptions import ModelDescription, Switch
from hsipipe.serving.failures import ClientGoneError, RequestError, as_request_error
from hsipipe.serving.guard import SPACE, Metrics
from hsipipe.serving.limits import Limits
from hsipipe.serving.model import Loaded, ModelInService, ModelSource, try_out
from hsipipe.serving.predictions import Predictions, Tick
from hsipipe.serving.rehearsal import prepare_rehearsals
from hsipipe.serving.uploads import FORM, Workspace, receive

_TRIAL_S = 10.0
"""Lifetime of the cached health probe."""
_LONGEST_TRIAL_S = 30.0
_LONGEST_NOTE = 1000
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via", "origin")


class ModelServer:
    """Model, workers and metrics of a server.

    Args:
        source: Source of models; the first model is loaded here.
        limits: Limits of the server.
        token: Bearer token for a refresh of the model; None allows clients of this machine alone.
        follow_s: Seconds between two automatic refreshes; None disables them.

    Raises:
        HsipipeError: The model cannot be loaded, or fails its trial.
    """

    def __init__(
        self, source: ModelSource, *, limits: Limits, token: str | None = None, follow_s: float | None = None
    ) -> None:
        self.limits, self.metrics = limits, Metrics()
        prepare_rehearsals()
        self.model = ModelInService(source, load_s=limits.load_s, switched=self.metrics.model_switched)
        self.predictions = Predictions(limits, changed=self.metrics.waiting.set)
        self._token, self._follow_s = token, follow_s
        self._trials = ThreadPoolExecutor(1, thread_name_prefix="trial")
        self._tried: tuple[Loaded, float] = (self.model.current, time.monotonic())
        self._trial: asyncio.Future[None] | None = None

    async def predict(self, request: Request, options: Options) -> FileAnswer:
        """Super-resolve the body of a request.

        Raises:
            RequestError: The request is invalid, or exceeds a limit.
            ClientGoneError: The client disconnected.
        """
        loaded = self.model.current
        pictured = FORM in request.headers.get("accept", "")
        workspace = Workspace(request.scope[SPACE])
        try:
            check_options(options)
            self.predictions.check_free()
            uploads = await receive(request, workspace.path)

            def make(tick: Tick) -> Answer:
                return answer(
                    loaded,
                    uploads,
                    options,
                    limits=self.limits,
                    before_tile=tick,
                    reserve=workspace.reserve,
                    pictured=pictured,
                )

            workspace.hold()
            made = await self.predictions.run(make, gone=_watch(request), ended=workspace.release)
            return FileAnswer(made, workspace, headers={**version_headers(loaded), **_notes(made)})
        except ClientDisconnect as error:
            raise ClientGoneError from error
        except Exception as error:
            if (refusal := as_request_error(error, workspace.path)) is None:
                raise
            raise refusal from error
        finally:
            workspace.release()

    async def check_health(self) -> None:
        """Check that the model predicts and not all workers are stuck; the result is cached.

        Raises:
            RequestError: The trial prediction failed, or all workers are stuck.
        """
        if self.predictions.are_stuck:
            raise RequestError(503, "Every worker hangs in its prediction; restart the server.")
        loaded, at = self._tried
        if loaded is self.model.current and time.monotonic() - at < _TRIAL_S:
            return
        if self._trial is None or self._trial.done():
            self._trial = asyncio.get_running_loop().run_in_executor(self._trials, self._try_out)
        try:
            await asyncio.wait_for(asyncio.shield(self._trial), _LONGEST_TRIAL_S)
        except TimeoutError as error:
            raise RequestError(503, f"A tiny prediction takes longer than {_LONGEST_TRIAL_S:g} s.") from error
        except Exception as error:
            raise RequestError(503, f"A tiny prediction failed: {one_line(error)}") from error

    def describe(self) -> ModelDescription:
        """Describe the model in service."""
        loaded, failed = self.model.current, self.model.failed
        model, domain = loaded.model, domain_of(loaded.model)
        return ModelDescription(
            **loaded.pinned._asdict(),
            kind=model.name,
            scale=model.scale,
            bands=model.bands,
            msi_bands=model.msi_bands,
            wavelength_nm=None if domain is None or domain.wavelength_nm is None else list(domain.wavelength_nm),
            value_range=None if domain is None else (domain.low, domain.high),
            since=loaded.since,
            is_switching=self.model.is_switching,
            last_failed_switch=None if failed is None else Switch(at=failed.at, error=failed.error),
        )

    def check_may_refresh(self, request: Request) -> None:
        """Check that a client may refresh the model.

        Raises:
            RequestError: The token is wrong, or the client is not on this machine.
        """
        if self._token is not None:
            given = request.headers.get("authorization", "")
            if not hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
                raise RequestError(401, "Send the header Authorization: Bearer <HSIPIPE_SERVER_TOKEN of the server>.")
            return
        # Clients of a local proxy, and web pages in a local browser, have a loopback address too.
        if any(name in request.headers for name in _FORWARDED) or not _is_of_this_machine(request):
            raise RequestError(
                403,
                "Only clients of this machine may refresh; set HSIPIPE_SERVER_TOKEN for the server to allow others.",
            )

    async def follow(self) -> None:
        """Refresh the model at regular intervals."""
        while self._follow_s is not None:
            await asyncio.sleep(self._follow_s)
            self.model.refresh()

    def close(self) -> None:
        """Cancel predictions, loading and trials."""
        self.predictions.close()
        self.model.close()
        self._trials.shutdown(wait=False, cancel_futures=True)

    def _try_out(self) -> None:
        loaded = self.model.current
        try_out(loaded.model)
        self._tried = (loaded, time.monotonic())


def version_headers(loaded: Loaded) -> dict[str, str]:
    """Return the headers that name the model of an answer."""
    return {
        "X-Model-Name": _ascii(loaded.pinned.name),
        "X-Model-Version": _ascii(loaded.pinned.version),
        "X-Model-Sha256": loaded.pinned.sha256,
    }


def _notes(made: Answer) -> dict[str, str]:
    return {"X-Note": _ascii(" ".join(made.notes))[:_LONGEST_NOTE]} if made.notes else {}


def _ascii(text: str) -> str:
    return one_line(text).encode("ascii", "replace").decode()


def _is_of_this_machine(request: Request) -> bool:
    try:
        return request.client is not None and ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False


def _watch(request: Request) -> Callable[[], Awaitable[None]]:
    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    return gone
