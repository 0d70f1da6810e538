"""distsuper's functions and their signatures: what its own tests/test_api.py expects of them, but for
what docs/http.md says is otherwise, such as that values of an environment are not shown."""

from __future__ import annotations

import inspect
import logging
import pathlib
import subprocess
import sys
import time
from typing import Any, Dict

import pytest
from conftest import DEADLINE
from dsbus import distsuper as server

STOPPED, STARTING, RUNNING = 0, 10, 20


def row(**which: Any) -> Dict[str, Any]:
    found = server.get_process(**which)
    assert isinstance(found, dict)
    return found


def written(path: pathlib.Path, lines: int) -> None:
    """Waits until so many lines are in a file."""
    end = time.monotonic() + DEADLINE
    while not path.exists() or path.read_text().count("\n") < lines:
        assert time.monotonic() < end, path
        time.sleep(0.05)


def test_parameters_and_defaults_are_those_of_distsuper() -> None:
    def defaults(name: str) -> Dict[str, Any]:
        signature = inspect.signature(getattr(server, name))
        return {name: one.default for name, one in signature.parameters.items()}

    assert list(defaults("create_process").items()) == [
        ("program_name", inspect.Parameter.empty),
        ("command", inspect.Parameter.empty),
        ("directory", None),
        ("environment", None),
        ("auto_start", True),
        ("machines", "127.0.0.1"),
        ("stdout_logfile", "/dev/null"),
        ("stderr_logfile", "/dev/null"),
        ("touch_timeout", 5),
        ("auto_restart", True),
        ("max_fail_count", 1),
        ("logger", logging.getLogger("client.server")),
    ]
    for name in ("start_process", "stop_process", "restart_process", "get_process"):
        assert list(defaults(name)) == ["program_id", "program_name", "logger"]


@pytest.mark.parametrize("by", ["program_id", "program_name"])
def test_a_life(by: str) -> None:
    name = f"life-{by}"
    made = server.create_process(name, "sleep 60")
    assert made
    which: Dict[str, Any] = {by: made if by == "program_id" else name}
    assert row(program_id=made)["status"] == RUNNING
    for act, status in [
        (server.stop_process, STOPPED),
        (server.stop_process, STOPPED),
        (server.restart_process, RUNNING),
        (server.start_process, RUNNING),
        (server.restart_process, RUNNING),
        (server.stop_process, STOPPED),
        (server.start_process, RUNNING),
        (server.stop_process, STOPPED),
    ]:
        assert act(**which) is True
        assert row(**which)["status"] == status


def test_what_is_declared_is_found(tmp_path: pathlib.Path) -> None:
    made = server.create_process(
        "declared",
        'test "`pwd`" = ' + str(tmp_path) + ' && test "$AAA" = a=b && echo out && echo err >&2 && sleep 60',
        directory=str(tmp_path),
        environment="AAA=a=b;B=b",
        machines="w1;w2",
        touch_timeout=60,
        auto_restart=False,
        max_fail_count=10,
        stdout_logfile="out.log",
        stderr_logfile=str(tmp_path / "err.log"),
    )
    found = row(program_id=made)
    assert (found["id"], found["name"], found["status"]) == (made, "declared", RUNNING)
    assert (found["machines"], found["machine"]) == ("w1;w2", "w1")
    assert (found["touch_timeout"], found["auto_restart"], found["max_fail_count"]) == (60, False, 10)
    assert found["environment"] == "AAA=;B=", "the values are secrets"
    # On a busy machine it is RUNNING before it says anything.
    written(tmp_path / "err.log", 1)
    assert server.stop_process(program_id=made)
    assert (tmp_path / "out.log").read_text() == "out\n"
    assert (tmp_path / "err.log").read_text() == "err\n"
    # It is created anew only where it is stopped, and stays the same program.
    assert server.create_process("declared", "sleep 60", auto_start=False) == made
    assert row(program_name="declared")["status"] == STOPPED


def test_spaces_in_an_environment_mean_nothing(tmp_path: pathlib.Path) -> None:
    made = server.create_process(
        "spaces",
        'test "$AAA" = aaa && test "$BBB" = "b b" && exec sleep 60',
        directory=str(tmp_path),
        environment="AAA=aaa; BBB = b b ",
    )
    assert row(program_id=made)["status"] == RUNNING
    assert server.stop_process(program_id=made)


def test_both_logs_are_one_file(tmp_path: pathlib.Path) -> None:
    made = server.create_process(
        "one-log",
        "echo out; echo err >&2; exec sleep 60",
        directory=str(tmp_path),
        stdout_logfile="both.log",
        stderr_logfile="both.log",
    )
    found = row(program_id=made)
    assert found["stdout_logfile"] == found["stderr_logfile"] == str(tmp_path / "both.log")
    written(tmp_path / "both.log", 2)
    assert server.stop_process(program_id=made)
    assert sorted((tmp_path / "both.log").read_text().splitlines()) == ["err", "out"]


def test_a_machine_that_is_none_runs_nothing() -> None:
    assert server.create_process("nowhere", "sleep 60", machines="wrong_machine") == ""
    # It is declared, and waits for such a worker.
    assert row(program_name="nowhere")["status"] == STARTING
    assert server.stop_process(program_name="nowhere")
    assert server.create_process("nowhere", "sleep 60", machines="") == ""
    made = server.create_process("nowhere", "sleep 60", machines="127.0.0.1;localhost")
    assert row(program_id=made)["status"] == RUNNING
    assert server.stop_process(program_id=made)


def test_nats_py_is_not_needed() -> None:
    code = "import sys, dsbus.distsuper; sys.exit('nats' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_all_of_them_are_a_list() -> None:
    server.create_process("listed", "sleep 60", auto_start=False)
    found = server.get_process()
    assert isinstance(found, list) and "listed" in [one["name"] for one in found]


def test_what_fails_is_logged_and_told_by_the_result(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    assert server.create_process("bad", "sleep 60", environment="A") == ""
    assert "environment" in caplog.text
    assert server.start_process(program_name="none") is False
    assert server.stop_process(program_id="x", program_name="y") is False
    assert server.get_process(program_name="none") is None
    caplog.clear()
    # Nobody there; by its own file, where nothing else is said.
    monkeypatch.delenv("DSBUS_GATEWAY")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "distsuper.ini").write_text("[distsuperctl]\nhost=127.0.0.1\nport=9\n")
    other = logging.getLogger("other")
    assert server.restart_process(program_name="none", logger=other) is False
    assert "http://127.0.0.1:9/restart" in caplog.text and caplog.records[-1].name == "other"
