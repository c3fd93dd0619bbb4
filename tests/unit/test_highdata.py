"""The states of a host: their order, their requisites, and a single service on its own."""

from typing import Any

import pytest
from saltern import highdata
from saltern.errors import Problems

from tests.sample import golden_sites, plan, real_catalogue, sample_data


def functions(data: dict[str, Any]) -> list[str]:
    return [next(iter(body)) for body in data.values()]


def test_phases_come_in_order() -> None:
    data = highdata.build(plan("ctl1").as_data())
    order = list(data)
    wanted = [
        "host: packages are installed", "host: the other packages are installed", "infrastructure: units run",
        "mariadb: databases are there", "keystone: schema is current", "identity: units run", "keystone: user nova",
        "nova: /etc/nova/nova.conf", "nova: API schema is current", "nova: cells are mapped",
        "nova: schema is current", "service: units run", "neutron: network public",
    ]  # fmt: skip
    assert [order.index(each) for each in wanted] == sorted(order.index(each) for each in wanted)


def required(body: dict[str, Any]) -> list[str]:
    arguments = next(iter(body.values()))
    return [name for each in arguments for requisite in each.get("require", []) for name in requisite.values()]


PACKAGES = ["host: packages are installed", "host: the other packages are installed"]
LAST = "host: the dashboard's packages are installed"


def test_what_others_wait_for_comes_up_while_the_next_packages_are_being_installed() -> None:
    data = highdata.build(plan("ctl1").as_data())
    first, second, third = *PACKAGES, LAST
    order = list(data)
    assert [each for each in order if functions({each: data[each]}) == ["package_set.installed"]] == [
        first, second, third,
    ]  # fmt: skip
    assert required(data[second]) == required(data["hosts: services-ca"]) == [first]
    assert required(data[third]) == [second]
    assert order.index("keystone: user nova") < order.index("neutron: neutron-ovn")
    assert {second} <= set(required(data["neutron: neutron-ovn"]))
    assert order.index("neutron: network public") < order.index("horizon: /etc/saltern/uwsgi/horizon.ini")
    carried = set(required(data["neutron: neutron-ovn"])) - {second}
    assert set(required(data["horizon: /etc/saltern/uwsgi/horizon.ini"])) == carried | {third}
    packages = [set(data[each]["package_set.installed"][1]["packages"]) for each in (first, second, third)]
    assert [{"keystone"}, {"nova-api"}, {"openstack-dashboard"}] == [
        {"keystone", "nova-api", "openstack-dashboard"} & each for each in packages
    ]
    for host in ("deploy", "cmp1"):
        assert second not in highdata.build(plan(host).as_data())


def test_packages_for_which_no_host_waits_let_others_go_first() -> None:
    def gentle(host: str) -> list[str]:
        data = highdata.build(plan(host).as_data())
        return [each for each in data if {"nice": 10} in next(iter(data[each].values()))]

    assert gentle("ctl1") == [LAST]
    assert gentle("cmp1") == PACKAGES[:1]


def test_salt_never_has_to_put_off_what_runs_aside() -> None:
    # Salt puts off a parallel state that has to wait for another one, and then keeps no order: one that runs aside
    # needs only what was waited for before, by the state itself or by one that stands before it
    data = highdata.build(plan("ctl1").as_data())
    parallel = {each for each, body in data.items() if {"parallel": True} in next(iter(body.values()))}
    assert {PACKAGES[1], LAST, "nova: API schema is current", "glance: schema is current"} <= parallel
    assert not parallel & {"nova: cells are mapped", "nova: schema is current"}
    waited: set[str] = set()
    for identity, body in data.items():
        if identity in parallel:
            assert not set(required(body)) & parallel - waited
        else:
            waited |= set(required(body))


