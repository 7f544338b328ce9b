"""Metrics as a scraper reads them, in both formats."""

from dataclasses import dataclass
from pathlib import Path

from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain

from batchswap.metrics.definitions import LEDGER
from batchswap.metrics.exposition import scrape

WITHOUT_EXTRA = "import sys\nsys.modules['prometheus_client'] = None\n"
"""The text of a sitecustomize.py that makes Python as if the extra was not installed."""
OPEN_METRICS = "application/openmetrics-text; version=1.0.0"


@dataclass(frozen=True)
class Scraped:
    """The values by name and by labels without the ledger's."""

    values: dict[tuple[str, tuple[tuple[str, str], ...]], float]
    ledgers: frozenset[str]

    def get(self, name: str, **labels: str) -> float | None:
        """Return a value; None if it is missing."""
        return self.values.get((f"batchswap_{name}", tuple(sorted(labels.items()))))

    def sum(self, name: str, **labels: str) -> float:
        """Return the sum of all values with these labels."""
        wanted = set(labels.items())
        return sum(
            value for (each, own), value in self.values.items() if each == f"batchswap_{name}" and wanted <= {*own}
        )

    @property
    def lasting(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Return the values without the time when they were read."""
        return {each: value for each, value in self.values.items() if each[0] != "batchswap_metrics_timestamp_seconds"}

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self.values}

    @property
    def labels(self) -> set[str]:
        """Return the values of all labels."""
        return {value for _, labels in self.values for _, value in labels}


def parse(text: bytes, *, is_open: bool = False) -> Scraped:
    """Return the values of a text. A series that occurs twice is an error, as it is for Prometheus."""
    values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    ledgers = set()
    for family in (open_metrics if is_open else plain)(text.decode()):
        assert family.documentation
        for sample in family.samples:
            ledgers.add(sample.labels[LEDGER])
            own = tuple(sorted((name, value) for name, value in sample.labels.items() if name != LEDGER))
            assert (sample.name, own) not in values
            values[sample.name, own] = sample.value
    return Scraped(values, frozenset(ledgers))


def scraped(ledger: Path) -> Scraped:
    """Return the metrics of a ledger, which are the same in both formats."""
    found = parse(scrape(ledger)[0])
    text, content_type = scrape(ledger, OPEN_METRICS)
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert parse(text, is_open=True).values.keys() == found.values.keys()
    return found
