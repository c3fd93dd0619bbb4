"""The boot service with its real programs: nginx, uWSGI, the keeper, TLS, and the kernel's own table of neighbours."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.unit import boot_service
from tests.unit.boot_service import RUNNABLE, SERVER, Service, files, run
from tests.unit.trust_samples import MACHINE, public, words

pytestmark = pytest.mark.skipif(not RUNNABLE, reason="nginx or uWSGI is not installed, or not root")
NODE = "/nodes/52-54-00-00-00-03.ipxe"
ANSWERS = "/answers/ctl1/preseed.cfg"
KEY, KEY2 = public(), public()
FORBIDDEN = (403, "refused; `./saltern hosts` on the deploy host says why\n")


@pytest.fixture(scope="module")
def running() -> Iterator[Service]:
    found = Service()
    try:
        found.start()
        yield found
    finally:
        found.close()


@pytest.fixture
def service(running: Service) -> Service:
    for path in (running.root / "hosts").glob("*.json"):
        path.unlink()
    (running.root / "master/minions/ctl1").unlink(missing_ok=True)
    running.deploy.clock = time.time()
    return running


def installing(service: Service) -> tuple[str, str]:
    service.deploy.armed()
    status, text = service.get(ANSWERS)
    assert status == 200
    return words(text)


def test_the_whole_way(service: Service) -> None:
    assert service.get(NODE)[1].endswith("exit\n")
    assert service.get(ANSWERS) == (404, "no such host\n")
    service.deploy.armed()
    assert "kernel http://10.0.0.2:8081/debian-13/linux" in service.get(NODE)[1]
    assert service.get(NODE, other=True)[1].endswith("exit\n")
    token, secret = installing_from(service)
    assert service.get(NODE)[1].endswith("exit\n")
    assert service.post("/progress/ctl1", f"{secret}\ndisks 10\nan ümlaut\n") == (200, "")
    assert service.deploy.record().words == "an ??mlaut"
    assert service.post("/exchange/ctl1", f"{token}\n\n{KEY}") == (200, service.deploy.keys.public())
    assert service.deploy.accepted() == KEY
    assert service.post("/progress/ctl1", f"{secret}\ninstalled 100\n") == (200, "")
    assert service.deploy.record().state == "installed"
    assert service.get(NODE)[1].endswith("exit\n")
    assert service.post("/exchange/ctl1", f"{token}\n\n{KEY2}") == FORBIDDEN
    assert service.deploy.accepted() == KEY


def installing_from(service: Service) -> tuple[str, str]:
    status, text = service.get(ANSWERS)
    assert (status, "@{" in text) == (200, False)
    return words(text)


def test_misuse_is_refused_over_the_wire(service: Service) -> None:
    service.deploy.armed()
    assert service.get(ANSWERS, other=True) == FORBIDDEN
    token, _ = installing_from(service)
    for body in ("", "\n\n\n", f"{'A' * 43}\n\n{KEY}", f"{token[:-1]}\n\n{KEY}"):
        assert service.post("/exchange/ctl1", body) == FORBIDDEN
    assert service.post("/exchange/cmp1", f"{token}\n\n{KEY}") == (404, "no such host\n")
    assert service.get(ANSWERS) == FORBIDDEN
    assert service.deploy.record().state == "locked"
    assert service.post("/exchange/ctl1", f"{token}\n\n{KEY}") == FORBIDDEN
    assert service.deploy.accepted() == ""
    assert any("52:54:00:ff:ff:ff" in each for each in service.deploy.alarms())


def test_two_machines_at_once_and_one_of_them_wins(service: Service) -> None:
    service.deploy.armed()
    with ThreadPoolExecutor(16) as pool:
        found = [*pool.map(lambda _: service.get(ANSWERS)[0], range(16))]
    assert sorted(set(found)) == [200, 403]
    assert found.count(200) == 1
    assert service.deploy.record().state == "locked"


def test_one_token_is_traded_once_however_many_try(service: Service) -> None:
    token, _ = installing(service)
    bodies = [f"{token}\n\n{key}" for key in (KEY, KEY2)] * 6
    with ThreadPoolExecutor(12) as pool:
        found = [*pool.map(lambda body: service.post("/exchange/ctl1", body)[0], bodies)]
    assert (found.count(200), found.count(403)) == (1, 11)
    assert service.deploy.accepted() == bodies[found.index(200)].split("\n\n")[1]


def test_a_restart_in_the_middle(service: Service) -> None:
    service.deploy.armed()
    token, secret = installing_from(service)
    for name in ("keeper", "app"):
        service.stop(name)
    # Without the service, a machine starts from its disk; and is told to come back with the rest
    assert service.get(NODE)[1].endswith("exit\n")
    assert service.post("/exchange/ctl1", f"{token}\n\n{KEY}")[0] in (502, 503)
    service.start("keeper", "app")
    assert service.get(ANSWERS)[0] == 403
    service.deploy.desk.unlock("ctl1", "a test")
    token, secret = installing(service)
    service.stop("keeper")
    assert service.post("/exchange/ctl1", f"{token}\n\n{KEY}") == (503, "not now\n")
    service.start("keeper")
    assert service.post("/exchange/ctl1", f"{token}\n\n{KEY}")[0] == 200
    assert service.post("/progress/ctl1", f"{secret}\ninstalled 100\n")[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/hosts/ctl1/finish.sh", 200),
        ("HEAD", "/hosts/ctl1/finish.sh", 200),
        ("PUT", "/hosts/ctl1/finish.sh", 403),
        ("GET", "/tree/hosts/ctl1/finish.sh", 404),
        ("GET", "/hosts/", 403),
        ("GET", "/answers/ctl1/../../hosts/ctl1/finish.sh", 200),
        ("GET", "/../answers/ctl1/preseed.cfg", 400),
        ("POST", "/answers/ctl1/preseed.cfg", 405),
        ("HEAD", "/answers/ctl1/preseed.cfg", 405),
        ("GET", "/answers/ctl1/", 404),
        ("GET", "/nodes/52:54:00:00:00:03.exe", 404),
        ("GET", "/nodes/52%3a54%3a00%3a00%3a00%3a04.cfg", 200),
        ("POST", "/exchange/ctl1", 405),
        ("GET", "/exchange/ctl1", 404),
    ],
)
def test_what_there_is_without_trust(service: Service, method: str, path: str, status: int) -> None:
    head = ["--head"] if method == "HEAD" else ["-X", method]
    found = service.curl("--path-as-is", *head, f"http://{SERVER}:8081{path}")[0]
    assert found == status or (method == "POST" and path.startswith("/exchange") and found in (403, 404, 405))


def test_secrets_cross_the_wire_over_tls_only(service: Service) -> None:
    token, _ = installing(service)
    assert service.curl("-d", f"{token}\n\n{KEY}", f"http://{SERVER}:8081/exchange/ctl1")[0] in (403, 404, 405)
    assert service.deploy.accepted() == ""
    (service.root / "other.crt").write_text(boot_service.pki.ensure_authority(str(service.root / "x"), "services").pem)
    status, said = service.post("/exchange/ctl1", f"{token}\n\n{KEY}", ca="other.crt")
    assert (status, "certificate" in said) == (0, True)
    assert service.post(f"/answers/ctl1/{'x' * 10}.cfg", "")[0] == 404
    assert service.post("/exchange/ctl1", "x" * 20000)[0] == 413
    assert service.post("/exchange/ctl1", f"{token}\n\n{KEY}")[0] == 200


def test_nothing_secret_is_left_anywhere(service: Service) -> None:
    token, secret = installing(service)
    service.post("/progress/ctl1", f"{secret}\ndisks 10\n")
    service.post("/exchange/ctl1", f"{token}\n\nnonsense")
    service.post("/exchange/ctl1", f"{token}\n\n{KEY}")
    texts = [path.read_text(errors="replace") for path in service.root.rglob("*") if path.is_file()]
    assert len(texts) > 20
    assert "exchange" in (service.root / "access.log").read_text()
    assert not [text for text in texts if token in text or secret in text]


def test_who_may_open_which_socket(service: Service) -> None:
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (service.keeper, service.root / "app/socket")}
    assert [*modes.values()] == [0o660, 0o660]
    assert service.keeper.group() == "daemon"
    assert ((service.root / "app/socket").owner(), (service.root / "app/socket").group()) == ("daemon", "www-data")
    listening = run("ip", "netns", "exec", service.names[0], "ss", "-Hltn").stdout
    assert set(re.findall(r"(\S+:\d+) ", listening)) == {f"{SERVER}:8081", f"{SERVER}:8443"}
    owners = run("ps", "-o", "user=", "-g", str(service.processes["app"].pid)).stdout.split()
    assert set(owners) == {"daemon"}


@pytest.mark.parametrize("tool", ["curl", "wget"])
def test_the_script_of_a_new_host(service: Service, tool: str, tmp_path: Path) -> None:
    """The commands of the answers and the script, in the machine's network, into a directory as its new system."""
    if not boot_service.shutil.which(tool):
        pytest.skip(f"{tool} is not installed")
    service.deploy.armed()
    text = service.get(ANSWERS)[1]
    found = re.search(r"early_command string (umask .*?) && wget -q -O \S+ (\S+)", text)
    assert found
    place, target, tools = tmp_path / "saltern", tmp_path / "target", tmp_path / "bin"
    tools.mkdir()
    for each in ("cat", "chmod", "grep", "mkdir", "rm", "sh", "openssl", tool):
        (tools / each).symlink_to(str(boot_service.shutil.which(each)))
    # There is no system in the directory: the commands for it run beside it.
    (tools / "chroot").write_text(
        '#!/bin/sh\ncase $3 in -c) cd "$1/etc/salt/pki/minion" && sh -c "${4#*&& }" ;; esac\n'
    )
    (tools / "chroot").chmod(0o755)
    script = service.get("/hosts/ctl1/trust.sh")[1].replace("DIR=/tmp/saltern", f"DIR={place}")
    (tmp_path / "trust.sh").write_text(script)

    def machine(command: str) -> subprocess.CompletedProcess[str]:
        inside = ("ip", "netns", "exec", service.names[1], "/usr/bin/env", "-i", f"PATH={tools}", "/bin/sh", "-c")
        return run(*inside, command.replace("/tmp/saltern", str(place)), check=False)

    assert machine(found[1]).returncode == 0
    assert stat.S_IMODE((place / "token").stat().st_mode) == 0o600
    assert machine(f"sh {tmp_path}/trust.sh report disks 10 {tmp_path}/trust.sh").stderr == ""
    assert (service.deploy.record().step, service.deploy.record().percent) == ("disks", 10)
    done = machine(f"sh {tmp_path}/trust.sh exchange {target}")
    assert (done.returncode, done.stderr) == (0, "")
    pki = target / "etc/salt/pki/minion"
    assert service.deploy.accepted() == (pki / "minion.pub").read_text()
    assert (pki / "minion_master.pub").read_text() == service.deploy.keys.public()
    assert {each.name: stat.S_IMODE(each.stat().st_mode) for each in pki.iterdir()}["minion.pem"] == 0o600
    assert not (place / "token").exists()
    assert machine(f"sh {tmp_path}/trust.sh report installed 100").stderr == ""
    assert service.deploy.record().state == "installed"
    done = machine(f"sh {tmp_path}/trust.sh exchange {target}")
    assert (done.returncode, "the deploy host refused the token" in done.stderr) == (1, True)
    # Whatever becomes of a report, the installation goes on
    assert machine(f"sh {tmp_path}/trust.sh report disks 10").returncode == 0


