"""The front door: its environment's requirements, its table of verbs, its closing line."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from frontdoor import __main__ as main
from frontdoor import requirements, testing
from frontdoor.testing import Count
from lab import sites
from lab.command import LabError

PYPROJECT = (Path(__file__).parents[3] / "pyproject.toml").read_text()


def test_every_requirement_is_pinned_exactly() -> None:
    lines = requirements.requirements(PYPROJECT, "test")
    assert len(lines) > 20
    assert [line for line in lines if line.count("==") != 1 or "*" in line] == []


def test_the_tests_group_holds_what_runs_too() -> None:
    run = requirements.requirements(PYPROJECT, "run")
    assert set(run) < set(requirements.requirements(PYPROJECT, "test"))
    assert not any(line.startswith("pytest") for line in run)


@pytest.mark.parametrize("verb", ["lab", "test", "verify", "validate", "plan", "explain", "init"])
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main.main([verb, "--help"])
    assert stop.value.code == 0
    assert verb in capsys.readouterr().out


def test_an_unknown_site_is_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["lab", "status", "--site", "nowhere"]) == 2
    error = capsys.readouterr().err
    assert "'nowhere'" in error
    assert "Traceback" not in error


def test_counts_of_a_report_are_summed() -> None:
    report = '<testsuites><testsuite tests="9" failures="2" errors="1" skipped="1"/></testsuites>'
    assert testing.counted(report) == Count(passed=5, failed=3, skipped=1)


def test_the_closing_line() -> None:
    assert str(Count(3, 1) + Count(2, 0)) == "5 passed, 1 failed"
    assert str(Count(1, 0, 2)) == "1 passed, 0 failed, 2 skipped"
    assert Count(1, 0, 2).whole() == Count(1, 2)


def test_a_failing_check_counts_and_shows_its_words(capfd: pytest.CaptureFixture[str]) -> None:
    assert testing.check("bad", [sys.executable, "-c", "print('why'); raise SystemExit(1)"]) == Count(failed=1)
    assert "why" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("called", "expected", "said"),
    [("f(0), f(1)", Count(passed=2), r"coverage +passed"), ("f(0)", Count(1, 1), r"coverage +FAILED(.|\n)* 75% +3\n")],
)
def test_a_line_that_no_test_reaches_is_a_failure(
    called: str, expected: Count, said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "measured.py").write_text("def f(x):\n    if x:\n        return 1\n    return 0\n")
    load = f"import sys\nsys.path.insert(0, {str(tmp_path / 'package')!r})\nimport measured\nf = measured.f\n"
    (tmp_path / "test_x.py").write_text(f"{load}def test_f(): assert [{called}][0] == 0\n")
    assert testing.pytest([str(tmp_path / "test_x.py")], False, [str(tmp_path / "package")]) == expected
    assert re.search(said, capfd.readouterr().out)


def test_a_test_run_with_failures_has_a_bad_exit_code(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text("def test_a(): pass\ndef test_b(): assert False\n")
    argv = [sys.executable, "-m", "frontdoor", "test", str(tmp_path / "test_x.py")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=_path())
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "1 passed, 1 failed"


def test_a_test_file_that_does_not_load_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text("import nothing_of_that_name\n")
    argv = [sys.executable, "-m", "frontdoor", "test", str(tmp_path / "test_x.py")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=_path())
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "0 passed, 1 failed"


def test_tests_of_a_lab_are_told_its_site(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text(sites.find("lab").read_text().replace("name: lab", "name: another"))
    said = "import os\ndef test_a(): assert os.environ['SALTERN_SITE'] == "
    (tmp_path / "test_x.py").write_text(f"{said}{str(site)!r}\n")
    argv = [sys.executable, "-m", "frontdoor", "test", "--site", str(site), str(tmp_path / "test_x.py")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=_path())
    assert done.stdout.splitlines()[-1] == "1 passed, 0 failed"


def refused(*words: str) -> None:
    parser = argparse.ArgumentParser()
    testing.add_arguments(parser)
    testing.refuse(parser.parse_args(words), sites.load("lab"))


def test_a_test_that_is_not_there_is_told() -> None:
    with pytest.raises(LabError, match=r"no such tests: tests/unit/test_nothing.py::test_x;"):
        refused("tests/unit/lab", "tests/unit/test_nothing.py::test_x")


@pytest.mark.parametrize("words", [[], ["--use-lab"], ["tests/integration/test_lab.py::test_x"]])
def test_only_root_tests_a_lab(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(LabError, match=r"root: "):
        refused(*words)
    refused("--quick")
    refused("tests/unit/lab/test_frontdoor.py::test_x")


def test_a_lab_that_no_test_made_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.layout.STATE", tmp_path)
    monkeypatch.setattr("lab.down.down", lambda lab, purge: shutil.rmtree(lab.state, ignore_errors=True))
    lab = sites.load("lab")
    testing.claim(lab)
    testing.claim(lab)
    (lab.state / testing.OURS).unlink()
    with pytest.raises(LabError, match=r"is yours: `./saltern lab down --purge` removes it"):
        testing.claim(lab)
    assert lab.state.exists()


def test_verification_of_nothing_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main.main(["verify", "--no-smoke", "--smoke-only"])
    assert "not allowed with" in capsys.readouterr().err


def _path() -> dict[str, str]:
    root = Path(__file__).parents[3]
    return {"PYTHONPATH": f"{root}:{root}/modules/_utils", "PATH": "/usr/bin:/bin"}
