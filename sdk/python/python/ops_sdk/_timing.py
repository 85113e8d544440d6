"""How long something takes, as readings: `timer`, `timed`, `job`.

Measuring never breaks what is measured: an error of the emission goes to the log (`ops_sdk`), not to the caller.
"""

from __future__ import annotations

import functools
import inspect
import threading
import time
from types import TracebackType
from typing import Any, Callable, Dict, List, Optional, Type, TypeVar, Union, cast, overload

from . import _native
from ._report import log
from .errors import OpsError

F = TypeVar("F", bound=Callable[..., Any])


class Span:
    """Measures a `with` block, or every call of the function that it decorates (`async` ones too)."""

    def __init__(self, service: Optional[str], attributes: Dict[str, Any]) -> None:
        self._service = service
        self._attributes = attributes
        # A block may lie inside another of the same object, and threads do not meet.
        self._local = threading.local()

    def _readings(self, seconds: float, failed: bool) -> Dict[str, float]:
        raise NotImplementedError

    def _begin(self) -> float:
        return time.perf_counter()

    def _end(self, began: float, error: Optional[Type[BaseException]]) -> None:
        attributes: Dict[str, Any] = self._attributes if error is None else {**self._attributes, "error": error.__name__}
        readings = self._readings(time.perf_counter() - began, error is not None)
        try:
            for sensor, value in readings.items():
                _native.emit(sensor, value, service=self._service, **attributes)
        except OpsError as why:
            log.warning("not measured: %s", why)

    def __enter__(self) -> Span:
        began: List[float] = self._local.__dict__.setdefault("began", [])
        began.append(self._begin())
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self._end(self._local.began.pop(), kind)

    def __call__(self, function: F) -> F:
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def measured_async(*args: Any, **kwargs: Any) -> Any:
                # Not a `with`: calls that run at the same time on one thread do not end in the order of a stack.
                began = self._begin()
                try:
                    answer = await function(*args, **kwargs)
                except BaseException as error:
                    self._end(began, type(error))
                    raise
                self._end(began, None)
                return answer

            return cast(F, measured_async)

        @functools.wraps(function)
        def measured(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return cast(F, measured)


class Timer(Span):
    """See `timer`."""

    def __init__(self, sensor: str, service: Optional[str], attributes: Dict[str, Any]) -> None:
        super().__init__(service, attributes)
        self._sensor = sensor

    def _readings(self, seconds: float, failed: bool) -> Dict[str, float]:
        return {self._sensor: seconds}


class Job(Span):
    """See `job`."""

    def __init__(self, name: str, service: Optional[str], attributes: Dict[str, Any]) -> None:
        super().__init__(service, attributes)
        self._name = name

    def _readings(self, seconds: float, failed: bool) -> Dict[str, float]:
        return {f"{self._name}_duration_seconds": seconds, f"{self._name}_success": 0.0 if failed else 1.0}


def timer(sensor: str, *, service: Optional[str] = None, **attributes: object) -> Timer:
    """Emits how long a block takes, in seconds, to `sensor`.

    A block that raises is measured too; its reading has the attribute `error`, the exception's class.

        with ops.timer("checkout_seconds"):
            checkout()
    """
    return Timer(sensor, service, attributes)


@overload
def timed(sensor: F, /) -> F: ...


@overload
def timed(
    sensor: Optional[str] = None, /, *, service: Optional[str] = None, **attributes: object
) -> Callable[[F], F]: ...


def timed(
    sensor: Union[F, str, None] = None, /, *, service: Optional[str] = None, **attributes: object
) -> Union[F, Callable[[F], F]]:
    """Decorates a function, `async` or not: every call emits how long it took, in seconds.

    `@timed` emits to the sensor `<name of the function>_seconds`, `@timed("name")` to `name`.
    """

    def decorate(function: F) -> F:
        name = sensor if isinstance(sensor, str) else f"{function.__name__}_seconds"
        return Timer(name, service, attributes)(function)

    return decorate(sensor) if callable(sensor) else decorate


def job(name: str, *, service: Optional[str] = None, **attributes: object) -> Job:
    """Watches a job that runs now and then: a `with` block, or every call of a function.

    Emits, at its end, `<name>_duration_seconds` and `<name>_success` (1, or 0 if it raised). A run that is missed emits
    nothing: the spec tells of it by `no_data` of `<name>_success` (`examples/nightly_sync.ops.yaml`).

        @ops.job("nightly_sync")
        def sync() -> None: ...
    """
    return Job(name, service, attributes)
