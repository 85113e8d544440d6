"""Says what was not delivered: in the log while the program runs, on stderr at its end."""

from __future__ import annotations

import atexit
import logging
import multiprocessing.util
import sys
from typing import Optional

from . import _native
from ._types import Stats

log = logging.getLogger("ops_sdk")


def told(stats: Stats) -> Optional[str]:
    """What was not delivered, for people; `None` if everything was."""
    parts = [f"{n:,} were refused ({reason})" for reason, n in stats["refused"].items()]
    parts += [f"{n:,} were not taken by the cluster ({reason})" for reason, n in stats["failed"].items()]
    if stats["dropped"]:
        parts.append(f"{stats['dropped']:,} were dropped because the buffer was full")
    if stats["pending"]:
        parts.append(f"{stats['pending']:,} had no answer in time and may have arrived or not")
    if not parts:
        return None
    lost = stats["emitted"] - stats["delivered"]
    return f"{lost:,} of {stats['emitted']:,} readings were not delivered: {'; '.join(parts)}"


def dropped(stats: Stats, capacity: int) -> None:
    """Called by `emit`, now and then, when the buffer is full."""
    log.warning("the buffer of %s readings is full: %s were dropped so far", f"{capacity:,}", f"{stats['dropped']:,}")


def _at_exit() -> None:
    stats = _native.close()
    story = told(stats) if stats else None
    if story:
        print(f"ops_sdk: {story}", file=sys.stderr)


atexit.register(_at_exit)


class _Child:
    """Children of `multiprocessing` end without `atexit`; they have an end of their own."""


_child = _Child()
multiprocessing.util.register_after_fork(
    _child, lambda _: multiprocessing.util.Finalize(None, _at_exit, exitpriority=0)
)
