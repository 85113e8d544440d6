"""The three files of examples/python against `ops demo`, as the README tells it."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Dict, Iterator

import pytest
from conftest import PROGRAM, eventually

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "python"


@pytest.fixture
def demo() -> Iterator[Dict[str, str]]:
    """What a running demo says to export."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("OPS_")}
    with subprocess.Popen([PROGRAM, "demo"], env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            for line in process.stdout:
                if line.strip().startswith("export "):
                    exports = dict(word.split("=", 1) for word in shlex.split(line)[1:])
                    break
            yield {**env, **exports}
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=120)


def test_the_examples_run_as_they_stand_against_the_demo(demo: Dict[str, str]) -> None:
    def run(name: str) -> str:
        command = [sys.executable, name]
        return subprocess.run(command, cwd=EXAMPLES, env=demo, check=True, stdout=subprocess.PIPE, text=True).stdout

    assert run("register.py") == "DCA_Luggage_Scanner\n"
    with subprocess.Popen([sys.executable, "emit.py"], cwd=EXAMPLES, env=demo) as emitter:
        try:
            def answer() -> str:
                out = run("ask.py")
                is_there = out.startswith("breached\n") and "'event': 'opened'" in out
                return out if is_there else ""

            out = eventually("breached, and in the vault", answer)
        finally:
            emitter.kill()
    entry = next(line for line in out.splitlines() if "'event': 'opened'" in line)
    assert "'topic': 'ops.incidents'" in entry and "'key': 'DCA_Luggage_Scanner'" in entry
