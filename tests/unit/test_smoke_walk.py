"""The smoke test where the cloud is not there: the summary comes all the same; and keys that must be refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from keystoneauth1.exceptions import ConnectFailure

from tests import stand_ins
from tests.sample import TEXT

stand_ins.install()

from smoke import __main__ as main  # noqa: E402 - needs the stand-ins
from smoke import cloud as clouds  # noqa: E402
from smoke import evidence, reach, steps  # noqa: E402
from smoke.runner import Failed, Skipped, Walk  # noqa: E402


def unreachable(*_: Any, **__: Any) -> Any:
    raise ConnectFailure("Unable to establish connection to https://api:5000")


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> clouds.Cloud:
    """A cloud whose identity service is gone, with one server that nobody can ask for."""
    api = SimpleNamespace(
        identity=SimpleNamespace(projects=unreachable),
        compute=SimpleNamespace(get_server=unreachable, get_server_console_output=unreachable),
    )
    options = clouds.Options("saltern", None, tmp_path / "image", tmp_path / "logs", main.outside.Nowhere())  # type: ignore[arg-type]
    made = clouds.Cloud(options, api, user=api, servers={"on-cmp1": SimpleNamespace(id="1")})
    monkeypatch.setattr(clouds, "connect", lambda options: made)
    monkeypatch.setattr(sys.modules["salt.client"], "LocalClient", stand_ins.LocalClient)
    return made


def walked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *words: str, **runs: Any) -> int:
    """Run the command line on a walk of such steps, none of which needs another."""
    made = Walk()
    for name, run in runs.items():
        run.__name__ = name
        made.step()(run)
    monkeypatch.setattr(steps, "walk", made)
    (tmp_path / "site.yaml").write_text(TEXT)
    given = ["--site", str(tmp_path / "site.yaml"), "--image", "x", "--json", str(tmp_path / "summary.json")]
    monkeypatch.setattr(sys, "argv", ["smoke", *given, *words])
    return main.main()


def fine(cloud: clouds.Cloud) -> str:
    return "well"


def lost(cloud: clouds.Cloud) -> str:
    return str(cloud.admin.compute.get_server("1"))


def not_here(cloud: clouds.Cloud) -> str:
    raise Skipped("nobody probes")


def stopped(cloud: clouds.Cloud) -> str:
    raise KeyboardInterrupt


def test_a_cloud_that_is_gone_does_not_cost_the_summary(
    cloud: clouds.Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert walked(monkeypatch, tmp_path, first=lambda _: fine(cloud), second=lambda _: lost(cloud)) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2] == "smoke test: BAD: second"
    assert lines[-1].startswith("failed")
    assert "clean up" in lines[-1]
    assert "ConnectFailure: Unable to establish connection" in lines[-1]
    said = json.loads((tmp_path / "summary.json").read_text())
    assert (said["bad"], said["clean up"]["result"]) == (["second"], "failed")


def test_a_clean_up_that_fails_is_bad_after_a_good_walk(
    cloud: clouds.Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert walked(monkeypatch, tmp_path, first=lambda _: fine(cloud)) == 1
    assert capsys.readouterr().out.splitlines()[-2] == "smoke test: good"
    assert walked(monkeypatch, tmp_path, "--keep", first=lambda _: fine(cloud)) == 0
    assert json.loads((tmp_path / "summary.json").read_text())["clean up"] is None
    monkeypatch.setattr(clouds, "move_out", lambda cloud: None)
    assert walked(monkeypatch, tmp_path, first=lambda _: fine(cloud)) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "smoke test: good"


def test_what_was_passed_over_is_named(
    cloud: clouds.Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = walked(monkeypatch, tmp_path, "--keep", first=lambda _: fine(cloud), floating_ip=lambda _: not_here(cloud))
    assert code == 0
    assert capsys.readouterr().out.splitlines()[-1] == "smoke test: good; skipped: floating ip"


def test_an_interrupted_walk_is_cleaned_up_and_summed_up(
    cloud: clouds.Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(clouds, "move_out", stopped)
    assert walked(monkeypatch, tmp_path, first=lambda _: stopped(cloud)) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2] == "smoke test: BAD: walk"
    assert lines[-1].endswith("clean up                 interrupted")


def test_a_cloud_that_cannot_be_connected_to_is_one_line(
    cloud: clouds.Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(clouds, "connect", unreachable)
    assert walked(monkeypatch, tmp_path, first=lambda _: fine(cloud)) == 2
    assert capsys.readouterr().err == "smoke test: Unable to establish connection to https://api:5000\n"


def test_evidence_is_what_there_is_of_it(cloud: clouds.Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"cmd.run_stdout": {"ctl1": "2026 1 ERROR keystone"}}
    monkeypatch.setattr(stand_ins.LocalClient, "answers", answers)
    said = evidence.keep(cloud, "a step", 0)
    assert "log of ctl1" in said
    assert "console of" not in said
    assert (cloud.options.logs / "a-step" / "log-of-ctl1.txt").read_text() == "2026 1 ERROR keystone\n"


class Door:
    """The provider's side, where a guest takes some keys; it notes what it was asked."""

    def __init__(self, takes: Any, otherwise: str = "root@198.51.100.7: Permission denied (publickey).") -> None:
        """Have a guest that takes the keys of which the function is true."""
        self.takes, self.otherwise = takes, otherwise
        self.asked: list[dict[str, Any]] = []

    def ask(self, question: Any) -> str:
        """Answer as ssh does."""
        self.asked.append(dict(question))
        if self.takes(question["key"]):
            return "guest\n"
        raise Failed(f"ssh to 198.51.100.7 from VLAN 200: {self.otherwise}")


def behind(cloud: clouds.Cloud, door: Door) -> clouds.Cloud:
    """Return the cloud with an instance behind a door."""
    seen = SimpleNamespace(provider_segmentation_id=200)
    cloud.admin.network = SimpleNamespace(get_network=lambda _: seen)
    cloud.key, cloud.options.outside = "THE USER'S", door
    floating = SimpleNamespace(floating_ip_address="198.51.100.7")
    cloud.made = {"floating": floating, "external": SimpleNamespace(id="2"), "reached": "on-cmp1", "host key": "k"}
    return cloud


def test_another_key_is_tried_and_must_be_refused(cloud: clouds.Cloud) -> None:
    door = Door(lambda key: key == "THE USER'S")
    there = behind(cloud, door)
    assert reach.ask(there, "ssh", command="hostname") == "guest\n"
    reach.refuses_others(there)
    assert [each["key"] == "THE USER'S" for each in door.asked] == [True, False]
    assert door.asked[1]["key"].startswith("-----BEGIN OPENSSH PRIVATE KEY-----")
    assert door.asked[1]["host_key"] == "k"


def test_a_guest_that_takes_every_key_is_found(cloud: clouds.Cloud) -> None:
    with pytest.raises(Failed, match=r"198.51.100.7: another key than the user's logs in: guest"):
        reach.refuses_others(behind(cloud, Door(lambda key: True)))


def test_a_guest_that_does_not_answer_has_refused_nothing(cloud: clouds.Cloud) -> None:
    door = Door(lambda key: False, "ssh: connect to host 198.51.100.7 port 22: Connection timed out")
    with pytest.raises(Failed, match="timed out"):
        reach.refuses_others(behind(cloud, door))
