"""Readings onto the bus, each once; what cannot be is told or counted."""

from __future__ import annotations

import math
import threading
import time

import ops_sdk as ops
import pytest
from conftest import Bus, refusals


def test_a_reading_arrives_as_it_was_emitted(bus: Bus) -> None:
    bus.register("scanner")
    before = int(time.time() * 1000)
    assert ops.emit("queue_time_seconds", 31.2, service="scanner", pod="scanner-1", lanes=4)
    assert ops.emit("queue_time_seconds", 7, ts=1_700_000_000_000, service="scanner")
    stats = ops.flush()
    assert (stats["emitted"], stats["delivered"]) == (2, 2)
    first, second = sorted(bus.readings(), key=lambda reading: -reading.ts)
    assert (first.key, first.service, first.sensor, first.value) == ("scanner", "scanner", "queue_time_seconds", 31.2)
    assert before <= first.ts <= time.time() * 1000
    assert first.attributes == {"pod": "scanner-1", "lanes": "4"}
    assert (second.ts, second.value, second.attributes) == (1_700_000_000_000, 7.0, {})


def test_a_wrong_name_is_counted_at_first_and_an_error_once_it_is_known(bus: Bus) -> None:
    bus.register("scanner")
    for _ in range(3):
        assert ops.emit("queue_time", 1, service="scanner")
    assert ops.emit("queue_time_seconds", 1, service="scaner")
    with pytest.raises(ops.NotDelivered, match="unknown_sensor") as raised:
        ops.flush()
    assert refusals(raised.value)["refused"] == {"unknown_sensor": 3, "unknown_service": 1}
    with pytest.raises(ops.UnknownSensor, match="did you mean queue_time_seconds") as wrong:
        ops.emit("queue_time", 1, service="scanner")
    assert (wrong.value.service, wrong.value.name, wrong.value.near) == ("scanner", "queue_time", "queue_time_seconds")
    with pytest.raises(ops.UnknownService, match="did you mean scanner"):
        ops.emit("queue_time_seconds", 1, service="scaner")
    assert ops.emit("queue_time_seconds", 2, service="scanner")
    assert ops.flush()["delivered"] == 1
    assert bus.values() == [2]
    assert ops.stats() == {
        "emitted": 5,
        "delivered": 1,
        "refused": {"unknown_sensor": 3, "unknown_service": 1},
        "failed": {},
        "dropped": 0,
        "pending": 0,
    }


def test_what_is_registered_is_known_at_once(bus: Bus) -> None:
    ops.emit("queue_time_seconds", 1, service="scanner")
    with pytest.raises(ops.NotDelivered):
        ops.flush()
    ops.register(bus.spec("scanner"), wait=0)
    assert ops.emit("queue_time_seconds", 2)
    # The catalog that the buffer has is young and lacks the service: only a registration here makes it read it again.
    assert ops.flush()["delivered"] == 1


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_an_error(bus: Bus, value: float) -> None:
    with pytest.raises(ops.InvalidReading, match="not finite"):
        ops.emit("queue_time_seconds", value, service="scanner")
    assert ops.stats()["emitted"] == 0


def test_an_impossible_time_and_a_reading_too_large_are_errors(bus: Bus) -> None:
    with pytest.raises(ops.InvalidReading, match="no event time"):
        ops.emit("queue_time_seconds", 1, ts=0, service="scanner")
    with pytest.raises(ops.InvalidReading, match="may be 32768"):
        ops.emit("queue_time_seconds", 1, service="scanner", note="x" * 40_000)
    with pytest.raises(TypeError):
        ops.emit("queue_time_seconds", "1", service="scanner")  # type: ignore[arg-type]


def test_threads_emit_at_once_and_every_reading_arrives_once(bus: Bus) -> None:
    bus.register("scanner")
    threads, each = 8, 5_000

    def work(number: int) -> None:
        for n in range(each):
            assert ops.emit("queue_time_seconds", number * each + n, service="scanner")

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert ops.flush(120)["delivered"] == threads * each
    assert bus.values() == list(range(threads * each))


def test_of_which_service_is_said_or_found_or_asked(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    # In processes of their own: what was registered in this one would answer.
    script = "import ops_sdk as ops; ops.emit('queue_time_seconds', 1); ops.flush()"
    for id in ["scanner", "gate"]:
        bus.register(id)
    done = bus.python(script)
    assert "NoService" in done.stderr
    for way in ["ops.register", "OPS_SERVICE", "*.ops.yaml", "gate.ops.yaml, scanner.ops.yaml"]:
        assert way in done.stderr
    assert bus.python(script, OPS_SERVICE="gate").returncode == 0
    (bus.home / "gate.ops.yaml").unlink()
    assert bus.python(script).returncode == 0
    bus.spec("gate")
    assert bus.python("import ops_sdk as ops; ops.register('gate.ops.yaml', wait=0); " + script).returncode == 0
    assert [reading.service for reading in sorted(bus.readings(), key=lambda reading: reading.ts)] == [
        "gate",
        "scanner",
        "gate",
    ]
