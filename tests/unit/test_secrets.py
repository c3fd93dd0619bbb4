"""The secrets file: strong and distinct values, kept as they are, readable by nobody else, never shown."""

from __future__ import annotations

import shutil
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from saltern import secrets
from saltern.errors import Problems

ONE, TWO = "correct horse battery", "staple, quoted: #yes"


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_generated_secrets_are_strong_and_distinct() -> None:
    names = [f"s{number}" for number in range(500)]
    made = secrets.generate({}, names)
    assert list(made) == names
    assert len(set(made.values())) == 500
    assert all(len(value) >= 43 and value.isascii() and value.isprintable() for value in made.values())
    assert not set(made.values()) & set(secrets.generate({}, names).values())


def test_existing_secrets_are_kept() -> None:
    assert secrets.generate({"a": ONE, "old": TWO}, ["a"]) == {"a": ONE, "old": TWO}


def test_forms() -> None:
    made = secrets.generate({}, ["h", "k"], {"h": "hex", "k": "ssh_key"})
    assert len(bytes.fromhex(made["h"])) == 32
    assert load_ssh_private_key(made["k"].encode(), password=None).public_key()


def test_missing_names_each() -> None:
    found = secrets.missing({"a": ONE}, ["a", "b", "c"])
    assert [problem.path for problem in found] == ["secrets:b", "secrets:c"]
    assert "salt-run saltern.secrets" in str(found[0])


def test_write_and_read(tmp_path: Path) -> None:
    file = tmp_path / "secrets.yaml"
    values = {"a": ONE, "b": TWO, "c": "0123456789012", **secrets.generate({}, ["k"], {"k": "ssh_key"})}
    secrets.write(file, values)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert secrets.read(file) == values
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666, 0o601])
def test_a_file_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(Problems, match=f"mode {mode:04o}.*mode 0600"):
        secrets.read(written(tmp_path / "s", f"a: {ONE}\n", mode))


REFUSED = [
    # content, path of the problem, part of the message
    ("a: hunter2hunter2\nb: hunter2hunter2\n", "secrets:b", "secrets:a is the same"),
    ("a: hunter2\n", "secrets:a", "at least 12"),
    ('a: ""\n', "secrets:a", "at least 12"),
    ('a: "hunter2\\nhunter2"\n', "secrets:a", "on one line"),
    ("a: 12345678901234\n", "secrets:a", "in quotes"),
    ("a: null\n", "secrets:a", "in quotes"),
    ("1: hunter2hunter2\n", "secrets:1", "in quotes"),
    ("a: {b: hunter2hunter2}\n", "secrets:a", "in quotes"),
    ("hunter2hunter2\n", "FILE:1:1", "a mapping"),
    ("a: !!int hunter2hunter2\n", "FILE:1:4", "YAML"),
    ("a: *hunter2hunter2\n", "FILE:1:4", "YAML"),
    ("", "FILE", "a mapping"),
]


@pytest.mark.parametrize(("content", "path", "message"), REFUSED)
def test_refused_without_showing_a_value(tmp_path: Path, content: str, path: str, message: str) -> None:
    file = written(tmp_path / "s", content)
    with pytest.raises(Problems) as caught:
        secrets.read(file)
    assert [problem.path for problem in caught.value.problems] == [path.replace("FILE", str(file))]
    assert message in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_files_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    with pytest.raises(Problems, match="saltern init"):
        secrets.read(tmp_path / "none")
    with pytest.raises(Problems, match="Not a directory"):
        secrets.read(written(tmp_path / "file", "") / "below")
    with pytest.raises(Problems, match="a directory that exists"):
        secrets.complete(tmp_path / "none" / "s", ["a"])
    (tmp_path / "directory").mkdir()
    with pytest.raises(Problems, match="a file that can be written"):
        secrets.write(tmp_path / "directory", {"a": ONE})


def test_complete_makes_the_file(tmp_path: Path) -> None:
    file = tmp_path / "s"
    assert secrets.complete(file, ["a", "b"]) == ["a", "b"]
    assert set(secrets.read(file)) == {"a", "b"}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_complete_keeps_comments_and_values(tmp_path: Path) -> None:
    before = f"# mine\na: {ONE}  # old\npgp: |\n  {secrets.PGP}\n  x\n"
    file = written(tmp_path / "s", before)
    assert secrets.complete(file, ["b", "a"]) == ["b"]
    assert file.read_text().startswith(before + "b: ")
    after = file.read_text()
    assert secrets.complete(file, ["b", "a"]) == []
    assert file.read_text() == after


