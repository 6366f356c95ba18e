"""``/metrics`` for Prometheus: from the rows at each scrape, but for what may only grow. That the node counts
from its start, since rows are deleted for their age."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from storage.database import Database, now
from storage.figures import Entered, last_image_at, turnaround
from storage.overview import count_by_state, waiting_deliveries

TURNAROUND_BOUNDS = (15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 3600.0, 14400.0, 86400.0)  # seconds


def metrics_registry(database: Database, data_dir: Path, entered: Callable[[], Entered]) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(NodeFigures(database, data_dir, entered))
    ProcessCollector(registry=registry)
    return registry


class NodeFigures(Collector):
    """The node's figures."""

    def __init__(self, database: Database, data_dir: Path, entered: Callable[[], Entered]) -> None:
        self._database = database
        self._data_dir = data_dir
        self._entered = entered

    def describe(self) -> Iterable[Metric]:
        return ()  # so that registering asks nothing of the database

    def collect(self) -> Iterable[Metric]:
        yield from self._from_rows()
        entered = self._entered()
        yield CounterMetricFamily(
            "overread_images_received", "Images received and kept since the start.", entered.images
        )
        yield CounterMetricFamily(
            "overread_refusals", "Lines under Refusals since the start.", entered.refusals
        )
        disk = shutil.disk_usage(self._data_dir)
        yield GaugeMetricFamily("overread_disk_free_bytes", "Free space where the data lies.", disk.free)
        yield GaugeMetricFamily("overread_disk_bytes", "All space where the data lies.", disk.total)

    def _from_rows(self) -> Iterable[Metric]:
        with self._database.snapshot() as session:
            states = count_by_state(session)
            waiting = waiting_deliveries(session)
            taken = turnaround(session, TURNAROUND_BOUNDS)
            last_image = last_image_at(session)
        studies = GaugeMetricFamily("overread_studies", "Studies by state.", labels=["state"])
        for state, count in states.items():
            studies.add_metric([state], count)
        yield studies
        yield GaugeMetricFamily("overread_deliveries_waiting", "Objects still to be sent.", waiting.count)
        age = (now() - waiting.since).total_seconds() if waiting.since else 0.0
        yield GaugeMetricFamily("overread_oldest_delivery_waiting_seconds", "Age of the oldest of them.", age)
        if last_image is not None:
            yield GaugeMetricFamily(
                "overread_last_image_timestamp_seconds",
                "When the last image came in.",
                last_image.timestamp(),
            )
        buckets = [(str(bound), count) for bound, count in zip(TURNAROUND_BOUNDS, taken.at_most, strict=True)]
        yield HistogramMetricFamily(
            "overread_turnaround_seconds",
            "From a reading's last image to its results in every destination.",
            buckets=[*buckets, ("+Inf", taken.count)],
            sum_value=taken.total,
        )
