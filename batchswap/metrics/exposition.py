"""Write the metrics of a ledger in the text formats of Prometheus and OpenMetrics."""

from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from batchswap.errors import MissingExtra
from batchswap.ledger.file import connection
from batchswap.metrics.definitions import LEDGER, METRICS
from batchswap.metrics.samples import MetricSample, Samples, samples_of
from batchswap.sqlite_errors import in_words

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Metric


def require() -> None:
    """Raise MissingExtra without prometheus-client."""
    if find_spec("prometheus_client") is None:
        raise MissingExtra("metrics", "prometheus_client")


def registry_of(samples: Samples) -> "CollectorRegistry":
    """Return a registry with these samples."""
    from prometheus_client import CollectorRegistry  # noqa: PLC0415 - an extra
    from prometheus_client.registry import Collector  # noqa: PLC0415

    class LedgerCollector(Collector):
        def collect(self) -> "Iterator[Metric]":
            return _families(samples)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(LedgerCollector())
    return registry


def _families(samples: Samples) -> "Iterator[Metric]":
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415 - an extra

    by_metric: dict[str, list[MetricSample]] = {}
    for each in samples.found:
        by_metric.setdefault(each.metric.name, []).append(each)
    for metric in METRICS:
        labels, meaning = [LEDGER, *metric.labels], metric.meaning
        family = (
            CounterMetricFamily(metric.name, meaning, labels=labels)
            if metric.kind == "counter"
            else GaugeMetricFamily(metric.name, meaning, labels=labels)
        )
        for each in by_metric.get(metric.name, ()):
            family.add_metric([samples.ledger, *each.labels], each.value)
        if family.samples:
            yield family


def scrape(ledger: Path, accept: str = "", exit_code: int | None = None) -> tuple[bytes, str]:
    """Return the metrics of a ledger, which need not exist yet, and their content type.

    Raise LedgerError, and MissingExtra without prometheus-client.
    """
    require()
    if not connection.exists(ledger):
        return encode(samples_of(None, ledger, exit_code), accept)
    with in_words(ledger, in_use=True), closing(connection.connect(ledger, write=False)) as db:
        return encode(samples_of(db, ledger, exit_code), accept)


def encode(samples: Samples, accept: str = "") -> tuple[bytes, str]:
    """Return the text in the format that a scraper accepts, and its content type. Without `accept`: plain text."""
    from prometheus_client.exposition import choose_encoder  # noqa: PLC0415 - an extra

    encoder, content_type = choose_encoder(accept)
    return encoder(registry_of(samples)), content_type
