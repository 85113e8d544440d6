"""A registered service, and what can be said of it."""

from __future__ import annotations

import json
from os import PathLike
from typing import Callable, Optional, Sequence, TypeVar, Union, cast

from . import _native, _timing
from ._report import log
from ._types import Status

F = TypeVar("F", bound=Callable[..., object])


class Service:
    """A service by its id. `register` makes one; `Service("id")` is one that is registered already."""

    def __init__(self, id: str, owner: Optional[str] = None, active: Optional[bool] = None) -> None:
        self.id = id
        """The key of everything about it."""
        self.owner = owner
        """Whose it is, as its spec says; `None` if it was not registered here."""
        self.active = active
        """Did the processor judge by its spec when `register` returned? `None` if that was not waited for."""

    def emit(self, sensor: str, value: float, *, ts: Optional[int] = None, **attributes: object) -> bool:
        """`ops_sdk.emit` of this service."""
        return _native.emit(sensor, value, ts=ts, service=self.id, **attributes)

    def status(self) -> Status:
        """`ops_sdk.status` of this service."""
        return status(self.id)

    def timer(self, sensor: str, **attributes: object) -> _timing.Timer:
        """`ops_sdk.timer` of this service."""
        return _timing.timer(sensor, service=self.id, **attributes)

    def timed(self, sensor: Optional[str] = None, **attributes: object) -> Callable[[F], F]:
        """`ops_sdk.timed` of this service, with parentheses: `@svc.timed()`."""
        return _timing.timed(sensor, service=self.id, **attributes)

    def job(self, name: str, **attributes: object) -> _timing.Job:
        """`ops_sdk.job` of this service."""
        return _timing.job(name, service=self.id, **attributes)

    def __repr__(self) -> str:
        return f"Service({self.id!r})"


def register(
    path: Union[str, "PathLike[str]"], *, force: bool = False, wait: float = 15.0, allow: Sequence[str] = ()
) -> Service:
    """Publishes the spec in a file and waits until the processor judges by it.

    The same text again changes nothing. `wait` is how long to wait for the processor, in seconds (0: not at all). If none takes
    the spec up in time the service is registered all the same, and a warning goes to the log: it will find the spec when it
    starts.

    `allow` are networks inside to which a `scrape_url` may lead, as `[collect] allow` of `ops.toml`: `"10.0.0.0/8"`, `"127.0.0.1/32:9100"`.

    From then on readings of this process are of this service, unless they say otherwise.

    Raises `SpecError`, `ConfigError` and `OtherOwner` (without `force`), with nothing published; `NotDelivered`; `BusError`; `OSError`.
    """
    registered = _native.register(path, force, wait, list(allow))
    for warning in registered["warnings"]:
        log.warning("%s: %s", path, warning)
    if registered["active"] is False:
        log.warning("%s is registered, and no processor has taken it up within %g s", registered["id"], wait)
    return Service(registered["id"], registered["owner"], registered["active"])


def status(service: Optional[str] = None) -> Status:
    """How a service is now (without `service`, the one that `emit` would take). Reads the bus: a few hundred ms.

    Raises `UnknownService`, `NoService`, `BusError`.
    """
    return cast(Status, json.loads(_native.status(service or _native.default_service())))
