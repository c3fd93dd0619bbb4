"""Boot files as an operator gets them: by the command line and by the runner, printed or as a tree; and DHCP itself."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from saltern import answers, bootfiles, mirrors, verbs
from saltern.errors import Problems

from frontdoor import __main__ as main
from tests.sample import SERVICES
from tests.unit.boot_samples import MIRRORS, installed, simple, sources
from tests.unit.site_samples import smallest
from tests.unit.test_plan_runner import loaded

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


@pytest.fixture(autouse=True)
def apt(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's own mirrors are not the test's."""
    monkeypatch.setattr(mirrors, "found", lambda named: {**MIRRORS, **named})


def written(path: Path, data: Any) -> str:
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return str(path)


def files(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


# --- the verb


def test_files_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = written(tmp_path / "site.yaml", simple())
    assert main.main(["boot-files", "--site", site, "--host", "cmp1"]) == 0
    out = capsys.readouterr().out
    shown = [line for line in out.splitlines() if line.startswith("==> ")]
    assert shown == [
        "==> boot/nodes/52:54:00:00:00:04.cfg <==",
        "==> boot/hosts/cmp1/install.cfg <==",
        "==> answers/cmp1/preseed.cfg <==",
        "==> boot/hosts/cmp1/finish.sh <==",
        "==> boot/hosts/cmp1/root-disks.sh <==",
        "==> boot/hosts/cmp1/trust.sh <==",
    ]
    assert main.main(["boot-files", "--site", site]) == 0
    assert "==> dnsmasq.conf <==" in capsys.readouterr().out


def test_a_tree_is_written_and_left_alone_when_it_is_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site, out = written(tmp_path / "site.yaml", simple()), tmp_path / "out"
    assert main.main(["boot-files", "--site", site, "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}: 15 of 15 files written\n"
    assert files(out) == bootfiles.tree(sources(simple()))
    assert {path.stat().st_mode & 0o777 for path in out.rglob("*") if path.is_file()} == {0o644}
    assert main.main(["boot-files", "--site", site, "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}: 0 of 15 files written\n"


def test_what_was_armed_for_one_installation_is_disarmed(tmp_path: Path) -> None:
    inputs = verbs.Inputs(Path(written(tmp_path / "site.yaml", simple())), SERVICES)
    tree = verbs.boot_files(inputs)
    verbs.write_tree(tmp_path / "out", tree)
    node = tmp_path / "out/boot/nodes/52-54-00-00-00-03.ipxe"
    install = tmp_path / "out/boot/hosts/ctl1/install.ipxe"
    node.unlink()
    node.symlink_to("../hosts/ctl1/install.ipxe")
    assert node.read_text() == install.read_text()
    assert verbs.write_tree(tmp_path / "out", tree) == 1
    assert not node.is_symlink()
    assert node.read_text().endswith("exit\n")
    assert install.read_text() == tree["boot/hosts/ctl1/install.ipxe"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--host", "cmp9"], "hosts: 'cmp9': unknown; did you mean 'cmp1'?"),
        (["--host", "deploy"], "hosts:deploy:install: None: this key is required"),
        (["--out", "/dev/null/x"], "'Not a directory': a place that can be written"),
    ],
)
def test_what_cannot_be_done_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main.main(["boot-files", "--site", written(tmp_path / "site.yaml", simple()), *words]) == 1
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.out == ""


def test_a_site_that_installs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["boot-files", "--site", written(tmp_path / "site.yaml", smallest())]) == 1
    assert "hosts: 'none with the key install': a host that is to be installed" in capsys.readouterr().err


def test_a_profile_that_does_not_exist_is_a_mistake_of_the_site_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = simple()
    data["install"]["profile"] = "debian-31"
    assert main.main(["validate", written(tmp_path / "site.yaml", data)]) == 1
    said = capsys.readouterr().err.splitlines()
    wrong = "install:profile: 'debian-31': unknown; did you mean 'debian-13'?"
    assert said == [f"hosts:ctl1:{wrong}", f"hosts:cmp1:{wrong}"]


# --- the runner


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    site = written(tmp_path / "site.yaml", simple())
    return loaded(
        "_runners/saltern.py",
        __opts__={"ext_pillar": [{"saltern": {"site": site, "catalogue": str(SERVICES)}}]},
        __salt__={},
    )


def test_the_runner_says_the_same(runner: Any, tmp_path: Path) -> None:
    assert runner.boot_files() == bootfiles.tree(sources(simple()))
    assert set(runner.boot_files("cmp1")) < set(runner.boot_files())
    out = str(tmp_path / "out")
    assert runner.boot_files(out=out) == f"{out}: 15 of 15 files written"
    assert files(tmp_path / "out") == runner.boot_files()
    assert runner.boot_files("cmp9")["data"]["retcode"] == 1


# --- mirrors


def test_mirrors_are_those_of_apt_unless_the_site_names_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    targets = [
        "Other|Debian|http://other.example/debian/",
        "Debian|Debian Backports|http://backports.example/debian/",
        "Debian|Debian|mirror+file:/etc/apt/mirrors/debian.list/",
        "Debian|Debian|http://first.example/debian/",
        "Debian|Debian|http://second.example/debian/",
        "Debian|Debian-Security|http://first.example/security/",
    ]
    assert mirrors.of_apt("\n".join(targets)) == {
        "debian": "http://first.example/debian",
        "security": "http://first.example/security",
    }
    program = tmp_path / "apt-get"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{targets[3]}\nEND\n")
    program.chmod(0o755)
    monkeypatch.setitem(mirrors.ENVIRONMENT, "PATH", f"{tmp_path}:/usr/bin:/bin")
    assert mirrors.found({}) == {"debian": "http://first.example/debian"}
    assert mirrors.found({"debian": "http://own.example"}) == {"debian": "http://own.example"}
    monkeypatch.setitem(mirrors.ENVIRONMENT, "PATH", str(tmp_path / "none"))
    assert mirrors.found({"debian": "http://own.example"}) == {"debian": "http://own.example"}


def test_a_mirror_that_nobody_names(tmp_path: Path) -> None:
    with pytest.raises(Problems, match="mirrors:debian: None: the URL of a mirror"):
        bootfiles.tree(sources(simple(), {}))


@pytest.mark.parametrize(
    ("mirror", "security", "lines"),
    [
        (
            "https://deb.example:8443/",
            "",
            ["protocol string https", "https/hostname string deb.example:8443", "https/directory string /",
             "services-select multiselect updates"],
        ),
        (
            "http://deb.example/mirrors/debian/",
            "http://deb.example/security",
            ["http/directory string /mirrors/debian", "security_host string deb.example",
             "security_path string /security", "services-select multiselect security, updates"],
        ),
    ],
)  # fmt: skip
def test_the_debian_installer_is_told_the_mirror_in_pieces(mirror: str, security: str, lines: list[str]) -> None:
    found = {"debian": mirror, **({"security": security} if security else {})}
    text = bootfiles.tree(sources(simple(), found))["answers/cmp1/preseed.cfg"]
    for line in lines:
        assert f"{line}\n" in text


@pytest.mark.parametrize(
    ("console", "lines"),
    [
        ("tty0", []),
        ("ttyS0", ["serial --unit=0 --speed=9600"]),
        ("ttyS1,115200n8", ["serial --unit=1 --speed=115200"]),
    ],
)
def test_grub_speaks_where_the_kernel_does(console: str, lines: list[str]) -> None:
    assert [*answers._terminal(console)][:1] == lines


def test_without_time_servers_installers_ask_nobody() -> None:
    text = bootfiles.tree(sources(simple()))
    assert "d-i clock-setup/ntp boolean false\n" in text["answers/cmp1/preseed.cfg"]
    assert "timesyncd" not in text["boot/hosts/cmp1/finish.sh"]
    data = installed("fedora-43")
    data["time"] = {"servers": []}
    assert "timesource" not in bootfiles.tree(sources(data))["answers/cmp1/kickstart.cfg"]


# --- dnsmasq, asked by a machine

CAN_UNSHARE = os.getuid() == 0 and bool(shutil.which("dnsmasq", path=PATH))
BOOT = Path(__file__).with_name("dhcp_client.py")
KNOWN, UNKNOWN = "52:54:00:20:00:21", "52:54:00:ff:ff:ff"


def offered(tmp_path: Path, data: Any, *machines: str) -> list[Any]:
    """Run dnsmasq in a network of its own, and return what machines there are offered."""
    text = bootfiles.tree(sources(data))["dnsmasq.conf"]
    (tmp_path / "tftp").mkdir()
    config = tmp_path / "dnsmasq.conf"
    config.write_text(text.replace("/srv/saltern-boot/boot", f"{tmp_path}/tftp"))
    command = ["unshare", "--net", sys.executable, str(BOOT), str(config), *machines]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env={"PATH": PATH})
    assert done.returncode == 0, done.stderr
    found: list[Any] = yaml.safe_load(done.stdout)
    return found


@pytest.mark.skipif(not CAN_UNSHARE, reason="dnsmasq is not installed, or not root")
def test_machines_are_offered_what_their_firmware_starts(tmp_path: Path) -> None:
    kinds = [f"{KNOWN}/{kind}" for kind in ("0", "0/ipxe", "7", "16")]
    bios, ipxe, uefi, http, unknown = offered(tmp_path, installed(), *kinds, f"{UNKNOWN}/7")
    common = {
        "address": "10.21.0.21",
        "server": "10.21.0.5",
        "router": "10.21.0.1",
        "dns": "10.21.0.53",
        "name": "cmp1",
    }
    assert bios == {**common, "file": "undionly.kpxe"}
    assert ipxe == {**common, "file": "http://10.21.0.5:8081/start.ipxe"}
    assert uefi == {**common, "file": "bootnetx64.efi"}
    assert http == {**common, "file": "http://10.21.0.5:8081/bootnetx64.efi", "class": "HTTPClient"}
    assert unknown["address"].startswith("10.21.0.1")
    assert 100 <= int(unknown["address"].split(".")[3]) < 200
    assert "file" not in unknown


@pytest.mark.skipif(not CAN_UNSHARE, reason="dnsmasq is not installed, or not root")
def test_without_a_range_unknown_machines_are_not_answered(tmp_path: Path) -> None:
    data = installed("fedora-43")
    del data["networks"]["provisioning"]["range"]
    known, unknown = offered(tmp_path, data, f"{KNOWN}/7", f"{UNKNOWN}/7")
    assert (known["file"], unknown) == ("/fedora-43/shimx64.efi", None)


@pytest.mark.skipif(not CAN_UNSHARE, reason="dnsmasq is not installed, or not root")
def test_beside_another_server_addresses_are_not_ours_to_give(tmp_path: Path) -> None:
    data = installed("fedora-43")
    data["networks"]["provisioning"] |= {"dhcp": "proxy", "range": None}
    kinds = [f"{KNOWN}/{kind}" for kind in ("0", "7", "0/ipxe", "0/boot", "7/boot")]
    *offers, bios, uefi, unknown = offered(tmp_path, data, *kinds, f"{UNKNOWN}/7")
    # Firmware takes its address from the other server, and asks us once more what to start.
    assert [(each["server"], each["class"], each.get("address")) for each in offers] == [
        ("10.21.0.5", "PXEClient", None)
    ] * 3
    assert offers[2]["file"] == "http://10.21.0.5:8081/start.ipxe"
    assert (bios["file"], uefi["file"]) == ("undionly.kpxe", "/fedora-43/shimx64.efi")
    assert unknown is None


@pytest.mark.skipif(not CAN_UNSHARE, reason="dnsmasq is not installed, or not root")
def test_a_relay_is_answered(tmp_path: Path) -> None:
    relayed = offered(tmp_path, installed(), f"{KNOWN}/7/relay")[0]
    assert (relayed["address"], relayed["file"]) == ("10.21.0.21", "bootnetx64.efi")
