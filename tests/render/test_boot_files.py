"""Boot files: whole, compared with what is kept under ``golden/boot/``, and read by the programs that they are for.

``SALTERN_GOLDEN=write pytest tests/render`` writes them anew; read the difference before you commit it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pykickstart.parser import KickstartParser
from pykickstart.version import makeVersion, versionMap
from saltern import bootfiles, planning

from tests.unit.boot_samples import CASES, IMAGES, KICKSTART, installed, simple, sources

GOLDEN = Path(__file__).parent / "golden" / "boot"
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
NAMES = ["-".join(case) for case in CASES]
SHOWN = ("debian-13-bios-raid1", "debian-13-live-uefi-lvm", "fedora-43-uefi-lvm", "fedora-44-bios-raid1", "server")
"""Cases that slow programs are shown; the others have their turn with `--all`."""
PRESEEDED = [name for name in NAMES if name.startswith("debian") and "live" not in name]
LIVE = [name for name in NAMES if "live" in name]
SUM = re.compile(r"\b[0-9a-f]{64}\b")
FEDORAS = sorted(name for name in versionMap if re.fullmatch(r"F[0-9]+", name) and int(name[1:]) >= 43)


def proxied() -> dict[str, Any]:
    data = installed("fedora-43", "bios")
    data["networks"]["provisioning"] |= {"dhcp": "proxy", "range": None}
    return data


SITES: dict[str, Any] = {"server": installed, "proxy": proxied, "management": simple}


def some(names: list[str]) -> list[Any]:
    """Return all of the names as parameters, those that are not shown as slow ones."""
    return [name if name in SHOWN else pytest.param(name, marks=pytest.mark.slow) for name in names]


@cache
def tree(name: str) -> dict[str, str]:
    """All files of a case, or of a site."""
    data = SITES[name]() if name in SITES else installed(*dict(zip(NAMES, CASES, strict=True))[name])
    return bootfiles.tree(sources(data))


def shown(name: str) -> str:
    """What is kept of a case: the host's files; of the scripts that all hosts have, what is said to them."""
    kickstart = sources(simple()).kickstart
    texts = {
        path: SUM.sub("SHA-256", text.replace(kickstart.script, "…\n").replace(kickstart.trust, "…\n"))
        for path, text in tree(name).items()
        if name in SITES or path.startswith(("boot/", "answers/"))
    }
    return planning.whole(texts)


@pytest.mark.parametrize("name", [*NAMES, *SITES])
def test_files_are_as_they_were_agreed(name: str) -> None:
    kept, text = GOLDEN / f"{name}.txt", shown(name)
    if os.environ.get("SALTERN_GOLDEN") == "write":
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(text)
    assert text == kept.read_text()


def test_nothing_is_kept_that_nobody_renders() -> None:
    assert sorted(path.stem for path in GOLDEN.iterdir()) == sorted([*NAMES, *SITES])


def tool(name: str) -> str:
    """The path of a tool; without it the test is passed over (the whole test installs it)."""
    found = shutil.which(name, path=PATH)
    if not found:
        pytest.skip(f"{name} is not installed")
    return found


def checked(*command: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)


def of(name: str, suffix: str) -> dict[str, str]:
    """The files of a case with names that end so; there must be some."""
    found = {path: text for path, text in tree(name).items() if path.endswith(suffix)}
    assert found
    return found


# --- Kickstart, by Anaconda's own parser

KICKSTARTS = [(name, version) for name in NAMES if name.startswith("fedora")
              for version in FEDORAS if int(version[1:]) >= int(name.split("-")[1])]  # fmt: skip


def test_versions_are_known() -> None:
    assert {"F43", "F44"} <= set(FEDORAS)


def whole_kickstart(name: str) -> str:
    """A Kickstart file with the commands in it that the script prints on a machine with these disks."""
    script = of(name, "root-disks.sh")["boot/hosts/cmp1/root-disks.sh"]
    said = script[script.index("COMMANDS=") : script.index("ESP=")]
    shell = f"{said}printf '%s\\n' \"$COMMANDS\" | sed 's/DISK1/sda/g; s/DISK2/nvme0n1/g'"
    commands = checked("/bin/sh", text=shell).stdout
    assert "clearpart" in commands
    return of(name, "kickstart.cfg")["answers/cmp1/kickstart.cfg"].replace("%include /tmp/root-disks.ks\n", commands)


