"""Who is given what: the way of an honest machine, and every other one."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import given
from hypothesis import strategies as st
from saltern import masterkeys, neighbours, pki, tokens
from saltern.errors import Problems, SalternError
from saltern.trust import REFUSED, UNKNOWN, Desk

from tests.unit.trust_samples import MACHINE, OTHER, Deploy, public

HERE, THERE = MACHINE[1], OTHER[1]
KEY, KEY2 = public(), public()


@pytest.fixture
def deploy(tmp_path: Path) -> Deploy:
    return Deploy(tmp_path)


def exchanged(deploy: Deploy, key: str = KEY) -> tuple[str, str]:
    token, secret = deploy.fetched()
    assert deploy.desk.exchange("ctl1", HERE, token, "", key).status == 200
    return token, secret


# --- the honest machine


def test_the_whole_way(deploy: Deploy) -> None:
    desk = deploy.desk
    assert desk.boots(*MACHINE) == ""
    deploy.armed()
    assert [desk.boots(*MACHINE), desk.boots(*MACHINE)] == ["ctl1", "ctl1"]
    token, secret = deploy.fetched()
    assert desk.boots(*MACHINE) == ""
    assert desk.progress("ctl1", HERE, secret, "disks", "10", "last\nwords\x07").status == 200
    assert (deploy.record().step, deploy.record().percent, deploy.record().words) == ("disks", 10, "last words")
    assert desk.progress("ctl1", HERE, secret, "installed", "100", "").status == 409
    reply = desk.exchange("ctl1", HERE, token, "", KEY.replace("\n", "\r\n"))
    assert (reply.status, reply.text) == (200, deploy.keys.public())
    assert deploy.accepted() == KEY
    assert deploy.record().key == masterkeys.fingerprint(KEY)
    assert desk.progress("ctl1", HERE, secret, "installed", "100", "").status == 200
    assert deploy.record().state == "installed"
    assert desk.boots(*MACHINE) == ""
    assert desk.progress("ctl1", HERE, secret, "disks", "10", "") == REFUSED
    events = [event for _, event, _ in deploy.told]
    assert events == ["arm", "fetch", "alarm", "exchange", "installed", "alarm"]


def test_answers_are_whole(deploy: Deploy) -> None:
    text = deploy.armed().desk.answers("ctl1", HERE).text
    assert "@{" not in text
    line = next(line for line in text.splitlines() if "early_command string umask" in line)
    inner = line.split("for each in ")[1].split(";")[0]
    ca = pki.load_certificate((deploy.root / "ca.crt").read_text())
    assert ca is not None
    assert base64.b64decode(inner) == ca.public_bytes(serialization.Encoding.DER)


def test_only_hashes_are_kept(deploy: Deploy) -> None:
    token, secret = deploy.armed().fetched()
    assert token != secret
    assert len(base64.urlsafe_b64decode(token + "=")) == 32
    kept = "".join(path.read_text() for path in (deploy.root / "hosts").glob("*.json")) + str(deploy.told)
    assert token not in kept
    assert secret not in kept
    assert tokens.digest(token) in kept


def test_a_host_is_installed_once_more(deploy: Deploy) -> None:
    _, secret = exchanged(deploy.armed())
    deploy.desk.progress("ctl1", HERE, secret, "installed", "100", "")
    token, _ = deploy.armed().fetched()
    assert deploy.accepted() == KEY
    assert deploy.desk.exchange("ctl1", HERE, token, "", KEY2).status == 200
    assert deploy.accepted() == KEY2
    # the old key went by the master's own program: it gives the others a new one
    assert (deploy.root / "master/forgotten").read_text() == "ctl1\n"


# --- everybody else


def test_a_second_fetch_locks_and_takes_the_key_back(deploy: Deploy) -> None:
    token, secret = exchanged(deploy.armed())
    assert deploy.desk.answers("ctl1", HERE) == REFUSED
    assert (deploy.record().state, deploy.record().reason) == ("locked", "its answers were asked for a second time")
    assert deploy.accepted() == ""
    assert deploy.record().key == ""
    for reply in (
        deploy.desk.exchange("ctl1", HERE, token, "", KEY),
        deploy.desk.progress("ctl1", HERE, secret, "installed", "100", ""),
        deploy.desk.answers("ctl1", HERE),
    ):
        assert reply == REFUSED
    assert deploy.desk.boots(*MACHINE) == ""
    with pytest.raises(Problems, match="then `hosts unlock`"):
        deploy.armed()
    deploy.desk.unlock("ctl1", "a test")
    assert (deploy.record().state, deploy.alarms()) == ("enrolled", [])
    assert deploy.armed().record().state == "armed"


def test_an_exchange_is_not_repeated(deploy: Deploy) -> None:
    token, _ = exchanged(deploy.armed())
    for key in (KEY, KEY2):
        assert deploy.desk.exchange("ctl1", HERE, token, "", key) == REFUSED
    assert deploy.accepted() == KEY
    shown = f"a used token was shown by {HERE}, MAC {MACHINE[0]} while it was installing"
    assert (deploy.record().alarms[-1].what, deploy.record().alarms[-1].times) == (shown, 2)


def test_another_machine_is_given_nothing(deploy: Deploy) -> None:
    deploy.armed()
    assert deploy.desk.boots(MACHINE[0], THERE) == ""
    assert deploy.desk.answers("ctl1", THERE) == REFUSED
    assert deploy.desk.answers("ctl1", "192.0.2.1") == REFUSED
    assert deploy.record().state == "armed"
    assert deploy.alarms() == [
        f"another machine ({THERE}, MAC {OTHER[0]}) asked for its boot script",
        f"its answers were asked for by {THERE}, MAC {OTHER[0]} while it was armed",
        "its answers were asked for by 192.0.2.1, MAC unknown while it was armed",
    ]
    _, secret = deploy.fetched()
    assert deploy.desk.progress("ctl1", THERE, secret, "disks", "10", "") == REFUSED
    assert deploy.desk.answers("ctl1", THERE) == REFUSED
    assert deploy.record().state == "installing"


def test_a_token_that_another_machine_has_locks(deploy: Deploy) -> None:
    token, _ = deploy.armed().fetched()
    assert deploy.desk.exchange("ctl1", THERE, token, "", KEY) == REFUSED
    assert deploy.record().reason == f"its token was shown by another machine ({THERE}, MAC {OTHER[0]})"
    assert deploy.accepted() == ""


def test_the_serial_counts_where_the_site_file_has_one(deploy: Deploy) -> None:
    token, _ = deploy.armed(serial="S1").fetched()
    assert deploy.desk.exchange("ctl1", HERE, token, "S2", KEY) == REFUSED
    assert deploy.record().reason == "its token was shown by a machine with the serial 'S2'"
    deploy.desk.unlock("ctl1", "a test")
    token, _ = deploy.armed(serial="S1").fetched()
    assert deploy.desk.exchange("ctl1", HERE, token, "S1", KEY).status == 200


def test_the_token_of_another_host(deploy: Deploy) -> None:
    deploy.wire["10.0.0.4"] = "52:54:00:00:00:04"
    token, secret = deploy.armed().fetched()
    deploy.desk.arm("cmp1", deploy.record().armed.__class__("52:54:00:00:00:04", "10.0.0.4", "preseed.cfg"), "a test")
    assert deploy.desk.answers("cmp1", "10.0.0.4").status == 200
    assert deploy.desk.exchange("cmp1", "10.0.0.4", token, "", KEY) == REFUSED
    assert deploy.desk.progress("cmp1", "10.0.0.4", secret, "disks", "1", "") == REFUSED
    assert deploy.alarms("cmp1")[0].startswith("a token that is not good was shown by 10.0.0.4")
    assert deploy.accepted("cmp1") == ""


def test_an_expired_token(deploy: Deploy) -> None:
    token, _ = deploy.armed().fetched()
    deploy.clock += 3600
    assert deploy.desk.exchange("ctl1", HERE, token, "", KEY) == REFUSED
    assert deploy.record().state == "enrolled"
    assert deploy.accepted() == ""
    assert [event for _, event, _ in deploy.told] == ["arm", "fetch", "expire", "alarm", "alarm"]


def test_an_armed_window_ends(deploy: Deploy) -> None:
    deploy.armed(window=60)
    deploy.clock += 60
    assert deploy.desk.answers("ctl1", HERE) == REFUSED
    assert deploy.desk.boots(*MACHINE) == ""
    deploy.armed(window=60)
    deploy.clock += 60
    deploy.desk.sweep()
    assert deploy.record().state == "enrolled"


def test_progress_keeps_an_installation_alive(deploy: Deploy) -> None:
    token, secret = deploy.armed(window=60).fetched()
    for _ in range(5):
        deploy.clock += 3599
        assert deploy.desk.progress("ctl1", HERE, secret, "packages", "50", "").status == 200
    assert deploy.desk.exchange("ctl1", HERE, token, "", KEY).status == 200


def test_a_minion_that_calls_is_installed(deploy: Deploy) -> None:
    """Its word `installed` was lost: else its time would run out, and its key would be taken from it."""
    token, secret = deploy.armed().fetched()
    with pytest.raises(Problems, match="a minion with the key of this installation"):
        deploy.desk.event("ctl1", "contact", "a test")
    deploy.desk.exchange("ctl1", HERE, token, "", KEY)
    deploy.desk.event("ctl1", "contact", "a test")
    deploy.clock += 10**6
    deploy.desk.sweep()
    assert (deploy.record().state, deploy.accepted(), deploy.record().secret) == ("trusted", KEY, "")
    assert deploy.desk.progress("ctl1", HERE, secret, "installed", "100", "") == REFUSED


def test_abort_takes_back_what_an_installation_has_brought(deploy: Deploy) -> None:
    token, _ = exchanged(deploy.armed())
    deploy.desk.abort("ctl1", "a test")
    assert (deploy.record().state, deploy.record().key, deploy.accepted()) == ("enrolled", "", "")
    assert deploy.desk.exchange("ctl1", HERE, token, "", KEY) == REFUSED


def test_a_key_that_somebody_else_put_there_stays(deploy: Deploy) -> None:
    exchanged(deploy.armed())
    (deploy.root / "master/minions/ctl1").write_text(KEY2)
    deploy.desk.abort("ctl1", "a test")
    assert deploy.accepted() == KEY2


def test_a_network_boot_in_the_middle_is_told(deploy: Deploy) -> None:
    deploy.armed().fetched()
    assert deploy.desk.boots(*MACHINE) == ""
    assert deploy.alarms()[0].startswith("it started from the network again while installing")
    deploy.desk.abort("ctl1", "a test")
    assert deploy.desk._boots(deploy.record(), HERE)[1] == ""


def test_behind_a_relay_the_address_counts(deploy: Deploy) -> None:
    deploy.wire.clear()
    deploy.armed(relayed=True)
    assert deploy.desk.boots(MACHINE[0], THERE) == ""
    assert deploy.desk.boots(*MACHINE) == "ctl1"
    token, _ = deploy.fetched()
    assert deploy.desk.exchange("ctl1", HERE, token, "", KEY).status == 200


def test_hosts_of_which_there_is_no_record_get_none(deploy: Deploy) -> None:
    for reply in (deploy.desk.answers("cmp1", HERE), deploy.desk.exchange("cmp1", HERE, "t", "", KEY)):
        assert reply == UNKNOWN
    assert deploy.desk.store.hosts() == []


def test_a_file_that_cannot_be_read_is_that_hosts_trouble(deploy: Deploy) -> None:
    deploy.armed()
    (deploy.root / "hosts/aaa.json").write_text("{")
    assert deploy.desk.boots(*MACHINE) == "ctl1"
    assert deploy.desk.answers("aaa", HERE).status == 400


# --- keys


def ed25519_key() -> str:
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.mark.parametrize("key", ["", "x", KEY[:200], ed25519_key(), public(1024)])
def test_what_is_no_key_uses_nothing_up(deploy: Deploy, key: str) -> None:
    token, _ = deploy.armed().fetched()
    reply = deploy.desk.exchange("ctl1", HERE, token, "", key)
    assert reply.status == 400
    assert "the public half of an RSA key of 2048 to 8192 bits" in reply.text
    assert deploy.desk.exchange("ctl1", HERE, token, "", KEY).status == 200


def test_nothing_of_a_strangers_text_gets_into_the_masters_directory(deploy: Deploy) -> None:
    exchanged(deploy.armed(), f"#!/bin/sh\nevil\n{KEY}\nmore\n")
    assert deploy.accepted() == KEY
    assert stat.S_IMODE((deploy.root / "master/minions/ctl1").stat().st_mode) == 0o644


def test_a_minion_that_an_operator_has_rejected(deploy: Deploy) -> None:
    token, _ = deploy.armed().fetched()
    rejected = deploy.root / "master/minions_rejected/ctl1"
    rejected.parent.mkdir()
    rejected.write_text(KEY2)
    assert deploy.desk.exchange("ctl1", HERE, token, "", KEY) == REFUSED
    assert "`salt-key -d ctl1` ends that" in deploy.alarms()[0]
    rejected.unlink()
    (deploy.root / "master/minions_pre").mkdir()
    (deploy.root / "master/minions_pre/ctl1").write_text(KEY2)
    assert deploy.desk.exchange("ctl1", HERE, token, "", KEY).status == 200
    assert not (deploy.root / "master/minions_pre/ctl1").exists()


def test_a_master_that_was_never_started(deploy: Deploy) -> None:
    token, _ = deploy.armed().fetched()
    (deploy.root / "master/master.pub").rename(deploy.root / "kept")
    with pytest.raises(SalternError, match="has the master been started once"):
        deploy.desk.exchange("ctl1", HERE, token, "", KEY)
    (deploy.root / "kept").rename(deploy.root / "master/master.pub")
    assert deploy.desk.exchange("ctl1", HERE, token, "", KEY).status == 200


def test_without_an_authority_nothing_is_used_up(deploy: Deploy) -> None:
    deploy.armed()
    (deploy.root / "ca.crt").rename(deploy.root / "kept")
    with pytest.raises(SalternError, match="has the highstate run here"):
        deploy.desk.answers("ctl1", HERE)
    assert deploy.record().state == "armed"


def test_what_a_kill_has_left_undone_is_done(deploy: Deploy) -> None:
    """The record is on the disk, the master has not got the key yet: so it is after a kill, or with a full disk."""
    token, secret = deploy.armed().fetched()
    (deploy.root / "master/minions").write_text("in the way")
    with pytest.raises(OSError):
        deploy.desk.exchange("ctl1", HERE, token, "", KEY)
    assert deploy.record().pending == KEY
    with pytest.raises(OSError):
        deploy.desk.progress("ctl1", HERE, secret, "installed", "100", "")
    assert deploy.record().state == "installing"
    (deploy.root / "master/minions").unlink()
    deploy.desk.sweep()
    assert (deploy.accepted(), deploy.record().pending) == (KEY, "")
    assert deploy.desk.progress("ctl1", HERE, secret, "installed", "100", "").status == 200


def test_a_master_that_does_not_forget(deploy: Deploy) -> None:
    exchanged(deploy.armed())
    (deploy.root / "salt-key").write_text("#!/bin/sh\n")
    with pytest.raises(SalternError, match=r"salt-key --yes --delete ctl1: the key is still there"):
        deploy.desk.abort("ctl1", "a test")
    assert deploy.record().key
    (deploy.root / "salt-key").write_text("#!/bin/sh\necho no; exit 3\n")
    with pytest.raises(SalternError, match=r"ctl1: exit status 3\nno"):
        deploy.desk.sweep()


# --- small things


@pytest.fixture(scope="module")
def nowhere(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A desk that knows no host, the same for all examples."""
    return Deploy(tmp_path_factory.mktemp("deploy")).desk


