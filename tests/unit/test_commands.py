"""Tools run with an end: what goes in, what is told of a failure, who runs them."""

import os
import pwd

import pytest
from saltern import commands
from saltern.errors import SalternError

AS_ROOT = pytest.mark.skipif(os.getuid() != 0, reason="only root becomes another user")


def test_a_secret_goes_in_by_a_pipe_or_the_environment():
    script = 'read word; test "$word" = on-stdin && test "$SECRET" = inside && test "$LC_ALL" = C.UTF-8'
    command = ["sh", "-c", script]
    assert commands.run(command, timeout=10, environment={"SECRET": "inside"}, stdin="on-stdin\n") == ""
    assert commands.run(command, timeout=10).startswith("exit status 1")


def test_the_end_of_what_a_failure_said_is_told():
    said = commands.run(["sh", "-c", "seq 100; echo why >&2; exit 3"], timeout=10)
    assert said.splitlines() == ["exit status 3", *map(str, range(82, 101)), "why"]


def test_standard_error_alone_is_told_where_the_rest_is_noise():
    script = "seq 100; echo why >&2; exit 3"
    assert commands.run(["sh", "-c", script], timeout=10, errors_only=True) == "exit status 3\nwhy"


def test_a_command_that_never_ends_is_killed_with_its_children():
    assert commands.bounded(["sh", "-c", "sleep 60 & wait"], dict(os.environ), 0.2) == "was killed after 0 s"


def test_a_command_that_does_not_read_its_input_is_no_failure():
    assert commands.run(["true"], timeout=10, stdin="x" * (1 << 20)) == ""


def test_what_cannot_be_run_is_named():
    with pytest.raises(SalternError, match="nobody-at-all"):
        commands.run(["true"], timeout=10, user="nobody-at-all")
    with pytest.raises(SalternError, match="/no/such/tool: No such file"):
        commands.bounded(["/no/such/tool"], dict(os.environ), 10)
    assert "No such file" in commands.run(["/no/such/tool"], timeout=10)


@AS_ROOT
def test_a_service_s_user_runs_it_and_keeps_its_files_to_itself():
    home = pwd.getpwnam("daemon").pw_dir
    script = f'test $(id -un) = daemon && test "$HOME" = {home} && test $(umask) = 0077'
    assert commands.run(["sh", "-c", script], timeout=10, user="daemon", umask=commands.PRIVATE) == ""
