"""Probes ask this computer itself; only what ``ping`` and ``ip`` would say of others is told to them."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Sequence

import pytest
from saltern import network_probes
from saltern.errors import Problems
from saltern.network_probes import Probes, ask


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def said(*, ping: int = 0, neighbours: str = "[]", words: str = "") -> network_probes.Callable:  # type: ignore[type-arg]
    def answer(command: Sequence[str]) -> tuple[int, str]:
        return (ping, words) if command[0] == "ping" else (0, neighbours)

    return answer


def test_a_master_that_listens_answers(port: int) -> None:
    assert Probes("127.0.0.1", ports=(port,)).failing() == {}
    words = Probes("127.0.0.1", ports=(port, 1)).failing()["salt-master"]
    assert words.startswith("127.0.0.1 port 1: ")
    assert "refused" in words


def test_what_is_not_named_is_not_asked() -> None:
    assert Probes().failing() == {}
    assert Probes().names() == []
    assert Probes("10.0.0.1", "10.0.0.254", ("10.0.0.1",), 9000).names() == [
        "salt-master 10.0.0.1",
        "gateway 10.0.0.254",
        "MTU 9000 to a peer",
    ]


def test_a_gateway_may_answer_with_its_mac_alone() -> None:
    assert Probes(gateway="10.0.0.254", ask=said()).failing() == {}
    assert Probes(gateway="10.0.0.254", ask=said(ping=1, neighbours=json.dumps([{"dst": "x"}]))).failing() == {}
    for nothing in ("[]", "", "no"):
        found = Probes(gateway="10.0.0.254", ask=said(ping=1, neighbours=nothing)).failing()
        assert found == {"gateway": "10.0.0.254: answers neither a ping nor the question for its MAC"}


def test_one_peer_is_enough_for_the_mtu() -> None:
    asked = []

    def answer(command: Sequence[str]) -> tuple[int, str]:
        asked.append(command)
        return int(command[-1] != "10.0.0.2"), "ping: sendmsg: Message too long\n"

    assert Probes(peers=("10.0.0.1", "10.0.0.2", "10.0.0.3"), mtu=9000, ask=answer).failing() == {}
    assert [each[-1] for each in asked] == ["10.0.0.1", "10.0.0.2"]
    assert asked[0][asked[0].index("-s") + 1] == "8972"
    assert "do" in asked[0]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("PING\nping: local error: message too long, mtu=1500\n\n1 packets, 100% packet loss\n", "100% packet loss"),
        ("ping: connect: Network is unreachable\n", "Network is unreachable"),
        ("", "in one piece"),
    ],
)
def test_no_peer_for_the_mtu(words: str, told: str) -> None:
    found = Probes(peers=("10.0.0.1",), mtu=9000, ask=said(ping=1, words=words)).failing()["MTU"]
    assert found.startswith("no packet of 9000 bytes gets to 10.0.0.1 in one piece: ")
    assert told in found


def test_on_the_masters_own_host_peers_count_when_one_is_there() -> None:
    assert Probes(peers=("10.0.0.2",), ask=said(ping=1)).judged().peers == ()
    assert Probes(peers=("10.0.0.2",), ask=said()).judged().peers == ("10.0.0.2",)
    assert Probes("10.0.0.1", peers=("10.0.0.2",), ask=said(ping=1)).judged().peers == ("10.0.0.2",)


def test_probes_from_the_plan() -> None:
    found = Probes.from_data({"master": "10.0.0.1", "peers": ["10.0.0.1"], "mtu": 9000})
    assert (found.master, found.gateway, found.peers, found.mtu) == ("10.0.0.1", None, ("10.0.0.1",), 9000)
    with pytest.raises(Problems, match=r"probes:gatway: '10.0.0.1': accepted: master, gateway"):
        Probes.from_data({"gatway": "10.0.0.1"})


def test_a_program_is_asked_and_its_absence_is_an_answer() -> None:
    assert ask(["echo", "x"]) == (0, "x\n")
    status, words = ask(["nonesuch-program"])
    assert status == 127
    assert "nonesuch-program" in words


def test_waiting_ends_when_all_answers_or_with_the_time() -> None:
    answers = [{"a": "no"}, {"a": "no"}, {}]
    assert network_probes.wait(lambda: answers.pop(0), 5, pause=0) == {}
    assert network_probes.wait(lambda: {"a": "no"}, 0) == {"a": "no"}
