"""The catalogue's files: their shape, their order, and what a role gets of a service."""

from pathlib import Path

import pytest
from saltern import catalogue
from saltern.errors import Problems

from tests.sample import real_catalogue


def write(directory: Path, **files: str) -> Path:
    for name, text in files.items():
        (directory / f"{name}.yaml").write_text(text)
    return directory


def test_the_real_catalogue_is_in_order() -> None:
    services = real_catalogue()
    seen: set[str] = set()
    for name, service in services.items():
        assert set(service.after) <= seen, name
        seen.add(name)


def test_every_mistake_of_every_file_is_reported_at_once(tmp_path: Path) -> None:
    write(
        tmp_path,
        one="description: x\nrols: {}\nroles: {contoller: {}}\ntier: lowest\nafter: [two, thre]\n",
        two="roles: {compute: {package: [], packages: nova}}\n",
        three="roles: {}\n",
        four="roles: {}\nvariants: {live_migratoin: {tls: {compute: {unit: {}}}}}\n",
    )
    with pytest.raises(Problems) as caught:
        catalogue.load(tmp_path)
    text = str(caught.value)
    for expected in ("one:rols", "did you mean 'controller'", "one:tier", "did you mean 'three'", "two:compute:package",
                     "two:compute:packages", "four:variants: 'live_migratoin'", "did you mean 'live_migration'",
                     "four:variants:live_migratoin:tls:compute:unit"):  # fmt: skip
        assert expected in text


def test_a_circle_is_refused(tmp_path: Path) -> None:
    write(tmp_path, one="after: [two]\nroles: {}\n", two="after: [one]\nroles: {}\n")
    with pytest.raises(Problems, match="without a circle"):
        catalogue.load(tmp_path)


def test_a_host_with_two_roles_gets_both_parts_once() -> None:
    service = catalogue.Service(
        "x",
        "",
        common={"packages": ["a"], "files": {"/f": {"settings": {"s": {"o": 1}}}}},
        roles={
            "controller": {"packages": ["b"], "files": {"/f": {"settings": {"s": {"p": 2}}}}},
            "compute": {"packages": ["b", "c"], "files": {"/f": {"settings": {"s": {"o": 3}}}}},
        },
    )
    part = service.part(("compute", "controller"))
    assert part == {"packages": ["a", "b", "c"], "files": {"/f": {"settings": {"s": {"o": 3, "p": 2}}}}}
    assert service.part(("deploy",)) is None


def test_paths_hold_the_files_of_apis_too() -> None:
    paths = real_catalogue()["horizon"].paths() | real_catalogue()["keystone"].paths()
    assert {"/etc/saltern/uwsgi/horizon.ini", "/etc/systemd/system/keystone.service.d/saltern.conf"} <= paths
    assert "/etc/systemd/system/saltern-horizon.service.d/saltern.conf" not in paths
