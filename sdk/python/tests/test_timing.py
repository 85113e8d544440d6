"""Durations as readings."""

from __future__ import annotations

import asyncio
import logging
from typing import Dict, List, Tuple

import ops_sdk as ops
import pytest
from conftest import Bus, Reading


@pytest.fixture
def svc(bus: Bus) -> ops.Service:
    bus.register("scanner")
    return ops.Service("scanner")


def by_sensor(bus: Bus) -> Dict[str, List[Reading]]:
    ops.flush()
    found: Dict[str, List[Reading]] = {}
    for reading in bus.readings():
        found.setdefault(reading.sensor, []).append(reading)
    return found


def test_a_timer_emits_how_long_a_block_took_in_seconds(bus: Bus, svc: ops.Service) -> None:
    with ops.timer("checkout_seconds", service="scanner", shop="dca"):
        with svc.timer("work_seconds"):
            sum(range(1000))
    found = by_sensor(bus)
    [outer], [inner] = found["checkout_seconds"], found["work_seconds"]
    assert 0 < inner.value < outer.value < 60
    assert outer.attributes == {"shop": "dca"}


def test_a_block_that_raises_is_measured_and_raises(bus: Bus, svc: ops.Service) -> None:
    with pytest.raises(KeyError), svc.timer("work_seconds"):
        raise KeyError("x")
    [reading] = by_sensor(bus)["work_seconds"]
    assert reading.attributes == {"error": "KeyError"}


def test_a_function_is_timed_under_its_name_or_the_one_given(bus: Bus, svc: ops.Service, monkeypatch: pytest.MonkeyPatch) -> None:
    @svc.timed()
    def work(n: int) -> int:
        """Doubles."""
        return 2 * n

    @ops.timed("checkout_seconds", service="scanner")
    def checkout() -> str:
        return "done"

    assert (work(2), checkout(), work.__name__, work.__doc__) == (4, "done", "work", "Doubles.")
    found = by_sensor(bus)
    assert {sensor: len(readings) for sensor, readings in found.items()} == {"work_seconds": 1, "checkout_seconds": 1}


def test_without_parentheses_the_service_is_that_of_the_process(bus: Bus) -> None:
    bus.register("scanner")
    script = """
import ops_sdk as ops

@ops.timed
def work(): return 7

assert work() == 7
"""
    done = bus.python(script, OPS_SERVICE="scanner")
    assert (done.returncode, done.stderr) == (0, "")
    assert [reading.sensor for reading in bus.readings()] == ["work_seconds"]


def test_calls_of_an_async_function_overlap_and_each_is_measured_to_its_own_end(bus: Bus, svc: ops.Service) -> None:
    async def run() -> Tuple[int, int]:
        first_may_end = asyncio.Event()

        @svc.timed("work_seconds", kind="async")
        async def work(number: int) -> int:
            if number == 1:
                await first_may_end.wait()
            else:
                await asyncio.sleep(0.05)
                first_may_end.set()
            return number

        # The first begins first and ends last.
        first, second = await asyncio.gather(work(1), work(2))
        return first, second

    assert asyncio.run(run()) == (1, 2)
    readings = by_sensor(bus)["work_seconds"]
    assert len(readings) == 2 and all(reading.value > 0.04 for reading in readings)


def test_a_job_tells_its_duration_and_whether_it_succeeded(bus: Bus, svc: ops.Service) -> None:
    @svc.job("nightly_sync")
    def sync(fail: bool) -> None:
        if fail:
            raise RuntimeError("no")

    sync(False)
    with pytest.raises(RuntimeError):
        sync(True)
    with ops.job("nightly_sync", service="scanner"):
        pass
    found = by_sensor(bus)
    assert len(found["nightly_sync_duration_seconds"]) == 3
    assert sorted(reading.value for reading in found["nightly_sync_success"]) == [0, 1, 1]
    assert [reading.attributes for reading in found["nightly_sync_success"] if reading.value == 0] == [
        {"error": "RuntimeError"}
    ]


def test_measuring_never_breaks_what_is_measured(bus: Bus, svc: ops.Service, caplog: pytest.LogCaptureFixture) -> None:
    with svc.timer("no_such_sensor"):
        pass
    with pytest.raises(ops.NotDelivered):
        ops.flush()
    with caplog.at_level(logging.WARNING, "ops_sdk"), svc.timer("no_such_sensor"):
        done = True
    assert done and "no sensor" in caplog.text
