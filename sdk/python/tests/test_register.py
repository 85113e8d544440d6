"""Registering, asking, and the errors of both."""

from __future__ import annotations

import logging
from pathlib import Path

import ops_sdk as ops
import pytest
from conftest import Bus
from ops_sdk import dta
from ops_sdk.errors import Finding

NOBODY = "127.0.0.1:9"


def test_register_answers_the_service_and_says_that_no_processor_runs(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "ops_sdk"):
        svc = ops.register(bus.spec("scanner", owner="TSA"), wait=0.1)
    assert (svc.id, svc.owner, svc.active) == ("scanner", "TSA", False)
    assert "no processor has taken it up" in caplog.text
    assert bus.ops("services").count("scanner") == 1
    assert ops.register(str(bus.spec("scanner", owner="TSA")), wait=0).active is None


def test_a_bad_spec_is_an_error_with_its_places(bus: Bus) -> None:
    path = bus.home / "bad.ops.yaml"
    path.write_text("id: scanner\nowner: me\nsensorz: []\n")
    with pytest.raises(ops.SpecError, match="bad.ops.yaml: line 3") as raised:
        ops.register(path)
    [finding] = [finding for finding in raised.value.findings if finding.line == 3]
    assert isinstance(finding, Finding) and (finding.severity, finding.column) == ("error", 1)
    assert "sensors" in (finding.help or "") + finding.message
    with pytest.raises(FileNotFoundError):
        ops.register(bus.home / "none.ops.yaml")


def test_anothers_service_is_taken_over_only_by_force(bus: Bus) -> None:
    ops.register(bus.spec("scanner", owner="TSA"), wait=0)
    other = bus.spec("scanner", owner="me")
    with pytest.raises(ops.OtherOwner) as raised:
        ops.register(other, wait=0)
    assert (raised.value.service, raised.value.owner, raised.value.claimed) == ("scanner", "TSA", "me")
    assert ops.register(other, force=True, wait=0).owner == "me"


def test_a_status_has_what_its_type_says(bus: Bus) -> None:
    svc = ops.register(bus.spec("scanner"), wait=0)
    status = svc.status()
    assert set(status) == set(ops.Status.__annotations__)
    assert (status["service"], status["slo_state"], status["quality"]) == ("scanner", "unknown", "inactive")
    assert ops.status() == ops.status("scanner")
    with pytest.raises(ops.UnknownService, match="did you mean scanner") as raised:
        ops.status("scaner")
    assert (raised.value.name, raised.value.near) == ("scaner", "scanner")


def test_without_a_cluster_register_and_status_say_so(tmp_path: Path) -> None:
    ops.configure(brokers=NOBODY, exit_timeout=0)
    spec = tmp_path / "x.ops.yaml"
    spec.write_text("id: x\nowner: me\n")
    with pytest.raises(ops.BusError):
        ops.register(spec)
    with pytest.raises(ops.BusError):
        ops.status("x")


def test_a_setting_that_cannot_be_is_an_error() -> None:
    with pytest.raises(ops.ConfigError, match="acks"):
        ops.configure(kafka={"acks": "0"})
    with pytest.raises(ops.ConfigError):
        ops.configure(exit_timeout=-1)


def test_a_vault_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ops.VaultError, match="cannot open the vault"):
        dta.find(vault=str(tmp_path / "none"))
    (tmp_path / "vault").mkdir()
    assert dta.find(topic="ops.incident", vault=str(tmp_path / "vault")) == []
