"""The catalogue's files: their shape, their order, and what a role gets of a service."""

from pathlib import Path

import pytest
from saltern import catalogue, highdata
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
    for expected in (
        "one:rols", "did you mean 'controller'", "one:tier", "did you mean 'three'", "two:roles:compute:package:",
        "two:roles:compute:packages", "four:variants: 'live_migratoin'", "did you mean 'live_migration'",
        "four:variants:live_migratoin:tls:compute:unit",
    ):  # fmt: skip
        assert expected in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("roles: [controller]", "x:roles: ['controller']: accepted: a mapping"),
        ("roles: {compute: [a]}", "x:roles:compute: ['a']: accepted: a mapping"),
        ("common: word", "x:common: 'word': accepted: a mapping"),
        ("after: keystone", "x:after: 'keystone': accepted: a list"),
        ("variants: {live_migration: tls}", "x:variants:live_migration: 'tls': accepted: a mapping"),
        ("variants: {live_migration: {tls: {compte: {}}}}", "x:variants:live_migration:tls: 'compte': unknown"),
        ("common: {files: {/x: null}}", "x:common:files:/x: None: accepted: a mapping"),
        (
            "common: {files: {/x: {validat: [/bin/a, CANDIDATE]}}}",
            "x:common:files:/x:validat: None: unknown; did you mean",
        ),
        (
            "common: {files: {/x: {validate: /bin/a}}}",
            "x:common:files:/x:validate: '/bin/a': accepted: a list of words",
        ),
        ("common: {files: {/x: {validate: [/bin/a, 1, CANDIDATE]}}}", "x:common:files:/x:validate: ['/bin/a', 1,"),
        ("common: {files: {/x: {validate: [a, CANDIDATE]}}}", "a program's path first, CANDIDATE where"),
        ("common: {files: {/x: {validate: [/bin/a, -f]}}}", "x:common:files:/x:validate: ['/bin/a', '-f']: accepted:"),
        ("common: {files: {/x: {validate: [CANDIDATE]}}}", "x:common:files:/x:validate: ['CANDIDATE']: accepted:"),
        ("common: {files: {/x: {validate: []}}}", "x:common:files:/x:validate: []: accepted:"),
        ("common: {files: {/x: {validate: null}}}", "x:common:files:/x:validate: None: accepted:"),
        ("common: {packages: [{a: b}]}", "x:common:packages:0: {'a': 'b'}: accepted: a name"),
        ("common: {units: {a.service: [b]}}", "x:common:units:a.service: ['b']: accepted: a mapping"),
        ("common: {steps: [a]}", "x:common:steps:0: 'a': accepted: a mapping"),
        ("common: {steps: [{id: a, state: b.c}]}", "x:common:steps:0:phase: None: this key is required"),
        ("common: {steps: [{id: a, state: b.c, phase: netwrok}]}", "did you mean 'network'"),
        ("common: {steps: [{id: a, state: b.c, phase: wait, unless_role: contoller}]}", "did you mean 'controller'"),
        ("common: {steps: [{id: a, state: b.c, phase: wait, argumnets: {}}]}", "did you mean 'arguments'"),
    ],
)
def test_what_has_another_shape_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(Problems) as caught:
        catalogue.load(write(tmp_path, x=f"description: x\n{text}\n"))
    assert said in str(caught.value)
    assert len(caught.value.problems) == 1


def test_a_unit_of_which_there_is_nothing_to_say(tmp_path: Path) -> None:
    services = catalogue.load(write(tmp_path, x="common: {units: {a.service: null}}\nroles: {compute: null}\n"))
    assert services["x"].part(("compute",)) == {"units": {"a.service": None}}


@pytest.mark.parametrize("phase", catalogue.PHASES)
def test_a_step_of_every_phase_becomes_a_state(phase: str) -> None:
    step = {"id": "x: step", "phase": phase, "state": "wait.ready"}
    assert "x: step" in highdata.build({"host": "h", "services": {"x": {"tier": "service", "steps": [step]}}})


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
