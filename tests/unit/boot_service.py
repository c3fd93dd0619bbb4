"""The boot service as on a deploy host: nginx, uWSGI and the keeper, in a network of their own with two machines.

The configurations are the rendered ones; only their paths and the users' names are this test's.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from saltern import pki, render
from saltern.resolve import resolve

from tests.sample import ROOT, Recognisable, real_catalogue
from tests.unit.boot_samples import simple, sources
from tests.unit.trust_samples import MACHINE, OTHER, Deploy

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
PROGRAMS = ("nginx", "uwsgi_python3", "ip", "setpriv")
RUNNABLE = os.getuid() == 0 and all(shutil.which(each, path=PATH) for each in PROGRAMS)
SERVER = "10.0.0.2"
NGINX, UWSGI = "/etc/nginx/nginx.conf", "/etc/saltern/uwsgi/boot.ini"


def files() -> dict[str, str]:
    """The files of the deploy host's boot service, as they are rendered."""
    plan = resolve(sources(simple()).site, real_catalogue(), Recognisable(), "deploy")
    return {path: render.render(each.kind, each.settings) for path, each in plan.services["boot"].files.items()}


def run(*command: str, check: bool = True, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, check=check, capture_output=True, text=True, timeout=60, input=text, env={"PATH": PATH}
    )


class Service:
    """The three processes, and machines that ask them."""

    def __init__(self) -> None:
        """Make the networks and the files; nothing runs yet."""
        self.root = Path(tempfile.mkdtemp(prefix="saltern-boot-"))
        self.root.chmod(0o755)
        self.names = [f"saltern-{os.getpid()}-{each}" for each in ("deploy", "machine", "other")]
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.deploy = Deploy(self.root)
        self.keeper = self.root / "keeper"
        try:
            self._wire()
            self._write()
        except BaseException:
            self.close()
            raise

    def _wire(self) -> None:
        for name in self.names:
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        home = self.names[0]
        run("ip", "-n", home, "link", "add", "br0", "type", "bridge")
        run("ip", "-n", home, "address", "add", f"{SERVER}/24", "dev", "br0")
        for number, (name, (mac, address)) in enumerate(zip(self.names[1:], (MACHINE, OTHER), strict=True)):
            run("ip", "-n", home, "link", "add", f"v{number}", "type", "veth", "peer", "eth0", "netns", name)
            run("ip", "-n", home, "link", "set", f"v{number}", "master", "br0", "up")
            run("ip", "-n", name, "link", "set", "eth0", "address", mac, "up")
            run("ip", "-n", name, "address", "add", f"{address}/24", "dev", "eth0")
        run("ip", "-n", home, "link", "set", "br0", "up")

    def _write(self) -> None:
        authority = pki.read_authority(str(self.root / "authorities"), "services")
        subject = pki.Subject("deploy.small.example", (SERVER,))
        (self.root / "boot.key").write_text(key := pki.new_key())
        (self.root / "boot.crt").write_text(pki.sign(authority, pki.request(key, subject), subject))
        (self.root / "app").mkdir()
        shutil.chown(self.root / "app", "daemon", "www-data")
        places = {
            "/run/saltern-boot/": f"{self.root}/app/", "/run/saltern-keeper/socket": str(self.keeper),
            "/srv/saltern-boot/boot": f"{self.root}/tree/boot", "/etc/saltern/pki/": f"{self.root}/",
            "/srv/saltern/modules": str(ROOT / "modules"), "/var/log/nginx/": f"{self.root}/",
            "/run/nginx.pid": f"{self.root}/nginx.pid", "saltern-boot:": "daemon:",
        }  # fmt: skip
        for path, text in files().items():
            for old, new in places.items():
                text = text.replace(old, new)
            (self.root / Path(path).name).write_text(text)

    def start(self, *names: str) -> None:
        """Start processes, the keeper first; return when the service answers."""
        inside = ("ip", "netns", "exec", self.names[0])
        keeper = [sys.executable, "-P", "-m", "saltern.keeper", "--group", "daemon", f"--socket={self.keeper}",
                  f"--hosts={self.root}/hosts", f"--tree={self.root}/tree", f"--authority={self.root}/ca.crt",
                  f"--keys={self.root}/master", f"--salt={self.root}"]  # fmt: skip
        daemon = ("setpriv", "--reuid=daemon", "--regid=daemon", "--groups=www-data")
        commands = {
            "keeper": keeper,
            "app": [*daemon, "uwsgi_python3", "--ini", f"{self.root}/boot.ini"],
            "nginx": ["nginx", "-g", "daemon off;", "-c", f"{self.root}/nginx.conf"],
        }
        variables = {"PATH": PATH, "PYTHONPATH": str(ROOT / "modules/_utils")}
        for name in names or commands:
            log = (self.root / f"{name}.log").open("ab")
            self.processes[name] = subprocess.Popen(
                [*inside, *commands[name]], env=variables, stdout=log, stderr=log, start_new_session=True
            )
        self._wait()

    def _wait(self) -> None:
        end = time.monotonic() + 30
        whole = {"keeper", "app", "nginx"} <= {*self.processes}
        while (whole and self.get("/nodes/52-54-00-00-00-99.ipxe")[0] != 404) or not self._kept():
            assert time.monotonic() < end, "\n".join(each.read_text() for each in self.root.glob("*.log"))
            time.sleep(0.1)

    def _kept(self) -> bool:
        """Whether the keeper answers, where one was started."""
        return "keeper" not in self.processes or self.ask(ask="boots", mac="", address="")[0] == 200

    def stop(self, name: str, how: int = signal.SIGKILL) -> None:
        """End a process and those that it has started."""
        process = self.processes.pop(name)
        os.killpg(process.pid, how)
        process.wait(30)

    def close(self) -> None:
        """Leave nothing behind."""
        for name in [*self.processes]:
            self.stop(name)
        for name in self.names:
            run("ip", "netns", "delete", name, check=False)
        shutil.rmtree(self.root)

    def curl(self, *words: str, other: bool = False, text: str = "") -> tuple[int, str]:
        """Ask from one of the machines; return the status (0: none) and the body."""
        inside = ("ip", "netns", "exec", self.names[1 + other])
        done = run(*inside, "curl", "-sS", "-m", "30", "-w", "\n%{http_code}", *words, check=False, text=text)
        body, _, status = done.stdout.rpartition("\n")
        return int(status or 0), body if status != "000" else done.stderr

    def get(self, path: str, other: bool = False) -> tuple[int, str]:
        """Fetch a file or a decision without trust."""
        return self.curl(f"http://{SERVER}:8081{path}", other=other)

    def post(self, path: str, body: str, other: bool = False, ca: str = "ca.crt") -> tuple[int, str]:
        """Say something over TLS, to a server whose certificate that authority has signed."""
        trusting = ("--cacert", str(self.root / ca), "--data-binary", "@-")
        return self.curl(*trusting, f"https://{SERVER}:8443{path}", other=other, text=body)

    def ask(self, **question: Any) -> Any:
        """Ask the keeper itself."""
        code = "import json,sys; from saltern import bootapp; print(json.dumps(bootapp.asked(json.load(sys.stdin))))"
        variables = {"PATH": PATH, "PYTHONPATH": str(ROOT / "modules/_utils"), "SALTERN_KEEPER": str(self.keeper)}
        done = subprocess.run(
            [sys.executable, "-c", code], input=json.dumps(question), env=variables, capture_output=True, check=True,
            text=True,
        )  # fmt: skip
        return json.loads(done.stdout)
