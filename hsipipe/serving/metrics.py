"""What a server counts, for Prometheus; in a registry of its own, so that two servers in a process don't mix."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from hsipipe.serving.model import Loaded

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
MEDIA = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The counters of a server; all labels have few values."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "hsipipe_requests", "Requests that ended.", ["route", "status"], registry=self._registry
        )
        self.seconds = Histogram(
            "hsipipe_request_seconds",
            "From the head of a request to the end of its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.in_flight = Gauge("hsipipe_requests_in_flight", "Requests being served.", registry=self._registry)
        self.waiting = Gauge(
            "hsipipe_predictions_pending", "Predictions being made or waiting for a worker.", registry=self._registry
        )
        self.refused = Counter("hsipipe_refused", "Requests that a limit ended.", ["reason"], registry=self._registry)
        self.switches = Counter("hsipipe_model_switches", "Models put in service.", registry=self._registry)
        self._model = Gauge(
            "hsipipe_model_info", "The model in service.", ["name", "version", "sha256"], registry=self._registry
        )

    def model_switched(self, loaded: Loaded) -> None:
        """Say which model is in service; none other."""
        self._model.clear()
        self._model.labels(loaded.pinned.name, loaded.pinned.version, loaded.pinned.sha256).set(1)
        self.switches.inc()

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self._registry)
