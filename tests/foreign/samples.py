"""Reads pages of metrics with Prometheus' own Python parser: one JSON list a sample and line.

    samples.py plain|openmetrics FILE

Name, labels sorted, the value's bits in hex (of NaN: "nan"), time stamp in ms or null. Run by tests/kafka/exporters.rs.
"""

import json
import struct
import sys

from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client import parser as plain

kind, path = sys.argv[1:]
parse = {"plain": plain, "openmetrics": openmetrics}[kind].text_string_to_metric_families
with open(path, encoding="utf-8", newline="") as page:
    families = list(parse(page.read()))
for family in families:
    for sample in family.samples:
        value = float(sample.value)
        bits = "nan" if value != value else struct.pack(">d", value).hex()
        stamp = None if sample.timestamp is None else round(float(sample.timestamp) * 1000)
        print(json.dumps([sample.name, sorted(sample.labels.items()), bits, stamp]))
