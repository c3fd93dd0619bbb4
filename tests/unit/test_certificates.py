"""A host's certificate on disk, from nothing to renewed, and what a kill or a careless hand leaves behind."""

import grp
import os
import pwd
import stat
from datetime import UTC, datetime, timedelta

import pytest
from saltern import certificates, pki
from saltern.errors import Problems, SalternError

ME, MY_GROUP = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return pki.ensure_authority(str(tmp_path_factory.mktemp("pki")), "services")


@pytest.fixture(autouse=True)
def _as_an_ordinary_user(monkeypatch):
    """Public files are root's; a test may run as somebody else."""
    if os.getuid():
        monkeypatch.setattr(os, "fchown", lambda *_: None)
        monkeypatch.setattr(os, "chown", lambda *_: None)
        real = certificates._access
        monkeypatch.setattr(certificates, "_access", lambda path: (real(path)[0], 0, 0))
        monkeypatch.setattr(certificates, "_owner", lambda files: (0, 0))


@pytest.fixture
def plan(tmp_path):
    base = tmp_path / "made" / "pki"
    return {
        "ca": "services",
        "cert": str(base / "api.crt"),
        "key": str(base / "private" / "api.key"),
        "ca_file": str(base / "ca.crt"),
        "bundle": str(base / "api.pem"),
        "common_name": "ctl1",
        "names": ["ctl1", "10.20.0.11"],
        "usage": ["server"],
    }


def made(plan, authority, **kwargs):
    """What a state does where something is missing; return the files and what was found before."""
    files = certificates.Files.of(plan)
    found = certificates.inspect(files, authority.pem)
    cert = pki.sign(authority, certificates.prepare(files), files.subject, **kwargs) if found.renew else None
    certificates.install(files, authority.pem, cert)
    return files, found


def test_a_renewed_certificate_is_never_younger_than_its_key(plan, authority):
    """Open vSwitch and OVN would not take it."""
    files, _ = made(plan, authority)
    for path, seconds in ((plan["key"], 100), (plan["cert"], 200)):
        os.utime(path, (seconds, seconds))
    assert certificates.inspect(files, authority.pem).changes == {plan["key"]: "time"}
    made(plan, authority)
    assert os.stat(plan["key"]).st_mtime_ns >= os.stat(plan["cert"]).st_mtime_ns
    assert certificates.inspect(files, authority.pem).changes == {}


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def test_from_nothing_to_good(plan, authority):
    files, found = made(plan, authority)
    assert found.written == {plan[part] for part in ("cert", "key", "ca_file", "bundle")}
    assert found.changes == {
        "certificate": "no certificate",
        plan["cert"]: "content",
        plan["key"]: "new key",
        plan["bundle"]: "content",
        plan["ca_file"]: "content",
    }
    assert certificates.inspect(files, authority.pem).changes == {}
    assert [mode(plan[each]) for each in ("key", "bundle", "cert", "ca_file")] == [0o600, 0o600, 0o644, 0o644]
    with open(plan["bundle"]) as bundle, open(plan["cert"]) as cert, open(plan["key"]) as key:
        assert bundle.read() == cert.read() + key.read()


def test_a_good_one_is_left_alone(plan, authority):
    made(plan, authority)
    before = {each: os.stat(plan[each]).st_mtime_ns for each in ("cert", "key", "ca_file", "bundle")}
    _files, found = made(plan, authority)
    assert found.changes == {}
    assert before == {each: os.stat(plan[each]).st_mtime_ns for each in before}


def test_mode_is_mended_without_touching_the_time(plan, authority):
    made(plan, authority)
    os.chmod(plan["key"], 0o644)
    before = os.stat(plan["key"]).st_mtime_ns
    _files, found = made(plan, authority)
    assert found.changes == {plan["key"]: "owner or mode"}
    assert found.written == set()
    assert mode(plan["key"]) == 0o600
    assert os.stat(plan["key"]).st_mtime_ns == before


@pytest.mark.parametrize("lost", ["cert", "key", "ca_file", "bundle"])
@pytest.mark.parametrize("how", ["gone", "broken", "foreign", "garbled"])
def test_whatever_a_kill_or_a_hand_leaves_is_repaired(plan, authority, lost, how):
    made(plan, authority)
    if how == "gone":
        os.unlink(plan[lost])
    elif how == "garbled":
        with open(plan[lost], "r+b") as file:
            file.write(b"\xff\xfe\x80")
    else:
        with open(plan[lost], "w") as file:
            file.write("broken" if how == "broken" else pki.new_key())
    files, found = made(plan, authority)
    assert found.changes
    assert certificates.inspect(files, authority.pem).changes == {}


