"""Exports metrics by OpenTelemetry's own SDK over OTLP/HTTP, and prints every number that it exports.

    otlp.py ENDPOINT SERVICE ROUNDS

A JSON list a data point: metric, time (ns), number. Of histograms, which have no single number, nothing is printed. Ends
with 1 if an export failed. Run by tests/kafka/senders.rs.
"""

import json
import sys

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExportResult, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

endpoint, service, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])


class Telling(OTLPMetricExporter):
    """Says what it has sent, once the receiver has taken it."""

    def export(self, metrics_data, *args, **kwargs):
        result = super().export(metrics_data, *args, **kwargs)
        if result is not MetricExportResult.SUCCESS:
            print("an export failed", file=sys.stderr)
            sys.exit(1)
        for resource in metrics_data.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        if hasattr(point, "value"):
                            print(json.dumps([metric.name, point.time_unix_nano, point.value]))
        return result


exporter = Telling(endpoint=endpoint, compression=Compression.Gzip)
# It exports when it is told to, not by the clock.
reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
provider = MeterProvider([reader], resource=Resource.create({"service.name": service}))
meter = provider.get_meter("test")
queue = meter.create_gauge("queue.time.seconds")
bags = meter.create_counter("bags")
lanes = meter.create_up_down_counter("lanes")
weight = meter.create_histogram("bag.weight")
for number in range(rounds):
    queue.set(number / 4, {"lane": "a"})
    queue.set(-number, {"lane": "b"})
    bags.add(3)
    lanes.add(1 if number % 2 else -1)
    weight.record(number)
    provider.force_flush()
provider.shutdown()
