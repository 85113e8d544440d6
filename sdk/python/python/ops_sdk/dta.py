"""The vault (HMS-DTA): the archive of everything that was decided and done.

    from ops_sdk import dta
    dta.find(topic="ops.incident")
"""

from __future__ import annotations

import json
import time
from datetime import datetime, timedelta
from typing import List, Optional, Union, cast

from . import _native
from ._types import Entry

__all__ = ["Entry", "find"]

Time = Union[datetime, timedelta, int]


def find(
    *,
    topic: Optional[str] = None,
    service: Optional[str] = None,
    kind: Optional[str] = None,
    since: Optional[Time] = None,
    until: Optional[Time] = None,
    vault: Optional[str] = None,
) -> List[Entry]:
    """The records that match all that is given, oldest first.

    `topic` is `ops.incidents` (`ops.incident` will do) or `ops.actions`; `kind` the name of an event (`opened`, `requested`,
    `resolved`, `done`, ...). `since` (included) and `until` (not) are append times: a `datetime` (without a zone: local time), ms
    since the Unix epoch, or a `timedelta`, which is so long ago. `vault` is a directory; else `OPS_VAULT`, else `./vault`.

    A record that nobody can decode has no kind, so it is never left out for it: it has `undecodable` in place of `value`.

    Raises `VaultError`: there is no vault, or it cannot be read as a whole.
    """
    found = _native.find(vault, topic, service, kind, _ms(since), _ms(until))
    return cast(List[Entry], json.loads(found))


def _ms(when: Optional[Time]) -> Optional[int]:
    if isinstance(when, datetime):
        return round(when.timestamp() * 1000)
    if isinstance(when, timedelta):
        return round((time.time() - when.total_seconds()) * 1000)
    return when
