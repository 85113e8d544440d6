"""How fast `emit` is here: what a call costs its caller, and how many readings a second arrive.

    OPS_BROKERS=... python sdk/python/bench.py [SECONDS]

Emits to the service `bench`, sensor `x`, which must be registered. Prints one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from typing import List

import ops_sdk as ops


def call_ns(calls: int) -> List[int]:
    """What single calls cost, ns, each with the cost of looking at the clock once."""
    emit, clock = ops.emit, time.perf_counter_ns
    costs = []
    for _ in range(calls):
        began = clock()
        emit("x", 1.0, service="bench")
        costs.append(clock() - began)
    return sorted(costs)


def sustained(seconds: float, rate: int) -> None:
    """`rate` readings a second, in batches of a hundredth of a second."""
    batch = rate // 100
    began = time.perf_counter()
    for turn in range(int(seconds * 100)):
        due = began + turn / 100
        while time.perf_counter() < due:
            time.sleep(max(0.0, due - time.perf_counter()))
        for _ in range(batch):
            ops.emit("x", 1.0, service="bench")


def as_fast_as_it_goes(seconds: float) -> None:
    """As many as the pipeline takes: waits for a moment when the buffer is full."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for _ in range(1000):
            ops.emit("x", 1.0, service="bench")
        while ops.stats()["pending"] > 90_000:
            time.sleep(0.001)


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    ops.emit("x", 1.0, service="bench")
    ops.flush()
    costs = call_ns(50_000)
    ops.flush()
    began = time.perf_counter()
    as_fast_as_it_goes(seconds)
    stats = ops.flush(60)
    took = time.perf_counter() - began
    quantile = {f"p{q}": costs[len(costs) * q // 100] for q in (50, 90, 99)}
    print(json.dumps({"call_ns": quantile, "delivered_per_second": round(stats["delivered"] / took), **stats}))


if __name__ == "__main__":
    main()
