"""What the documentation tells people to type is there: commands, runners, files."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest

from frontdoor import __main__ as main
from lab import recipe

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SPAN = re.compile(r"`([^`]+)`")
BLOCK = re.compile(r"^(?: {4}|[ \t]*)(\./saltern .*)$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def spans(page: Path) -> list[str]:
    """Return the code in a page's sentences; one may go on in the next line."""
    return [" ".join(each.split()) for each in SPAN.findall(page.read_text().replace("```", ""))]


def commands(text: str, inline: list[str]) -> list[str]:
    """Return every command of the front door, without the comment behind it."""
    found = [*BLOCK.findall(text), *(each for each in inline if each.startswith("./saltern "))]
    return [" ".join(shlex.split(each, comments=True)) for each in found]


COMMANDS = sorted({(page.name, each) for page in PAGES for each in commands(page.read_text(), spans(page))})


def test_commands_are_found() -> None:
    text = "    ./saltern lab up   # all\nthen `./saltern explain HOST\nSERVICE X` and `salt x`\n"
    inline = [" ".join(each.split()) for each in SPAN.findall(text)]
    assert commands(text, inline) == ["./saltern lab up", "./saltern explain HOST SERVICE X"]
    assert len(COMMANDS) > 12


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_the_front_door_takes_every_command_shown(page: str, command: str) -> None:
    arguments = main.parser(main.verbs()).parse_args(shlex.split(command)[1:])
    assert callable(arguments.run), page


def test_a_command_that_does_not_exist_is_seen(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main.parser(main.verbs()).parse_args(["lab", "upp"])
    assert "upp" in capsys.readouterr().err


def functions(kind: str) -> set[str]:
    """Return what our modules of a kind offer, as Salt calls it."""
    found = set()
    for path in (ROOT / "modules" / kind).glob("*.py"):
        tree = ast.parse(path.read_text())
        named = [ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign)
                 and ast.unparse(node.targets[0]) == "__virtualname__"]  # fmt: skip
        module = named[0] if named else path.stem
        found |= {f"{module}.{node.name}" for node in tree.body if isinstance(node, ast.FunctionDef)}
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_runner_that_is_named_exists(page: Path) -> None:
    named = set(re.findall(r"`(?:salt-run )?(saltern\.[a-z_]+)(?= |`)", page.read_text()))
    assert named <= functions("_runners")


def test_runners_are_found() -> None:
    assert {"saltern.validate", "saltern.plan", "saltern.explain", "saltern.secrets"} <= functions("_runners")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file(page: Path) -> None:
    assert [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()] == []


def test_the_map_names_what_is_there() -> None:
    rows = re.findall(r"^\| (`.*?) \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    named = [each for row in rows for each in SPAN.findall(row)]
    assert len(named) > 8
    parents = ("", "modules/")
    assert [each for each in named if not any((ROOT / parent / each).exists() for parent in parents)] == []


def test_salts_environment_is_the_same_on_hosts_and_in_the_lab() -> None:
    text = (ROOT / "docs/operators-guide.md").read_text().replace("\\\n", " ")
    (command,) = re.findall(r"^/opt/saltern/salt/bin/pip (install .*)$", text, re.MULTILINE)
    words = shlex.split(command, comments=True)
    assert words == ["install", "--constraint", recipe.PINS.name, *recipe.LIBRARIES]
    assert set(recipe.LIBRARIES) <= set(recipe.CONSTRAINTS)


def test_salts_environment_is_pinned_exactly() -> None:
    assert len(recipe.CONSTRAINTS) > 100
    assert [each for each in recipe.CONSTRAINTS if not re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9.]+", each)] == []
    names = [re.sub("[-_.]+", "-", each.split("==")[0]).lower() for each in recipe.CONSTRAINTS]
    assert names == sorted(set(names))
