"""The buffer: a broker that stands still, forks, the end of the program."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time

import ops_sdk as ops
import pytest
from conftest import Bus, refusals

# A port on which nobody answers.
NOBODY = "127.0.0.1:9"
# What a shell starts in the background does not hear Ctrl-C, and neither do its children.
HEAR = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
STOPPED_S = float(os.environ.get("OPS_TEST_STOPPED_S", "3"))


def test_a_broker_that_stands_still_holds_nobody_up_and_what_fits_is_delivered(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    bus.register("scanner")
    capacity, emitted = 2_000, 2_500
    ops.configure(brokers=bus.kafka.brokers, topic_prefix=bus.prefix, capacity=capacity)
    # Everything is connected, and nothing is on its way.
    ops.emit("queue_time_seconds", -1, service="scanner")
    ops.flush()
    bus.kafka.stop()
    try:
        began = time.monotonic()
        with caplog.at_level(logging.WARNING, "ops_sdk"):
            taken = [ops.emit("queue_time_seconds", n, service="scanner") for n in range(emitted)]
        assert time.monotonic() - began < STOPPED_S, "the caller waited for the broker"
        assert taken == [n < capacity for n in range(emitted)]
        assert ops.stats() == {
            "emitted": emitted + 1,
            "delivered": 1,
            "refused": {},
            "failed": {},
            "dropped": emitted - capacity,
            "pending": capacity,
        }
        with pytest.raises(ops.NotDelivered, match=r"2,500 of 2,500 readings.*500 were dropped.*2,000 had no answer"):
            ops.flush(max(0.0, STOPPED_S - (time.monotonic() - began)))
    finally:
        bus.kafka.go_on()
    # What was dropped was told by the flush before.
    assert ops.flush(120)["delivered"] == capacity
    assert bus.values() == list(range(-1, capacity))
    assert [record.getMessage() for record in caplog.records if record.name == "ops_sdk"] == [
        "the buffer of 2,000 readings is full: 1 were dropped so far"
    ]


FORK = """
import os, sys
import ops_sdk as ops

def emit(first, n):
    for value in range(first, first + n):
        assert ops.emit("queue_time_seconds", value, service="scanner")

emit(0, 1)
ops.flush()
# They wait, or are on their way, in the parent.
emit(1, 99)
child = os.fork()
if child == 0:
    assert ops.stats()["emitted"] == 0
    emit(1000, 50)
    sys.exit(0)
emit(100, 10)
_, status = os.waitpid(child, 0)
assert status == 0
emit(110, 10)
"""


def test_after_a_fork_both_go_on_and_nothing_is_sent_twice(bus: Bus) -> None:
    bus.register("scanner")
    done = bus.python(FORK)
    assert (done.returncode, done.stderr) == (0, "")
    assert bus.values() == [*range(120), *range(1000, 1050)]


def test_children_of_multiprocessing_flush_at_their_end(bus: Bus) -> None:
    bus.register("scanner")
    script = """
import multiprocessing
import ops_sdk as ops

def work(number):
    for n in range(100):
        assert ops.emit("queue_time_seconds", number * 100 + n, service="scanner")

if __name__ == "__main__":
    work(0)
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=work, args=(number,)) for number in (1, 2)]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0
"""
    done = bus.python(script)
    assert (done.returncode, done.stderr) == (0, "")
    assert bus.values() == list(range(300))


def test_the_end_of_a_program_flushes(bus: Bus) -> None:
    bus.register("scanner")
    done = bus.python("import ops_sdk as ops\nfor n in range(1000): ops.emit('queue_time_seconds', n, service='scanner')")
    assert (done.returncode, done.stderr) == (0, "")
    assert bus.values() == list(range(1000))


def test_the_end_of_a_program_is_not_held_up_and_tells_what_is_lost() -> None:
    script = f"""
import ops_sdk as ops
ops.configure(brokers="{NOBODY}", capacity=3, exit_timeout=0.1)
for n in range(5): ops.emit("queue_time_seconds", n, service="scanner")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1] == (
        "ops_sdk: 5 of 5 readings were not delivered: 2 were dropped because the buffer was full; "
        "3 had no answer in time and may have arrived or not"
    )


def test_another_configuration_flushes_what_was_there(bus: Bus) -> None:
    bus.register("scanner")
    ops.emit("queue_time_seconds", 1, service="scanner")
    ops.configure(brokers=NOBODY, exit_timeout=0)
    assert bus.values() == [1]
    assert ops.stats()["emitted"] == 0


def test_a_flush_waits_no_longer_than_it_may_and_says_what_is_left() -> None:
    ops.configure(brokers=NOBODY, exit_timeout=0)
    ops.emit("queue_time_seconds", 1, service="scanner")
    with pytest.raises(ops.NotDelivered) as raised:
        ops.flush(0.1)
    assert refusals(raised.value)["pending"] == 1
    with pytest.raises(ops.ConfigError):
        ops.flush(-1)


def test_a_flush_can_be_interrupted() -> None:
    script = f"""
{HEAR}
import ops_sdk as ops
ops.configure(brokers="{NOBODY}", exit_timeout=0)
ops.emit("queue_time_seconds", 1, service="scanner")
print("emitted", flush=True)
ops.flush(600)
"""
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline() == "emitted\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in err and "1 of 1 readings were not delivered" in err


def test_a_flush_among_emitting_threads_is_about_what_was_before(bus: Bus) -> None:
    bus.register("scanner")
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            ops.emit("queue_time_seconds", 1, service="scanner")
            time.sleep(0.0001)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for _ in range(20):
            ops.emit("queue_time_seconds", 2, service="scanner")
            assert ops.flush()["pending"] == 0
    finally:
        stop.set()
        worker.join()
    assert bus.values().count(2) == 20, "no flush after the last one was needed"


def test_an_interrupted_program_has_flushed(bus: Bus) -> None:
    bus.register("scanner")
    script = """
import signal, sys
import ops_sdk as ops
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
for n in range(100): ops.emit("queue_time_seconds", n, service="scanner")
print("emitted", flush=True)
signal.pause()
"""
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, env=bus.env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline() == "emitted\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert bus.values() == list(range(100))