def test_renewal_keeps_the_key(plan, authority):
    files, _ = made(plan, authority)
    before = certificates._text(plan["key"])
    late = certificates.inspect(files, authority.pem, datetime.now(UTC) + timedelta(days=300)).changes
    assert "less than a third of its life is left" in late["certificate"]
    assert late[plan["key"]] == "time"
    os.unlink(plan["cert"])
    files, _ = made(plan, authority)
    assert certificates._text(plan["key"]) == before
    assert certificates.inspect(files, authority.pem).changes == {}


def test_changed_names_renew(plan, authority):
    made(plan, authority)
    _files, found = made(plan | {"names": ["ctl1"]}, authority)
    assert found.changes["certificate"] == "names 10.20.0.11, ctl1, wanted ctl1"


def test_a_certificate_that_does_not_fit_is_not_installed(plan, authority):
    files, _ = made(plan, authority)
    foreign = pki.sign(authority, pki.request(pki.new_key(), files.subject), files.subject)
    with pytest.raises(SalternError, match="not the certificate of this key"):
        certificates.install(files, authority.pem, foreign)
    assert certificates.inspect(files, authority.pem).changes == {}


def test_without_a_bundle_there_is_none(plan, authority):
    del plan["bundle"]
    files, _ = made(plan, authority)
    assert certificates.inspect(files, authority.pem).changes == {}
    assert sorted(os.listdir(os.path.dirname(plan["cert"]))) == ["api.crt", "ca.crt", "private"]


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to give files away")
def test_the_service_owns_its_key_and_nothing_else(plan, authority):
    _files, _ = made(plan | {"user": "root", "group": "daemon"}, authority)
    assert mode(plan["key"]) == 0o640
    assert os.stat(plan["key"]).st_gid == grp.getgrnam("daemon").gr_gid
    assert os.stat(plan["cert"]).st_gid == 0


@pytest.mark.skipif(os.getuid() != 0, reason="an ordinary user owns its files")
def test_a_user_to_come_is_no_error_in_a_dry_run(plan, authority):
    made(plan, authority)
    files = certificates.Files.of(plan | {"user": "not-here-yet"})
    assert certificates.inspect(files, authority.pem).changes == {
        plan["key"]: "owner or mode",
        plan["bundle"]: "owner or mode",
    }
    with pytest.raises(Problems, match="not-here-yet:root"):
        certificates.install(files, authority.pem, None)


def test_a_plan_with_gaps_names_all_of_them(plan):
    del plan["key"], plan["cert"]
    with pytest.raises(Problems) as refused:
        certificates.Files.of(plan)
    assert [each.path for each in refused.value.problems] == ["cert", "key"]


def test_what_the_pillar_lacks_is_named(plan, authority):
    pillar = {"saltern": {"services": {"haproxy": {"certificates": {"api": plan}}}, "authorities": {"services": "PEM"}}}
    files, ca_pem = certificates.planned(pillar, "haproxy", "api")
    assert (files.cert, ca_pem) == (plan["cert"], "PEM")
    with pytest.raises(SalternError, match=r"haproxy:certificates:apl: unknown; did you mean 'api'\?"):
        certificates.planned(pillar, "haproxy", "apl")
    del pillar["saltern"]["authorities"]
    with pytest.raises(SalternError, match="saltern:authorities:services"):
        certificates.planned(pillar, "haproxy", "api")


def test_an_authority_may_be_trusted_without_a_certificate_of_ones_own(tmp_path):
    plan = {"ca": "services", "ca_file": str(tmp_path / "ca.crt")}
    pillar = {"saltern": {"services": {"client": {"certificates": {"ca": plan}}}, "authorities": {"services": "PEM"}}}
    files, ca_pem = certificates.planned(pillar, "client", "ca")
    assert certificates.inspect(files, ca_pem).changes == {plan["ca_file"]: "content, owner or mode"}
    certificates.install(files, ca_pem, None)
    assert certificates.inspect(files, ca_pem).changes == {}
    os.chmod(plan["ca_file"], 0o600)
    assert certificates.inspect(files, ca_pem).changes
