"""A missing server skips a test, and in CI fails it; one that does not start says why."""

from pathlib import Path

import pytest

from tests.servers.processes import free_port, missing, python_command, server_process


def test_missing_elsewhere_and_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no node"):
        missing("no node")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no node"):
        missing("no node")


def test_a_server_that_ends_at_once_is_told_with_its_words(tmp_path: Path) -> None:
    command = python_command("http.server", "--no-such-option")
    with pytest.raises(RuntimeError, match="no-such-option"), server_process(command, free_port(), tmp_path / "log"):
        pass