@pytest.mark.parametrize(
    "before", [f"{{a: {ONE}}}\n", f"---\na: {ONE}\n...\n", f"a: {ONE}\nk: |+\n  -----BEGIN X\n\n\n"]
)
def test_complete_a_file_that_takes_no_more_lines(tmp_path: Path, before: str) -> None:
    file = written(tmp_path / "s", before)
    values = secrets.read(file)
    assert secrets.complete(file, ["b"]) == ["b"]
    assert secrets.read(file).items() >= values.items()
    assert "b" in secrets.read(file)


def test_two_at_once_lose_nothing(tmp_path: Path) -> None:
    file = tmp_path / "s"
    threads = [threading.Thread(target=secrets.complete, args=(file, [f"n{number}"])) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(secrets.read(file)) == {f"n{number}" for number in range(8)}


@pytest.fixture(scope="module")
def keyring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A GnuPG home with a key."""
    if not shutil.which("gpg"):
        pytest.skip("gpg is not installed")
    home = tmp_path_factory.mktemp("g")
    home.chmod(0o700)
    command = ["gpg", "--homedir", str(home), "--batch", "--passphrase", "", "--quick-generate-key", "t@example"]
    subprocess.run([*command, "future-default"], check=True, capture_output=True)
    yield home
    # The agent that gpg has started would stay.
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "gpg-agent"], check=True)


def encrypted(home: Path, value: str) -> str:
    command = ["gpg", "--homedir", str(home), "--batch", "--trust-model", "always", "--armor", "-r", "t@example", "-e"]
    return subprocess.run(command, input=value, text=True, check=True, capture_output=True).stdout


def test_pgp_messages_are_decrypted(tmp_path: Path, keyring: Path) -> None:
    file = tmp_path / "s"
    message = encrypted(keyring, TWO)
    secrets.write(file, {"a": ONE, "b": message})
    assert TWO not in file.read_text()
    assert secrets.read(file, gpg_home=str(keyring)) == {"a": ONE, "b": TWO}
    assert secrets.read(file, decrypt=False) == {"a": ONE, "b": message}


@pytest.mark.skipif(not shutil.which("gpg"), reason="gpg is not installed")
def test_a_pgp_message_for_someone_else(tmp_path: Path) -> None:
    home = tmp_path / "g"
    home.mkdir(0o700)
    file = tmp_path / "s"
    secrets.write(file, {"b": f"{secrets.PGP}\n\nAAAA\n-----END PGP MESSAGE-----\n"})
    with pytest.raises(Problems, match=r"secrets:b.*a PGP message that gpg can decrypt"):
        secrets.read(file, gpg_home=str(home))


def test_what_gpg_prints_is_the_value_and_what_it_complains_of_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Runs where no gpg is installed, too: a stand-in of the same name.
    gpg, file = tmp_path / "gpg", tmp_path / "s"
    secrets.write(file, {"b": f"{secrets.PGP}\n\nAAAA\n-----END PGP MESSAGE-----\n"})
    monkeypatch.setenv("PATH", str(tmp_path))
    gpg.write_text(f"#!/bin/sh\necho '{ONE}'\n")
    gpg.chmod(0o755)
    assert secrets.read(file) == {"b": ONE}
    for plain, why in (("short", "5 characters"), (f"{ONE}\n{TWO}", "printable characters on one line")):
        gpg.write_text(f"#!/bin/sh\necho '{plain}'\n")
        with pytest.raises(Problems, match=f"secrets:b.*{why}"):
            secrets.read(file)
    gpg.write_text("#!/bin/sh\necho first >&2\necho no secret key >&2\nexit 2\n")
    with pytest.raises(Problems, match=r"secrets:b: 'no secret key'"):
        secrets.read(file)


def test_no_gpg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "s"
    secrets.write(file, {"b": f"{secrets.PGP}\n\nAAAA\n-----END PGP MESSAGE-----\n"})
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Problems, match="gpg, to decrypt"):
        secrets.read(file)
