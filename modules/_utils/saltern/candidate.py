"""A text that is to replace a file, shown before it does to the program that reads the file."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from saltern import commands, masking
from saltern.errors import SalternError

WORD = "CANDIDATE"
"""What stands for the candidate's path in the words of a checker."""
# As the broker does it at its start (rabbit_prelaunch_conf).
_RABBITMQ = r"""
[Path] = init:get_plain_arguments(),
Plugins = "/usr/lib/rabbitmq/lib/*/plugins/*/",
code:add_pathsa(filelib:wildcard(Plugins ++ "ebin")),
Schema = cuttlefish_schema:files(filelib:wildcard(Plugins ++ "priv/schema/*.schema")),
Errors = case cuttlefish_conf:files([Path]) of
  {errorlist, Unread} -> Unread;
  Conf -> case cuttlefish_generator:map(Schema, Conf) of {error, _, {errorlist, Found}} -> Found; _ -> [] end
end,
[io:format(standard_error, "~ts~n", [cuttlefish_error:xlate(Error)]) || {error, Error} <- Errors],
halt(min(length(Errors), 1)).
"""
_ERLANG = ("/usr/bin/erl", "+S1", "-noinput", "-boot", "no_dot_erlang", "-env", "ERL_CRASH_DUMP_BYTES", "0")
CHECKERS: Mapping[str, tuple[str, ...]] = {"rabbitmq": (*_ERLANG, "-eval", _RABBITMQ, "-extra", WORD)}
"""Checkers that need more than a command line: what the catalogue calls them → their words."""
TIMEOUT = 30
WIDTH = 400
"""How much is told of a line."""


def checker(given: str | Sequence[str]) -> tuple[str, ...]:
    """Return the words of a checker as the catalogue has them: those themselves, or one of the names above."""
    return CHECKERS[given] if isinstance(given, str) else tuple(given)


def checked(path: str, text: str, words: Sequence[str], secrets: Mapping[str, str]) -> tuple[list[str], str]:
    """Return what the checker has against the text as the file of this path; why it could not be asked, if so.

    What it said is told with the line of the file that it names, without secrets, and never more than the end of it.
    """
    if not shutil.which(words[0], path=commands.ENVIRONMENT["PATH"]):
        return [], f"{words[0]} is not installed"
    with near(path, text) as candidate:
        command = [word.replace(WORD, candidate) for word in words]
        said = commands.run(command, timeout=TIMEOUT, errors_only=True).replace(candidate, path)
    told = masking.redacted("\n".join([said, *_named_line(said, text)]), secrets)
    short = "\n".join(line[:WIDTH] for line in told.splitlines())
    return [f"{path}: {Path(words[0]).name} refuses it: {short}"] if said else [], ""


@contextmanager
def near(path: str, text: str) -> Iterator[str]:
    """Have the text in a file that nobody else may read; yields its path, and leaves nothing behind.

    It has the name of the file, and lies in a directory near to it: AppArmor lets a program read its configuration
    where that belongs, and nowhere else.
    """
    # not where a service's user could exchange it: in the first directory upwards that belongs to us
    place = next((each for each in Path(path).parents if each.is_dir() and each.stat().st_uid == os.geteuid()), Path())
    folder = place / f".{Path(path).name}.saltern-check"
    shutil.rmtree(folder, ignore_errors=True)  # what a killed run left behind
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise SalternError(f"{path}: {folder} cannot be made, to check it there: {error.strerror}") from error
    try:
        candidate = folder / Path(path).name
        candidate.touch(mode=0o600)
        candidate.write_text(text, encoding="utf-8")
        yield str(candidate)
    finally:
        shutil.rmtree(folder)


def _named_line(said: str, text: str) -> list[str]:
    """Return the first line of the text of which only the number was said."""
    lines = dict(enumerate(text.splitlines(), 1))
    numbers = [int(number) for number in re.findall(r"\bline (\d{1,6})\b", said)]
    return [f"line {number}: {lines[number]}" for number in numbers[:1] if number in lines]