BIOSBOOT = "A partition with the mountpoint biosboot has already been defined."
"""A warning; two partitions for GRUB, one on each disk, are what is meant."""


@pytest.mark.filterwarnings(f"ignore:{BIOSBOOT}")
@pytest.mark.parametrize(("name", "version"), KICKSTARTS)
def test_kickstart_files_are_those_of_the_version(name: str, version: str) -> None:
    handler = makeVersion(version)
    KickstartParser(handler, errorsAreFatal=True).readKickstartFromString(whole_kickstart(name))
    assert handler.ignoredisk.onlyuse == (["sda", "nvme0n1"] if "raid1" in name else ["sda"])
    mounts = [each.mountpoint for each in handler.partition.partitions + handler.raid.raidList]
    mounts += [each.mountpoint for each in handler.logvol.lvList]
    assert {"/", "/boot", "/boot/efi" if "uefi" in name else "biosboot"} <= set(mounts)
    assert handler.bootloader.appendLine == "console=ttyS1,115200n8"
    assert {script.type for script in handler.scripts if script.errorOnFail} == {0, 1}
    assert len(handler.scripts) == 3


@pytest.mark.parametrize("name", some([name for name in NAMES if name.startswith("fedora")]))
def test_ksvalidator_agrees(name: str, tmp_path: Path) -> None:
    file = tmp_path / "kickstart.cfg"
    file.write_text(whole_kickstart(name))
    program = str(Path(sys.executable).with_name("ksvalidator"))
    for version in (version for each, version in KICKSTARTS if each == name):
        done = checked(program, "-v", version, str(file))
        warned = [BIOSBOOT] if "bios-raid1" in name else []
        assert (done.returncode, done.stderr.splitlines()) == (len(warned), warned)
    file.write_text(f"{file.read_text()}nonsense\n")
    assert checked(program, "-v", "F43", str(file)).returncode


# --- preseed, by debconf


@pytest.mark.parametrize("name", PRESEEDED)
def test_preseed_files_are_taken_by_debconf(name: str, tmp_path: Path) -> None:
    program = tool("debconf-set-selections")
    text = of(name, "preseed.cfg")["answers/cmp1/preseed.cfg"]
    done = checked(program, "--checkonly", text=text)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert checked(program, "--checkonly", text=f"{text}d-i two\n").returncode
    lines = [line.split(" ", 3) for line in text.splitlines() if line and line[0] != "#"]
    assert {words[2] for words in lines} <= {"string", "boolean", "select", "multiselect", "note", "password"}
    assert len({words[1] for words in lines}) == len(lines)


@pytest.mark.parametrize("name", PRESEEDED)
def test_recipes_are_whole(name: str) -> None:
    """Each partition of a recipe: least, priority and most in MB, a kind, then words with a value in braces."""
    text = of(name, "preseed.cfg")["answers/cmp1/preseed.cfg"]
    recipe = re.search(r"expert_recipe string saltern : (.*)", text)
    assert recipe
    parts = [each.strip() for each in re.split(r" \.(?: |$)", recipe[1]) if each.strip()]
    mounted = re.findall(r"mountpoint\{ (\S+) \}", recipe[1])
    for part in parts:
        assert re.fullmatch(r"\d+ \d+ (-1|\d+) [a-z]+[0-9]*( \$?[a-z_]+\{( \S+)? \})+", part), part
        low, priority, high = map(int, part.split()[:3])
        assert low <= priority
        assert high == -1 or low <= high
    assert ("method{ efi }" in parts[0], "method{ biosgrub }" in parts[0]) == ("uefi" in name, "bios" in name)
    assert mounted == ([] if "raid1" in name else ["/boot", "/"])


