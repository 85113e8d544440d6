"""HMS-OPS from Python: register a service, emit its readings, ask how it is.

    import ops_sdk as ops

    svc = ops.register("scanner.ops.yaml")
    ops.emit("queue_time_seconds", 31.2)
    ops.status(svc.id)["slo_state"]

Where: `OPS_BROKERS` (127.0.0.1:9092), `OPS_TOPIC_PREFIX`, `OPS_VAULT` (./vault), or `configure`. All calls may be made by any
thread. After a fork the parent goes on, and the child has an empty buffer and a client of its own.
"""

from __future__ import annotations

from typing import Dict, Optional

from . import _native, _report, dta, errors
from ._native import VERSION as __version__
from ._native import emit, stats
from ._service import Service, register, status
from ._timing import job, timed, timer
from ._types import Entry, Stats, Status
from .errors import (
    BusError,
    ConfigError,
    InvalidReading,
    NoService,
    NotDelivered,
    OpsError,
    OtherOwner,
    SpecError,
    UnknownSensor,
    UnknownService,
    VaultError,
)

__all__ = [
    "BusError",
    "ConfigError",
    "Entry",
    "InvalidReading",
    "NoService",
    "NotDelivered",
    "OpsError",
    "OtherOwner",
    "Service",
    "SpecError",
    "Stats",
    "Status",
    "UnknownSensor",
    "UnknownService",
    "VaultError",
    "__version__",
    "configure",
    "dta",
    "emit",
    "errors",
    "flush",
    "job",
    "register",
    "stats",
    "status",
    "timed",
    "timer",
]


def configure(
    *,
    brokers: Optional[str] = None,
    topic_prefix: Optional[str] = None,
    vault: Optional[str] = None,
    capacity: Optional[int] = None,
    exit_timeout: Optional[float] = None,
    kafka: Optional[Dict[str, str]] = None,
) -> None:
    """Sets where things are; what is not given is the environment's, or the default.

    `brokers` is `host:port[,host:port...]`; `topic_prefix` goes before the name of every topic; `vault` is a directory. `capacity` is how
    many readings the buffer holds, those included that are on their way (100,000). `exit_timeout` is how long the end of the
    program waits for them, in seconds (5). `kafka` are settings of the Kafka client, as `ops --kafka`.

    Readings that were emitted before are flushed first; what was not delivered of them goes to the log.

    Raises `ConfigError`.
    """
    before = _native.configure(
        brokers=brokers,
        topic_prefix=topic_prefix,
        vault=vault,
        capacity=capacity,
        exit_timeout=exit_timeout,
        kafka=kafka,
    )
    story = _report.told(before) if before else None
    if story:
        _report.log.warning("%s", story)


def flush(timeout: float = 30.0) -> Stats:
    """Waits until everything that was emitted before is delivered, up to `timeout` seconds.

    Answers what became of the readings since the last flush. Raises `NotDelivered`, which has that as `stats`, if any of them was
    refused, failed, was dropped, or is still on its way.
    """
    stats = _native.flush(timeout)
    story = _report.told(stats)
    if story:
        raise NotDelivered(story, stats)
    return stats
