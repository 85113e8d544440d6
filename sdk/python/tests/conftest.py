"""A Kafka for the whole run, and topics of its own for each test."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional

import ops_sdk as ops
import pytest

PROGRAM = os.environ.get("OPS_PROGRAM", "ops")
PARTITIONS = 4
SPEC = """\
id: {id}
owner: {owner}
sensors:
  - name: queue_time_seconds
  - name: checkout_seconds
  - name: work_seconds
  - name: nightly_sync_duration_seconds
  - name: nightly_sync_success
playbook:
  - always:
    log_to: HMS-DTA
"""


class Reading(NamedTuple):
    """A record of `ops.metrics`, decoded by hand from its Avro schema (schemas/reading.avsc)."""

    key: str
    service: str
    sensor: str
    ts: int
    value: float
    attributes: Dict[str, str]


class Kafka(NamedTuple):
    brokers: str
    pid: int

    def stop(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


@pytest.fixture(scope="session")
def kafka() -> Iterator[Kafka]:
    with subprocess.Popen([PROGRAM, "local-kafka"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        told = json.loads(process.stdout.readline())
        yield Kafka(told["brokers"], told["pid"])
        process.stdin.close()


class Bus:
    """Topics of one test."""

    def __init__(self, kafka: Kafka, prefix: str, home: Path) -> None:
        self.kafka, self.prefix, self.home = kafka, prefix, home
        where = {"OPS_BROKERS": kafka.brokers, "OPS_TOPIC_PREFIX": prefix}
        self.env = {**os.environ, **where}
        self.env.pop("OPS_SERVICE", None)

    def ops(self, *args: str) -> str:
        done = subprocess.run([PROGRAM, *args], env=self.env, capture_output=True, text=True, check=True)
        return done.stdout

    def spec(self, id: str, owner: str = "me") -> Path:
        path = self.home / f"{id}.ops.yaml"
        path.write_text(SPEC.format(id=id, owner=owner))
        return path

    def register(self, id: str) -> str:
        """With the command, not with what is tested here."""
        return self.ops("register", "--no-wait", str(self.spec(id))).strip()

    def python(self, script: str, **env: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", script]
        return subprocess.run(
            command, env={**self.env, **env}, cwd=self.home, capture_output=True, text=True, timeout=120
        )

    def readings(self) -> List[Reading]:
        """All of them, by kcat."""
        command = ["kcat", "-C", "-q", "-e", "-b", self.kafka.brokers, "-t", f"{self.prefix}ops.metrics"]
        out = subprocess.run([*command, "-f", "%k|%S|%s"], capture_output=True, check=True).stdout
        found, at = [], 0
        while at < len(out):
            key, middle = out.index(b"|", at), out.index(b"|", out.index(b"|", at) + 1)
            end = middle + 1 + int(out[key + 1 : middle])
            found.append(decode(out[at:key].decode(), out[middle + 1 : end]))
            at = end
        return found

    def values(self) -> List[float]:
        return sorted(reading.value for reading in self.readings())


def decode(key: str, value: bytes) -> Reading:
    import struct

    at = 10  # behind the header of Avro's single-object encoding

    def number() -> int:
        nonlocal at
        shift = result = 0
        while True:
            byte = value[at]
            at += 1
            result |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return (result >> 1) ^ -(result & 1)

    def text() -> str:
        nonlocal at
        length = number()
        at += length
        return value[at - length : at].decode()

    service, sensor, ts = text(), text(), number()
    (measured,) = struct.unpack("<d", value[at : at + 8])
    at += 8
    attributes = {}
    while n := number():
        if n < 0:
            number()
        for _ in range(abs(n)):
            name = text()
            attributes[name] = text()
    assert at == len(value)
    return Reading(key, service, sensor, ts, measured, attributes)


_numbers = itertools.count()


@pytest.fixture
def bus(kafka: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bus]:
    bus = Bus(kafka, f"py{os.getpid()}-{next(_numbers)}.", tmp_path)
    bus.ops("topics", "apply", "--partitions", str(PARTITIONS))
    monkeypatch.delenv("OPS_SERVICE", raising=False)
    monkeypatch.chdir(tmp_path)
    ops.configure(brokers=kafka.brokers, topic_prefix=bus.prefix)
    yield bus
    ops.configure()


def eventually(what: str, look: Any, within: float = 120.0) -> Any:
    """Looks until there is something."""
    deadline = time.monotonic() + within
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what}: not within {within} s"
        time.sleep(0.2)


def refusals(error: Optional[BaseException]) -> ops.Stats:
    assert isinstance(error, ops.NotDelivered) and error.stats
    return error.stats