@pytest.mark.parametrize(
    ("wget", "script", "returns"),
    [("true", "exit 0", True), ("true", "echo why >&2; exit 1", False), ("false", "", False)],
)
def test_the_debian_installer_stands_still_after_a_refusal(
    tmp_path: Path, wget: str, script: str, returns: bool
) -> None:
    """It would go on after a command that failed, and take the only disk that it sees."""
    text = of("debian-13-uefi-plain", "preseed.cfg")["answers/cmp1/preseed.cfg"]
    found = re.search(r"partman/early_command string (.*)", text)
    assert found
    command = found[1].replace("/tmp/", f"{tmp_path}/").replace("/dev/console", f"{tmp_path}/console")
    (tmp_path / "root-disks.sh").write_text(f"{script}\n")
    with subprocess.Popen(["/bin/sh", "-c", f"wget() {{ {wget}; }}\n{command}"], start_new_session=True) as process:
        try:
            assert (process.wait(timeout=2), returns) == (0, True)
        except subprocess.TimeoutExpired:
            assert not returns
            os.killpg(process.pid, signal.SIGKILL)
    if wget == "true" and not returns:
        assert (tmp_path / "console").read_text() == "why\n"


# --- dnsmasq, GRUB, shells


@pytest.mark.parametrize("name", SITES)
def test_dnsmasq_takes_its_configuration(name: str, tmp_path: Path) -> None:
    program, file = tool("dnsmasq"), tmp_path / "dnsmasq.conf"
    (tmp_path / "tftp").mkdir()
    text = of(name, "dnsmasq.conf")["dnsmasq.conf"].replace("/srv/saltern-boot/boot", f"{tmp_path}/tftp")
    file.write_text(text)
    done = checked(program, "--test", f"--conf-file={file}")
    assert (done.returncode, done.stderr) == (0, "dnsmasq: syntax check OK.\n")
    file.write_text(f"{text}dhcp-rage=x\n")
    assert checked(program, "--test", f"--conf-file={file}").returncode


@pytest.mark.parametrize("name", [*NAMES, *SITES])
def test_grub_takes_its_scripts(name: str) -> None:
    program = tool("grub-script-check")
    texts = [
        text
        for path, text in tree(name).items()
        if path.endswith(".cfg") and path.startswith(("boot/nodes/", "boot/debian-installer/", "boot/fedora"))
    ]
    texts += [text for path, text in tree(name).items() if path.endswith("install.cfg")]
    assert texts
    for text in texts:
        done = checked(program, "/dev/stdin", text=text)
        assert (done.returncode, done.stderr) == (0, "")
    assert checked(program, "/dev/stdin", text="if true; then\n").returncode


@pytest.mark.parametrize("name", some([*NAMES, *SITES]))
def test_scripts_are_clean(name: str) -> None:
    program = tool("shellcheck")
    for suffix in ("finish.sh", "root-disks.sh", "trust.sh"):
        for text in of(name, suffix).values():
            done = checked(program, "--severity=style", "-", text=text)
            assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", NAMES)
