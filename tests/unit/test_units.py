"""Units: what is to be done with them, from what systemd and the files say."""

import pytest
from saltern.errors import SalternError
from saltern.units import FILE_CLOCK_SLACK, Unit, Wish, banishment, coming, own_files, parse_show, plan, unready

START = 1_000_000_000
LATER, EARLIER = START + 1_000_000, START - 1_000_000


def unit(name="a.service", **more):
    facts = {
        "load": "loaded",
        "active": "active",
        "sub": "running",
        "enabled": "enabled",
        "needs_reload": False,
        "files": ("/usr/lib/systemd/system/a.service",),
        "restarts": 0,
        "result": "success",
        "busy": False,
        "started": START,
        "changed": START,
    }
    return Unit(name=name, **{**facts, **more})


def planned(times=None, wish=None, **facts):
    wish = wish or Wish("a.service", reads=("/etc/a.conf",))
    return plan([wish], {"a.service": unit(**facts)}, times or {})


NOTHING = plan([], {}, {})
CASES = {
    "runs with what it read": ({"/etc/a.conf": EARLIER}, {}, {}),
    "a file that is not there": ({}, {}, {}),
    "a changed file": ({"/etc/a.conf": LATER}, {}, {"a.service": "restarted (a.conf changed)"}),
    "a file within the slack of its clock": (
        {"/etc/a.conf": START - FILE_CLOCK_SLACK // 2},
        {},
        {"a.service": "restarted (a.conf changed)"},
    ),
    "a changed unit file": (
        {"/usr/lib/systemd/system/a.service": LATER},
        {},
        {"a.service": "restarted (a.service changed)"},
    ),
    "a changed drop-in": (
        {"/etc/systemd/system/a.service.d": LATER, "/etc/a.conf": LATER},
        {},
        {"a.service": "restarted (a.service.d, a.conf changed)"},
    ),
    "stopped": ({}, {"active": "inactive", "sub": "dead"}, {"a.service": "started"}),
    "failed": ({}, {"active": "failed", "sub": "failed"}, {"a.service": "started (was failed)"}),
    "crash loop": ({}, {"active": "activating", "sub": "auto-restart"}, {"a.service": "started (was auto-restart)"}),
    "disabled": ({}, {"enabled": "disabled"}, {"a.service": "enabled"}),
    "static": ({}, {"enabled": "static"}, {}),
    "reloading is running": ({}, {"active": "reloading"}, {}),
    "masked": (
        {},
        {"load": "masked", "enabled": "masked", "active": "inactive", "sub": "dead"},
        {"a.service": "enabled, started"},
    ),
}


COMING = {
    "waits for its turn, whatever has changed": ({"/etc/a.conf": LATER}, {"active": "inactive", "busy": True}, True),
    "is being started": ({"/etc/a.conf": EARLIER}, {"active": "activating", "busy": True}, True),
    "is being started with an old file": ({"/etc/a.conf": LATER}, {"active": "activating", "busy": True}, False),
    "is being started from an old unit file": (
        {"/etc/systemd/system/a.service.d": LATER},
        {"active": "activating", "busy": True},
        False,
    ),
    "is down": ({}, {"active": "inactive"}, False),
    "dies again and again": ({}, {"active": "activating", "sub": "auto-restart"}, False),
    "runs": ({}, {"busy": True}, False),
    "is being stopped": ({}, {"active": "deactivating", "busy": True}, False),
}


@pytest.mark.parametrize("name", COMING)
def test_what_comes_by_itself(name):
    times, facts, expected = COMING[name]
    wish = Wish("a.service", reads=("/etc/a.conf",))
    assert coming([wish], {"a.service": unit(**facts)}, times) == (["a.service"] if expected else [])


@pytest.mark.parametrize("name", CASES)
def test_changes(name):
    times, facts, changes = CASES[name]
    assert planned(times, **facts).changes == changes


def test_the_verbs_of_a_plan():
    masked = planned(load="masked", enabled="masked", active="inactive", sub="dead")
    assert (masked.unmask, masked.enable, masked.restart) == (("a.service",), ("a.service",), ("a.service",))
    assert planned(active="failed", sub="failed").reset == ("a.service",)
    assert planned(load="not-found").missing == ("a.service",)
    assert planned(load="not-found").changes == {}
    assert planned() == NOTHING.__class__(reasons={})


def test_a_unit_that_is_not_to_start_at_boot_is_not_enabled():
    assert planned(wish=Wish("a.service", enable=False), enabled="disabled").enable == ()


def test_reload():
    wish = Wish("a.service", reads=("/etc/a.conf",), reload=True)
    changed = planned({"/etc/a.conf": LATER}, wish)
    assert (changed.reload, changed.restart) == (("a.service",), ())
    assert changed.changes == {"a.service": "reloaded (a.conf changed)"}
    # the last reload counts for what is read, the start of the process for the unit itself
    assert planned({"/etc/a.conf": LATER}, wish, changed=LATER + FILE_CLOCK_SLACK + 1).changes == {}
    definition = {"/usr/lib/systemd/system/a.service": LATER}
    assert planned(definition, wish, changed=LATER + 10**9).restart == ("a.service",)


def test_a_socket_that_starts_takes_its_running_service_along():
    wishes = [Wish("a.service", reload=True), Wish("a-tls.socket"), Wish("b.socket")]
    down = {"active": "inactive", "sub": "dead", "triggers": ("a.service", "other.service")}
    units = {"a.service": unit(), "a-tls.socket": unit("a-tls.socket", **down), "b.socket": unit("b.socket")}
    assert plan(wishes, units, {}).changes == {
        "a.service": "restarted (a-tls.socket starts)",
        "a-tls.socket": "started",
    }
    assert plan(wishes, units, {}).stop == ("a.service",)
    assert plan(wishes, units, {}).restart == ("a-tls.socket", "a.service")
    units["a.service"] = unit(active="inactive")
    assert plan(wishes, units, {}).changes == {"a.service": "started", "a-tls.socket": "started"}


def test_the_other_sockets_of_the_service_stop_too_or_they_would_start_it_again():
    wishes = [Wish("a.service"), Wish("a-tls.socket"), Wish("a.socket"), Wish("a-ro.socket")]
    down = {"active": "inactive", "sub": "dead"}
    units = {
        "a.service": unit(),
        "a-tls.socket": unit("a-tls.socket", triggers=("a.service",), **down),
        "a.socket": unit("a.socket", triggers=("a.service",)),
        "a-ro.socket": unit("a-ro.socket", triggers=("a.service",), **down),
    }
    found = plan(wishes, units, {})
    assert set(found.stop) == {"a.service", "a.socket"}
    assert set(found.restart[:3]) == {"a-tls.socket", "a.socket", "a-ro.socket"}
    assert found.restart[3] == "a.service"
    assert found.changes["a.socket"] == "restarted (a-tls.socket starts)"


def test_wishes_from_data():
    probe = {"kind": "tcp"}
    data = {"reads": ["/x"], "writes": ["/y"], "probe": probe, "enable": False, "reload": True}
    assert Wish.from_data("a", data) == Wish("a", ("/x",), ("/y",), False, probe, True)
    assert Wish.from_data("a", None) == Wish("a")


SHOWN = """\
Id=a.service
LoadState=loaded
ActiveState=active
SubState=running
UnitFileState=enabled
NeedDaemonReload=yes
FragmentPath=/usr/lib/systemd/system/a.service
DropInPaths=/etc/systemd/system/a.service.d/x.conf /run/systemd/generator/a.service.d/y.conf
NRestarts=2
Result=success
Job=17
ExecMainStartTimestampMonotonic=500
InactiveExitTimestampMonotonic=400
StateChangeTimestampMonotonic=600

Id=b.target
LoadState=not-found
ActiveState=inactive
SubState=dead
UnitFileState=
NeedDaemonReload=no
FragmentPath=
DropInPaths=
ExecMainStartTimestampMonotonic=0
InactiveExitTimestampMonotonic=0
"""


def test_what_systemctl_shows():
    units = parse_show(SHOWN, ["alias.service", "b.target"], boot=1000)
    first, second = units["alias.service"], units["b.target"]
    assert first.files == ("/usr/lib/systemd/system/a.service", "/etc/systemd/system/a.service.d/x.conf")
    assert (first.started, first.changed, first.restarts) == (1400, 1600, 2)
    assert (first.busy, first.needs_reload, first.runs, first.stuck) == (True, True, True, False)
    assert own_files(first)[-1] == "/etc/systemd/system/alias.service.d"
    assert (second.started, second.changed, second.files, second.busy, second.restarts) == (0, 0, (), False, 0)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({}, None),
        ({"busy": True}, "job is still running"),
        ({"active": "failed", "sub": "failed", "result": "exit-code"}, "failed (failed), result exit-code"),
        ({"active": "activating", "sub": "start", "result": ""}, "result unknown"),
        ({"changed": START + 9_500_000}, "only just started"),
        ({"changed": START + 8_000_000, "restarts": 2}, "died 2 times"),
        ({"changed": START + 6_000_000, "restarts": 2}, None),
        ({"changed": START + 9_500_000, "sub": "exited"}, None),
    ],
)
def test_why_a_unit_is_not_ready(facts, words):
    reason = unready(unit(**facts), START + 10_000_000, 1_000_000, 0)
    assert reason is None if words is None else words in reason


def test_units_that_must_not_run():
    units = {
        "gone.service": unit(load="not-found", active="inactive", enabled="", files=()),
        "runs.service": unit(),
        "fell.service": unit(active="failed", enabled="disabled"),
        "done.service": unit(load="masked", active="inactive", enabled="masked"),
        "ours.service": unit(files=("/etc/systemd/system/ours.service",)),
    }
    assert banishment(units).changes == {
        "runs.service": "stopped, disabled, masked",
        "ours.service": "stopped, disabled",
        "gone.service": "masked",
        "fell.service": "masked, reset",
    }


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"read": []}, "unit a.service: read: unknown; did you mean 'reads'"),
        ({"probe": {"kind": "tls", "when": "chnged"}}, "unit a.service: probe: when: 'chnged': accepted: changed"),
    ],
)
def test_a_misspelt_wish_is_refused(data, words):
    with pytest.raises(SalternError, match=words):
        Wish.from_data("a.service", data)