@given(step=st.text(max_size=10), percent=st.text(max_size=5))
def test_steps_are_words_and_percents_numbers(nowhere: Desk, step: str, percent: str) -> None:
    found = nowhere.progress("ctl1", HERE, "x", step, percent, "")
    good = step.isascii() and step[:1].isalpha() and step == step.lower()
    assert found == UNKNOWN or found.status == 400
    if found == UNKNOWN:
        assert good
        assert 0 <= int(percent) <= 100


def test_without_a_token_none_fits() -> None:
    assert not tokens.fits("", "")
    assert not tokens.fits("a", "")
    assert tokens.fits("a", tokens.digest("a"))


TABLE = """IP address       HW type     Flags       HW address            Mask     Device
10.0.0.3         0x1         0x2         52:54:00:00:00:0A     *        eth0
10.0.0.4         0x1         0x0         00:00:00:00:00:00     *        eth0
10.0.0.5         0x1         0x2         52:54:00:00:00:05     *        eth0
10.0.0.5         0x1         0x2         52:54:00:00:00:06     *        eth1
short
"""


@pytest.mark.parametrize(
    ("address", "mac"), [("10.0.0.3", "52:54:00:00:00:0a"), ("10.0.0.4", ""), ("10.0.0.5", ""), ("10.0.0.30", "")]
)
def test_neighbours(address: str, mac: str) -> None:
    assert neighbours.mac_of(address, TABLE) == mac
    assert neighbours.mac_of("192.0.2.77") == ""
