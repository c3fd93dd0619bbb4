"""What the identity service's first run leaves behind."""

import pytest
from saltern.identity_bootstrap import Bootstrap, differences, key_step, password_fits

URL = "https://api.lab.example:5000/v3"
WANTED = Bootstrap("RegionOne", {"public": URL, "internal": URL, "admin": URL})
DONE = {**WANTED.facts(), "password": "hash", "role auditor": "present", "user nova": "enabled"}
HIDDEN = "(hidden)"


@pytest.mark.parametrize(
    ("found", "fits", "expected"),
    [
        (DONE, True, {}),
        (DONE, False, {"password of admin": {"old": HIDDEN, "new": HIDDEN}}),
        (DONE | {"user admin": "disabled"}, True, {"user admin": {"old": "disabled", "new": "enabled"}}),
        (
            DONE | {"endpoint RegionOne public": "http://old"},
            True,
            {"endpoint RegionOne public": {"old": "http://old", "new": URL}},
        ),
        (
            {what: how for what, how in DONE.items() if what != "role admin of admin on the system"},
            True,
            {"role admin of admin on the system": {"old": None, "new": "given"}},
        ),
    ],
)
def test_differences(found, fits, expected):
    assert differences(WANTED, found, lambda stored: fits and stored == "hash") == expected


def test_an_empty_database_lacks_everything():
    found = differences(WANTED, {}, lambda stored: True)
    assert set(found) == {*WANTED.facts(), "password of admin"}
    assert all(each["old"] is None for each in found.values())


def test_the_password_travels_in_the_environment():
    environment = WANTED.environment("s3cret")
    assert environment["OS_BOOTSTRAP_PASSWORD"] == "s3cret"
    assert environment["OS_BOOTSTRAP_ADMIN_URL"] == URL
    assert environment["OS_BOOTSTRAP_REGION_ID"] == "RegionOne"
    assert "s3cret" not in str(WANTED)


STORED = "$2b$04$abcdefghijklmnopqrstuuFmEfrkTQnczNzw475xE2VhDrK1uwJiC"


@pytest.mark.parametrize(
    ("password", "stored"), [("wrong", STORED), ("right", "$scrypt$16,8,1$salt$hash"), ("right", "")]
)
def test_a_password_that_does_not_fit(password, stored):
    assert not password_fits(password, stored)


def test_a_password_that_fits():
    assert password_fits("right", STORED)


@pytest.mark.parametrize(
    ("names", "step"),
    [
        ([], "setup"),
        (["0.tmp"], "setup"),
        (["0"], "rotate"),
        (["0", "0.tmp"], "rotate"),
        (["0", "1"], ""),
        (["0", "4", "5"], ""),
        (["1"], "setup"),
    ],
)
def test_key_step(names, step):
    assert key_step(names) == step
