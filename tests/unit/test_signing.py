"""Who may have which certificate: the real catalogue and a sample site decide."""

import pytest
from saltern import certificates, pki, signing
from saltern.errors import Problems, SalternError
from saltern.verbs import Inputs

from tests.sample import SERVICES, TEXT


@pytest.fixture
def inputs(tmp_path):
    (tmp_path / "site.yaml").write_text(TEXT)
    return Inputs(tmp_path / "site.yaml", SERVICES)


@pytest.fixture
def directory(tmp_path):
    return str(tmp_path / "authorities")


def csr_of(plan):
    return pki.request(pki.new_key(), pki.Subject.of(plan))


def test_every_certificate_of_every_host_is_signed_as_planned(inputs, directory):
    model, services = inputs.load()
    seen = set()
    for host in model.hosts:
        for name, service in signing.resolve(model, services, signing.Placeholders(), host).services.items():
            for certificate, plan in service.certificates.items():
                if "cert" not in plan:
                    continue
                cert = signing.signed(inputs, directory, host, plan["ca"], csr_of(plan), name, certificate)
                stated = pki.describe(pki.load_certificate(cert))
                wanted = pki.Subject.of(plan)
                assert (stated.common_name, set(stated.names)) == (wanted.common_name, set(wanted.names))
                assert set(stated.usage) == set(wanted.usage)
                seen.add((host, certificate))
    assert ("cmp1", "ovn-chassis") in seen
    assert len(seen) > 4


def test_another_hosts_name_is_refused(inputs, directory):
    theirs = signing.allowed(inputs, "cmp2", "ovn", "ovn-chassis")
    with pytest.raises(Problems, match=r"request\.common_name: 'cmp2': accepted: cmp1"):
        signing.signed(inputs, directory, "cmp1", "services", csr_of(theirs), "ovn", "ovn-chassis")


def test_another_authority_is_refused(inputs, directory):
    plan = signing.allowed(inputs, "cmp1", "ovn", "ovn-chassis")
    with pytest.raises(Problems, match="ca: 'libvirt': accepted: services"):
        signing.signed(inputs, directory, "cmp1", "libvirt", csr_of(plan), "ovn", "ovn-chassis")


@pytest.mark.parametrize(
    ("host", "service", "certificate", "said"),
    [
        ("cmp1", "ovn", "ovn-central", "hosts:cmp1:certificates: 'ovn ovn-central'"),
        ("cmp1", "nothing", "x", "hosts:cmp1:certificates: 'nothing x'"),
        ("cmp1", "hosts", "services-ca", "hosts:cmp1:certificates: 'hosts services-ca'"),
        ("stranger", "ovn", "ovn-chassis", "hosts: 'stranger'"),
    ],
)
def test_what_the_plan_has_not_is_refused(inputs, host, service, certificate, said):
    with pytest.raises(Problems) as refused:
        signing.allowed(inputs, host, service, certificate)
    assert said in str(refused.value)


def test_a_host_without_a_master_signs_for_itself(inputs, directory):
    files = certificates.Files.of(signing.allowed(inputs, "cmp1", "ovn", "ovn-chassis"))
    key = pki.new_key()
    with pytest.raises(SalternError, match="no authority 'services' here, and no master"):
        signing.signed_here(directory, files, pki.request(key, files.subject))
    authority = pki.ensure_authority(directory, "services")
    cert = signing.signed_here(directory, files, pki.request(key, files.subject))
    assert pki.check(cert, key, authority.pem, files.subject) == []


def answers(*given):
    """A deploy host that gives one answer after the other, the last one for ever."""
    left = list(given)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


def test_an_answer_may_take_a_while():
    call = answers("'pki.sign' runner publish timed out", {}, None, {"certificate": "PEM"})
    assert signing.asked(call, wait=5, pause=0) == "PEM"


def test_a_refusal_is_not_asked_again():
    calls = []
    with pytest.raises(SalternError, match="refuses to sign: names"):
        signing.asked(lambda: calls.append(1) or {"refused": "names"}, wait=5, pause=0)
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("answer", "said"), [({}, "is pki.sign in its peer_run"), ("runner publish timed out", "publish timed out")]
)
def test_the_wait_is_bounded(answer, said):
    with pytest.raises(SalternError, match=f"within 0 s; it answers .*{said}"):
        signing.asked(answers(answer), wait=0.05, pause=0.01)
