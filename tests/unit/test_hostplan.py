"""Look-ups in the plan, and outcomes of states."""

import pytest
from saltern import hostplan, outcome
from saltern.errors import SalternError

PILLAR = {
    "saltern": {
        "services": {"nova": {"files": {"/etc/nova/nova.conf": {"kind": "oslo"}}}, "odd": None},
        "secrets": {"mariadb_nova": "hunter2", "empty": ""},
    }
}


def test_what_is_there_is_found():
    assert hostplan.file(PILLAR, "nova", "/etc/nova/nova.conf") == {"kind": "oslo"}
    assert hostplan.service(PILLAR, "odd") == {}
    assert list(hostplan.files(PILLAR, lambda service: True)) == [("/etc/nova/nova.conf", {"kind": "oslo"})]
    assert not list(hostplan.files(PILLAR, lambda service: False))
    assert hostplan.secret(PILLAR, "mariadb_nova") == "hunter2"
    assert hostplan.secrets({}) == {}
    assert hostplan.secrets({"saltern": {"secrets": None}}) == {}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: hostplan.plan({}), "no plan for this host"),
        (lambda: hostplan.service(PILLAR, "nvoa"), "did you mean 'nova'"),
        (lambda: hostplan.service({"saltern": {}}, "nova"), "saltern:services:nova"),
        (lambda: hostplan.file(PILLAR, "nova", "/etc/nova/nov.conf"), "did you mean '/etc/nova/nova.conf'"),
        (lambda: hostplan.file(PILLAR, "odd", "/x"), "saltern:services:odd:files:/x"),
        (lambda: hostplan.secret(PILLAR, "mariadb_nvoa"), "did you mean 'mariadb_nova'"),
        (lambda: hostplan.secret(PILLAR, "empty"), "secrets:empty"),
        (lambda: hostplan.secret({}, "x"), "was given no secrets"),
    ],
)
def test_what_is_not_there_is_named_without_values(call, words):
    with pytest.raises(SalternError) as caught:
        call()
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_what_a_dry_run_foresees_is_known_to_its_later_states():
    context = {}
    outcome.foreseen(context).add("/etc/a.conf")
    assert outcome.foreseen(context) == {"/etc/a.conf"}
    assert outcome.foreseen({}) == set()


def test_outcomes():
    assert outcome.success("n", "c") == {"name": "n", "result": True, "changes": {}, "comment": "c"}
    assert outcome.planned("n", "c", {"a": 1}) == {"name": "n", "result": None, "changes": {"a": 1}, "comment": "c"}
    assert outcome.failure("n", "c", {"a": 1})["result"] is False


def test_our_errors_become_outcomes_and_others_do_not():
    @outcome.reported
    def state(name, kind):
        """Fail."""
        raise kind("because")

    assert state("n", kind=SalternError) == {"name": "n", "result": False, "changes": {}, "comment": "because"}
    assert state.__doc__ == "Fail."
    with pytest.raises(RuntimeError):
        state("n", RuntimeError)
