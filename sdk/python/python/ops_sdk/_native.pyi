from os import PathLike
from typing import Dict, List, Optional, TypedDict, Union

from ._types import Stats

__all__ = [
    "VERSION",
    "close",
    "configure",
    "default_service",
    "emit",
    "find",
    "flush",
    "register",
    "stats",
    "status",
]

VERSION: str

class _Registered(TypedDict):
    id: str
    owner: str
    active: Optional[bool]
    warnings: List[str]

def configure(
    *,
    brokers: Optional[str] = None,
    topic_prefix: Optional[str] = None,
    vault: Optional[str] = None,
    capacity: Optional[int] = None,
    exit_timeout: Optional[float] = None,
    kafka: Optional[Dict[str, str]] = None,
) -> Optional[Stats]: ...
def emit(
    sensor: str,
    value: float,
    *,
    ts: Optional[int] = None,
    service: Optional[str] = None,
    **attributes: object,
) -> bool: ...
def default_service() -> str: ...
def register(path: Union[str, PathLike[str]], force: bool, wait: float, allow: List[str]) -> _Registered: ...
def status(service: str) -> str: ...
def find(
    vault: Optional[str],
    topic: Optional[str],
    service: Optional[str],
    kind: Optional[str],
    since: Optional[int],
    until: Optional[int],
) -> str: ...
def flush(timeout: float) -> Stats: ...
def stats() -> Stats: ...
def close() -> Optional[Stats]: ...