def test_the_new_system_gets_its_files(name: str, tmp_path: Path) -> None:
    """The script runs in the new system; here with its paths below a directory, and what it runs recorded."""
    text = of(name, "finish.sh")["boot/hosts/cmp1/finish.sh"]
    for top in ("etc", "root", "opt"):
        text = re.sub(rf"(?<=[ '>])/{top}/", f"{tmp_path}/{top}/", text)
    (tmp_path / "etc/network").mkdir(parents=True)
    programs = "".join(f'{each}() {{ echo "{each} $*"; }}\n' for each in ("systemctl", "restorecon"))
    done = checked("/bin/sh", "-c", programs + text)
    assert (done.returncode, done.stderr) == (0, "")
    assert "systemctl enable systemd-networkd" in done.stdout
    written = {str(path.relative_to(tmp_path)): path for path in tmp_path.rglob("*") if path.is_file()}
    keys = written["root/.ssh/authorized_keys"]
    assert keys.read_text().startswith("ssh-ed25519 ")
    assert (keys.stat().st_mode & 0o777, keys.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert "Bond = bond0" in written["etc/systemd/network/20-eno1.network"].read_text()
    assert {(tmp_path / each).is_dir() for each in ("opt/saltern", "etc/salt")} == {True}


# --- the live installer


@pytest.mark.parametrize("name", LIVE)
def test_whoever_vouches_for_the_command_line_vouches_for_all_the_rest(name: str) -> None:
    """The kernel is told the SHA-256 of the answers, and they have those of everything that is fetched after them."""
    files = {path.removeprefix("boot/hosts/cmp1/"): text for path, text in tree(name).items()}
    script = files["install.ipxe" if "bios" in name else "install.cfg"]
    assert f"saltern.sum={hashlib.sha256(files['live.conf'].encode()).hexdigest()} " in script
    assert "saltern.mac=52:54:00:20:00:21 " in script
    words = f"{files['live.conf']}\necho $DISKS_SUM $FINISH_SUM $IMAGE_SUM $IMAGE"
    told = checked("/bin/sh", "-c", words).stdout.split()
    assert told[:2] == [hashlib.sha256(files[each].encode()).hexdigest() for each in ("root-disks.sh", "finish.sh")]
    assert told[2:] == [IMAGES["debian-13-live/root.tar.zst"], "http://10.21.0.5:8081/debian-13-live/root.tar.zst"]


@pytest.mark.parametrize("name", LIVE)
def test_the_live_installer_knows_what_its_layouts_say(name: str) -> None:
    script = (KICKSTART / "live/install.sh").read_text()
    table = checked("/bin/sh", "-c", tree(name)["boot/hosts/cmp1/live.conf"] + '\nprintf %s "$LAYOUT"').stdout
    rows = [line.split() for line in table.splitlines() if line]
    assert [row[0] for row in rows if row[0] == "rest"] == ["rest"]
    assert rows[-1][0] == "rest"
    for _, kind, *mounted in rows:
        assert f"\n        {kind}) echo " in script
        assert bool(mounted) == (kind != "grub")
        assert not mounted or (f"        {mounted[0]}) mkfs" in script and mounted[1].startswith("/"))


def test_the_live_installer_is_clean() -> None:
    program = tool("shellcheck")
    for path in sorted((KICKSTART / "live").iterdir()):
        done = checked(program, "--severity=style", str(path))
        assert (done.returncode, done.stdout) == (0, "")


# --- iPXE has no checker: what must be there, line by line


@pytest.mark.parametrize("name", [name for name in NAMES if "bios" in name])
def test_ipxe_scripts_have_what_they_need(name: str) -> None:
    start, node = tree(name)["boot/start.ipxe"], tree(name)["boot/nodes/52-54-00-20-00-21.ipxe"]
    install = tree(name)["boot/hosts/cmp1/install.ipxe"]
    assert all(text.startswith("#!ipxe\n") and text.endswith("\n") for text in (start, node, install))
    assert "http://10.21.0.5:8081/nodes/${netX/mac:hexhyp}.ipxe || exit\n" in start
    assert node.splitlines()[-1] == "exit"
    words = [line.split() for line in install.splitlines()]
    assert [each[0] for each in words[-3:]] == ["kernel", "initrd", "boot"]
    assert words[-3][-1] == "console=ttyS1,115200n8"


# --- what holds for all of them


@pytest.mark.parametrize("name", [*NAMES, *SITES])
def test_a_machine_installs_itself_only_when_somebody_says_so(name: str) -> None:
    for path, text in tree(name).items():
        if path.startswith("boot/nodes/"):
            assert text.splitlines()[-1] == "exit"
            text = re.sub(r"^chainloader /EFI/.*", "", text, flags=re.MULTILINE)
            assert not re.search(r"kernel|linux|initrd|chain|http", text)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_in_them_is_secret(name: str) -> None:
    """Whoever is on the network reads boot files, and so may: of passwords they say only that there is none."""
    script = sources(simple()).kickstart.trust
    texts = "\n".join(text.replace(script, "") for text in tree(name).values())
    # The keeper puts them there, once.
    texts = re.sub(r"echo @\{(token|secret)\} >/tmp/saltern/\1\b", "", texts)
    said = re.findall(r".*(?:passw|rootpw|secret|token|private|_key).*", texts, re.IGNORECASE)
    assert said
    harmless = (
        "# Nobody has a password: ",
        "# What trades the token, ",
        "d-i passwd/root-login boolean true",
        "d-i passwd/root-password-crypted password *",
        "d-i passwd/make-user boolean false",
        "rootpw --iscrypted *",
        "put /root/.ssh/authorized_keys 0600 <<",
    )
    assert [line for line in said if not line.startswith(harmless)] == []