CLIENTS, SIZE = 200, 4 << 20


def held(service: Service) -> int:
    """Bytes that all of nginx's processes hold of their own."""
    found = run("ps", "-o", "pid=", "-g", str(service.processes["nginx"].pid)).stdout.split()
    texts = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in found]
    return 1024 * sum(int(value) for text in texts for value in re.findall(r"Private_Dirty: +(\d+) kB", text))


def test_two_hundred_machines_at_once(service: Service) -> None:
    """All of them get the whole file, and nginx's memory does not grow with it."""
    kernel = service.root / "tree/boot/debian-13/linux"
    kernel.parent.mkdir(exist_ok=True)
    kernel.write_bytes(os.urandom(SIZE))
    one = service.curl("-o", "/dev/null", f"http://{SERVER}:8081/debian-13/linux")
    assert one[0] == 200
    before, most = held(service), 0
    urls = "".join(f"url = http://{SERVER}:8081/debian-13/linux\noutput = /dev/null\n" for _ in range(CLIENTS))
    command = ["ip", "netns", "exec", service.names[1], "curl", "-sS", "--no-keepalive", "--parallel",
               "--parallel-max", str(CLIENTS), "-w", "%{http_code} %{size_download}\n", "--config", "-"]  # fmt: skip
    began = time.monotonic()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as clients:
        assert clients.stdin
        assert clients.stdout
        clients.stdin.write(urls)
        clients.stdin.close()
        while clients.poll() is None:
            most = max(most, held(service))
            time.sleep(0.05)
        said = clients.stdout.read().splitlines()
    seconds = time.monotonic() - began
    assert said == [f"200 {SIZE}"] * CLIENTS
    assert most - before < SIZE, f"{most - before} bytes more"
    assert seconds < 60


def test_nginx_takes_its_configuration(service: Service) -> None:
    inside = ("ip", "netns", "exec", service.names[0], "nginx", "-q", "-t", "-c")
    good = run(*inside, f"{service.root}/nginx.conf", check=False)
    assert (good.returncode, good.stderr) == (0, "")
    bad = service.root / "bad.conf"
    bad.write_text((service.root / "nginx.conf").read_text().replace("sendfile", "sendfiel"))
    assert 'unknown directive "sendfiel"' in run(*inside, str(bad), check=False).stderr
    bad.unlink()


def test_uwsgi_takes_its_configuration(tmp_path: Path) -> None:
    text = files()[boot_service.UWSGI]
    for content, code in ((text, 0), (text.replace("threads =", "treads ="), 1)):
        (tmp_path / "boot.ini").write_text(content)
        done = run("uwsgi_python3", "--strict", "--ini", str(tmp_path / "boot.ini"), "--version", check=False)
        assert done.returncode == code


def test_the_keeper_answers_whatever_it_is_asked(service: Service) -> None:
    assert service.ask(ask="boots", mac=MACHINE[0], address=MACHINE[1]) == [200, ""]
    assert service.ask(ask="nonsense") == [400, "not a question\n"]
