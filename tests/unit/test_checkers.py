"""The checkers that the catalogue names: each takes what the sample site renders, and refuses one wrong word in it.

Those are tried that are installed on this machine; the integration tests meet all of them on the nodes.
"""

import os
import shutil
from dataclasses import replace
from functools import cache

import pytest
from saltern import pki
from saltern.managed_file import ManagedFile

from tests.sample import golden_sites, plan

HOUSE = "/etc/saltern/pki"
DEFINITIONS = "/etc/rabbitmq/definitions.json"
SLIPS = {
    "/etc/chrony/chrony.conf": ("makestep", "maekstep"),
    "/etc/haproxy/haproxy.cfg": ("timeout client", "timeout clinet"),
    "/etc/libvirt/libvirtd.conf": ("auth_unix_rw", "auth_unix_wr"),
    "/etc/libvirt/qemu.conf": ("vnc_tls_x509_verify", "vnc_tls_x509_verfiy"),
    "/etc/mysql/mariadb.conf.d/90-saltern.cnf": ("max_connections", "max_connectoins"),
    "/etc/nftables.conf": ("dport", "dprot"),
    "/etc/nginx/nginx.conf": ("sendfile", "sendfiel"),
    "/etc/rabbitmq/rabbitmq.conf": ("cluster_partition_handling", "cluster_partition_handlnig"),
    "/etc/saltern/nova-ssh/sshd_config": ("AllowUsers", "AlowUsers"),
    "/var/lib/nova/.ssh/config": ("IdentityFile", "IdentitiFile"),
    "/etc/saltern/uwsgi": ("thunder-lock", "thunderlock"),
    "/etc/saltern/uwsgi/boot.ini": ("disable-logging", "disablelogging"),
}
"""Of each file (of a directory: of all in it) a word, and how somebody may write it."""


@cache
def files() -> dict[str, ManagedFile]:
    """Return every file with a checker, of all roles and choices."""
    return {
        f"{name}:{path}": file
        for name, (host, data) in golden_sites().items()
        for service in plan(host, data).services.values()
        for path, entry in service.files.items()
        if (file := ManagedFile.from_plan(path, entry.as_data())).checker
    }


def slip(file: ManagedFile) -> tuple[str, str]:
    """Return a word of a file and a wrong one."""
    return SLIPS.get(file.path) or SLIPS[os.path.dirname(file.path)]


def test_each_file_with_a_checker_is_in_the_table() -> None:
    known = {file.path if file.path in SLIPS else os.path.dirname(file.path) for file in files().values()}
    assert known == set(SLIPS)
    assert all(slip(file)[0] in file.text for file in files().values())
    assert {file.checker[0][:1] for file in files().values()} == {"/"}


def test_every_configuration_of_uwsgi_has_one() -> None:
    everywhere = {path for host, data in golden_sites().values() for each in plan(host, data).services.values()
                  for path in each.files if path.startswith("/etc/saltern/uwsgi/")}  # fmt: skip
    assert len(everywhere) == 8
    assert everywhere <= {file.path for file in files().values()}


@pytest.fixture
def here(tmp_path):
    """Return a file as it is, with what it names of others in a directory of the test's."""
    authority = pki.ensure_authority(str(tmp_path / "authority"), "services")
    key, subject = pki.new_key(), pki.Subject("ctl1", ("ctl1",))
    bundle = pki.sign(authority, pki.request(key, subject), subject) + key
    for name in ("api.pem", "boot.crt", "boot.key", "rabbitmq.crt", "rabbitmq.key", "services-ca.crt"):
        (tmp_path / name).write_text(bundle)
    (tmp_path / "definitions.json").write_text("{}")

    def moved(file: ManagedFile) -> ManagedFile:
        text = file.text.replace(HOUSE, str(tmp_path)).replace(DEFINITIONS, str(tmp_path / "definitions.json"))
        # nginx tries the address, too
        text = text.replace("listen 10.20.0.5:", "listen 127.0.0.1:")
        return replace(file, path=str(tmp_path / os.path.basename(file.path)), text=text)

    return moved


INSTALLED = [name for name, file in files().items() if os.getuid() == 0 and shutil.which(file.checker[0])]


@pytest.mark.parametrize("name", INSTALLED)
def test_it_takes_what_we_render_and_refuses_a_slip(name, here) -> None:
    file = here(files()[name])
    assert file.tried({}) == ([], "")
    right, wrong = slip(files()[name])
    refused, unchecked = replace(file, text=file.text.replace(right, wrong, 1)).tried({})
    assert unchecked == ""
    assert len(refused) == 1
    assert wrong.split()[-1].lower() in refused[0].lower()
    assert file.path in refused[0]
