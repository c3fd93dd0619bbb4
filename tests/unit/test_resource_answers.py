"""What is read out of the APIs' answers: lists, ids, pages, refusals."""

import pytest
from saltern.resource_answers import listed, made_id, next_page, refusal, touched, with_interfaces
from saltern.resource_kinds import KINDS


def test_answers():
    assert listed(KINDS["network"], {"networks": [{"id": "a"}]}) == [{"id": "a"}]
    assert listed(KINDS["keypair"], {"keypairs": [{"keypair": {"name": "a"}}]}) == [{"name": "a"}]
    assert listed(KINDS["network_quota"], {"quota": {"port": 1}}) == [{"port": 1}]
    assert made_id(KINDS["flavor"], {"flavor": {"id": "a b"}}) == "a%20b"
    assert made_id(KINDS["image"], {"id": "x"}) == "x"
    assert made_id(KINDS["role_assignment"], {}) == ""
    assert next_page(KINDS["image"], {"next": "/v2/images?marker=1"}) == "/v2/images?marker=1"
    assert (
        next_page(KINDS["flavor"], {"flavors_links": [{"rel": "next", "href": "http://x?marker=2"}]})
        == "http://x?marker=2"
    )
    assert next_page(KINDS["network"], {"networks": []}) == ""
    ports = [{"device_id": "rt", "fixed_ips": [{"subnet_id": "b"}, {"subnet_id": "a"}]}]
    routers = with_interfaces([{"id": "rt"}, {"id": "rt2"}], ports)
    assert [router["interfaces"] for router in routers] == [["a", "b"], []]


def test_a_change_makes_lists_old():
    assert touched("router") == {"router", "router_port"}
    assert {"subnet", "router"} <= touched("network")
    assert "security_group_rule" in touched("security_group")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"NeutronError": {"type": "Conflict", "message": "in use"}}', "in use"),
        ('{"error": {"code": 409, "message": "taken", "title": "Conflict"}}', "taken"),
        ('{"badRequest": {"code": 400, "message": "bad"}}', "bad"),
        ("<html>\n <h1>502</h1></html>", "<html> <h1>502</h1></html>"),
        ("{}", "{}"),
    ],
)
def test_refusals(text, expected):
    assert refusal("PUT", "/x?y=1", 409, text) == f"PUT /x: 409: {expected}"
