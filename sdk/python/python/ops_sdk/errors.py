"""What can go wrong. Everything is an `OpsError`; what names something has it as a field."""

from __future__ import annotations

from typing import NamedTuple, Optional, Sequence, Tuple

from ._types import Stats


class OpsError(Exception):
    """Base of all errors of this package."""


class ConfigError(OpsError, ValueError):
    """A setting that cannot be: of `configure`, or of the environment."""


class NoService(OpsError, LookupError):
    """It cannot be told of which service a reading is. The message names the ways to say it."""


class BusError(OpsError):
    """The cluster, or the way to it: no answer, no such topic, no right to it. Trying again later may help."""


class VaultError(OpsError):
    """The vault is not there, or cannot be read as a whole."""


class UnknownService(OpsError, LookupError):
    """No such service is registered."""

    def __init__(self, message: str, name: str, near: Optional[str]) -> None:
        super().__init__(message)
        self.name = name
        """As it was given."""
        self.near = near
        """A registered one that was probably meant."""


class UnknownSensor(OpsError, LookupError):
    """The service's spec does not declare this sensor."""

    def __init__(self, message: str, service: str, name: str, near: Optional[str]) -> None:
        super().__init__(message)
        self.service = service
        """Of which service."""
        self.name = name
        """As it was given."""
        self.near = near
        """A declared one that was probably meant."""


class InvalidReading(OpsError, ValueError):
    """The reading would surely be rejected: not finite, no event time, larger than 32 KiB."""


class Finding(NamedTuple):
    """One thing about a spec, with its place."""

    severity: str
    """`error` or `warning`."""
    line: int
    """From 1."""
    column: int
    """From 1, in characters."""
    message: str
    """What is wrong."""
    help: Optional[str]
    """What to write instead."""


class SpecError(OpsError, ValueError):
    """The file is no spec; nothing was published."""

    def __init__(
        self, message: str, findings: Sequence[Tuple[str, int, int, str, Optional[str]]]
    ) -> None:
        super().__init__(message)
        self.findings = [Finding(*finding) for finding in findings]
        """All that was found, in file order; at least one is an error."""


class OtherOwner(OpsError):
    """The id is taken by another owner's service; nothing was published. `force=True` takes it over."""

    def __init__(self, message: str, service: str, owner: str, claimed: str) -> None:
        super().__init__(message)
        self.service = service
        """Which service."""
        self.owner = owner
        """Who registered it."""
        self.claimed = claimed
        """Whom the spec names."""


class NotDelivered(OpsError):
    """Not everything has arrived."""

    def __init__(self, message: str, stats: Optional[Stats] = None) -> None:
        super().__init__(message)
        self.stats = stats
        """Of `flush`: what became of the readings since the last flush."""
