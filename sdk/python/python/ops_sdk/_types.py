"""What the calls answer, as types."""

from __future__ import annotations

from typing import Any, Dict, List, Literal, Optional, TypedDict


class Stats(TypedDict):
    """What became of readings. `emitted` is the sum of all others."""

    emitted: int
    """Taken by `emit`."""
    delivered: int
    """Acknowledged by the cluster."""
    refused: Dict[str, int]
    """Not sent, because their names turned out to be unknown: by reason."""
    failed: Dict[str, int]
    """Not taken by the cluster: by reason."""
    dropped: int
    """Lost, because the buffer was full."""
    pending: int
    """Waiting, or on their way: they may arrive or not."""


class Phase(TypedDict):
    """The machine of one cause."""

    cause: str
    """`slo`, or the condition as written."""
    phase: Literal["healthy", "pending", "open", "recovering"]
    """Where it is."""
    held_ms: int
    """How long `pending` or `recovering` has been held, ms."""


class OpenIncident(TypedDict):
    """An incident that is not over."""

    incident: str
    """Its id."""
    cause: str
    """`slo`, or the condition as written."""
    opened_at: int
    """When it was opened, ms since the Unix epoch."""


class Refusal(TypedDict):
    """A rejected reading."""

    reason: str
    """Why."""
    at: int
    """When the broker appended it, ms since the Unix epoch."""
    partition: int
    """Where it was on `ops.metrics`."""
    offset: int
    """Where it was on `ops.metrics`."""
    sample: str
    """The beginning of its value."""


class Status(TypedDict):
    """How a service is, as of the last cut of its partition (about 10 s); incidents as of now."""

    service: str
    """Its id."""
    owner: str
    """Whose it is."""
    slo_state: Literal["healthy", "breached", "unknown"]
    """`breached` while the incident of its SLO is open; what is not known is `unknown`, never healthy."""
    state: List[Phase]
    """Each cause and the phase of its machine."""
    quality: Literal["fresh", "stale", "no_data", "insufficient", "inactive", "no_slo"]
    """How far what is shown can be trusted."""
    p95_estimate: Optional[float]
    """An estimate for people, in the sensor's unit; the counts decide."""
    n: Optional[int]
    """Readings of the target in the window."""
    over: Optional[int]
    """Those above the threshold."""
    rank: Optional[int]
    """The place of the quantile among `n`."""
    threshold: Optional[float]
    """Of the SLO, in the sensor's unit."""
    window_ms: Optional[int]
    """Of the SLO, ms."""
    age_ms: Optional[int]
    """Age of the newest reading by the host's clock, ms."""
    late: int
    """Readings of the window that came after an instant that they belong to."""
    rejected: Dict[str, int]
    """Readings of the last hour that were rejected, by reason."""
    last_rejected: Optional[Refusal]
    """The last of them."""
    open_incidents: List[OpenIncident]
    """What is open, of all causes."""
    last_actions: List[Dict[str, Any]]
    """The last event of each of the last actions of a day, the newest first."""
    frozen: Optional[Dict[str, Any]]
    """The event by which a human stopped its actions, or all."""
    targets: List[Dict[str, Any]]
    """How its scraped sensors are: `sensor`, `url`, `state` (`up`, `down`, `stale`), `reason`, `scraped_at` (ms), `samples`."""
    as_of: Optional[int]
    """The partition's clock at the cut that the counts are of, ms since the Unix epoch."""


class _EntryPlace(TypedDict):
    topic: str
    """Its topic."""
    partition: int
    """Its partition."""
    offset: int
    """Its offset."""
    at: int
    """When the broker appended it, ms since the Unix epoch."""
    key: Any
    """The service's id; `{"hex": ...}` if it is no text."""


class Entry(_EntryPlace, total=False):
    """A record of the vault."""

    value: Dict[str, Any]
    """What it says; its `event` is its kind."""
    undecodable: Dict[str, Any]
    """In place of `value`: why nobody can tell, and the bytes in hex."""