def test_nothing_is_forked_while_the_login_is_under_way() -> None:
    data = highdata.build(plan("ctl1").as_data())
    order, login = list(data), "client: the login is under way"
    first = next(each for each in order if functions({each: data[each]}) == ["openstack_resource.present"])
    meanwhile = order[order.index(login) : order.index(first)]
    assert not [each for each in meanwhile if {"parallel": True} in next(iter(data[each].values()))]
    # without the registration nothing would have ended it before the schemas
    assert login not in highdata.build(plan("ctl1").as_data(), ["neutron", "nova"])


def test_a_part_without_packages_goes_with_the_one_before() -> None:
    whole = plan("ctl1").as_data()
    for name, without in (("horizon", [LAST]), ("nova", [])):
        services = whole["services"] | {name: whole["services"][name] | {"packages": []}}
        states = highdata.build({**whole, "services": services})
        assert [each for each in (*PACKAGES, LAST) if each not in states] == without
        assert "dashboard: units run" in states
    alone = {"host": "h", "services": {"x": {"tier": "identity", "packages": ["a"]}}}
    assert list(highdata.build(alone)) == PACKAGES[:1]


PARTS = [
    (name, service)
    for name, (host, data) in golden_sites().items()
    for service in (None, *plan(host, data).as_data()["services"])
]
"""Each kind of host whole, and each of its services alone."""


@pytest.mark.parametrize(("name", "service"), PARTS)
def test_each_requisite_names_a_state_that_stands_before(name: str, service: str | None) -> None:
    states = highdata.build(plan(*golden_sites()[name]).as_data(), [service] if service else None)
    seen: set[tuple[str, str]] = set()
    for identity, body in states.items():
        ((function, arguments),) = body.items()
        required = [each for argument in arguments for each in argument.get("require", [])]
        assert all(tuple(*each.items()) in seen for each in required)
        assert required or function == "package_set.installed"
        seen.add((function.split(".")[0], identity))
    assert seen


def test_all_hosts_and_all_services_are_looked_at() -> None:
    assert {service for _, service in PARTS} - {None} == set(real_catalogue())
    assert len({name for name, _ in PARTS}) == 6
    assert len(PARTS) > 50


def test_no_secret_is_an_argument_of_a_state() -> None:
    for host in ("deploy", "ctl1", "cmp1"):
        assert "canary" not in str(highdata.build(plan(host).as_data()))


def test_a_service_alone_brings_nothing_of_others() -> None:
    data = highdata.build(plan("ctl1").as_data(), ["glance"])
    assert all(identity.split(":")[0] in ("glance", "host", "service", "mariadb") for identity in data)
    assert functions(data)[0] == "package_set.installed"
    packages = data["host: packages are installed"]["package_set.installed"][1]["packages"]
    assert packages == ["glance-api"]


def test_a_service_that_the_host_lacks_is_refused() -> None:
    with pytest.raises(Problems, match="unknown"):
        highdata.build(plan("cmp1").as_data(), ["keystone"])


def test_an_object_listed_as_absent_is_removed() -> None:
    data = {**sample_data(), "resources": {"flavors": {"old": {"absent": True}, "new": {"ram": 512}}}}
    states = highdata.build(plan("ctl1", data).as_data())
    assert "openstack_resource.absent" in states["nova: flavor old is gone"]
    assert "absent" not in str(states["nova: flavor old is gone"]["openstack_resource.absent"][3])
    assert "openstack_resource.present" in states["nova: flavor new"]


def test_two_states_of_one_name_are_refused() -> None:
    data = {**sample_data(), "resources": {"networks": {"public": {"project": "service"}}}}
    with pytest.raises(Problems, match="neutron: network public"):
        highdata.build(plan("ctl1", data).as_data())


def test_a_unit_that_another_role_runs_is_not_kept_off() -> None:
    data = sample_data()
    data["hosts"]["ctl1"] |= {"roles": ["controller", "compute"], "interfaces": data["hosts"]["cmp1"]["interfaces"]}
    both, alone = (highdata.build(plan(host, data).as_data()) for host in ("ctl1", "cmp1"))
    assert "neutron: colliding units are off" not in both
    assert alone["neutron: colliding units are off"]["unit.dead"][1] == {"units": ["haproxy.service"]}
