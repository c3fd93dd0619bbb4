"""Marks of password hashes that were seen to fit."""

import stat

import pytest
from saltern.password_marks import PasswordMarks


@pytest.fixture
def path(tmp_path):
    return tmp_path / "private" / "marks.json"


def test_a_hash_is_judged_once(path):
    judged = []
    marks = PasswordMarks(str(path))
    assert not marks.fits("secret", "hash")
    assert marks.fits("secret", "hash", lambda: judged.append(1) or True)
    assert PasswordMarks(str(path)).fits("secret", "hash", lambda: judged.append(2) or True)
    assert judged == [1]


@pytest.mark.parametrize(("password", "stored"), [("other", "hash"), ("secret", "other hash")])
def test_a_mark_holds_for_one_pair_only(path, password, stored):
    PasswordMarks(str(path)).fits("secret", "hash", lambda: True)
    assert not PasswordMarks(str(path)).fits(password, stored, lambda: False)


def test_what_does_not_fit_leaves_no_mark(path):
    assert not PasswordMarks(str(path)).fits("secret", "hash", lambda: False)
    assert not path.exists()


def test_the_file_is_private_and_holds_no_password(path):
    PasswordMarks(str(path)).fits("secret", "hash", lambda: True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert "secret" not in path.read_text()


@pytest.mark.parametrize("text", ["", "{", "{}", "3", '"x"'])
def test_a_damaged_file_counts_as_empty(path, text):
    path.parent.mkdir()
    path.write_text(text)
    assert not PasswordMarks(str(path)).fits("secret", "hash")
    assert PasswordMarks(str(path)).fits("secret", "hash", lambda: True)
