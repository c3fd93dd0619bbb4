"""Units brought up on a service manager that is simulated; the real one is used on the lab's nodes."""

import os
import time
from dataclasses import replace

import pytest
from saltern import systemd, unit_control
from saltern.errors import SalternError
from saltern.units import Unit, Wish


def now():
    return time.time_ns() // 1000


class Manager:
    """Behaves as systemctl does for a few units: what starts runs, unless it is told to fail."""

    def __init__(self, *units, dies=(), refuses=()):
        self.units = {unit.name: unit for unit in units}
        self.calls, self.dies, self.refuses, self.hidden = [], dies, refuses, {}

    def show(self, names):
        self.calls.append("show")
        return {name: self.units[name] for name in names}

    def do(self, verb, names=(), timeout=60):
        self.attempt(verb, names, timeout)

    def attempt(self, verb, names, timeout):
        if not names and verb != "daemon-reload":
            return ""
        self.calls.append(" ".join([verb, *names]))
        if verb in self.refuses:
            return f"{verb} is refused"
        for name in names:
            self.units[name] = replace(self.units[name], **self._after(verb, name))
        if verb == "daemon-reload":
            self.units = {name: replace(unit, needs_reload=False) for name, unit in self.units.items()}
        return ""

    def _after(self, verb, name):
        if verb == "restart" and name in self.dies:
            return {"active": "failed", "sub": "failed", "result": "exit-code"}
        # the unit is old enough to count as settled
        running = {"active": "active", "sub": "running", "started": now(), "changed": now() - 5_000_000}
        return {
            "restart": running,
            "reload": {"changed": now()},
            "enable": {"enabled": "enabled"},
            "disable": {"enabled": "disabled"},
            "mask": {"load": "masked", "enabled": "masked"},
            "unmask": {"load": "loaded", "enabled": "disabled", "triggers": self.hidden.get(name, ())},
            "stop": {"active": "inactive", "sub": "dead"},
            "reset-failed": {"active": "inactive", "sub": "dead"},
        }[verb]


def unit(name="a.service", **more):
    start = now() - 60_000_000
    facts = {"load": "loaded", "active": "active", "sub": "running", "enabled": "enabled", "needs_reload": False}
    facts |= {"files": (), "restarts": 0, "result": "success", "busy": False, "started": start, "changed": start}
    return Unit(name=name, **{**facts, **more})


@pytest.fixture
def converge(monkeypatch):
    """Run against a simulated manager; returns its calls and the report."""

    def run(manager, *wishes, test=False, timeout=5, secrets=None, foreseen=()):
        monkeypatch.setattr(systemd, "Systemctl", lambda: manager)
        report = unit_control.converge(wishes, secrets or {}, timeout, test, foreseen)
        return manager.calls, report

    return run


def test_nothing_to_do_costs_one_call(converge):
    calls, report = converge(Manager(unit()), Wish("a.service"))
    assert calls == ["show"]
    assert (report.changes, report.troubles) == ({}, {})


class Leaving(Manager):
    """Has a unit of which systemd loses sight with a reload: the next start meets its old process and ends with it."""

    def _after(self, verb, name):
        lost = self.calls.count("restart b.service") < 2
        if verb == "enable":
            self.units["b.service"] = replace(self.units["b.service"], active="inactive", sub="dead")
        if (verb, name, lost) == ("restart", "b.service", True):
            return {"active": "inactive", "sub": "dead"}
        return super()._after(verb, name)


def test_what_systemd_lost_sight_of_is_started_until_it_stays(converge):
    manager = Leaving(unit("a.service", enabled="disabled"), unit("b.service"))
    calls, report = converge(manager, Wish("a.service"), Wish("b.service"))
    assert calls.count("restart b.service") == 2
    assert (report.changes, report.troubles) == ({"a.service": "enabled"}, {})
    assert manager.units["b.service"].active == "active"


def test_what_never_stays_is_not_started_for_ever(converge):
    class Gone(Leaving):
        def _after(self, verb, name):
            return {"active": "inactive", "sub": "dead"} if name == "b.service" else super()._after(verb, name)

    calls, report = converge(Gone(unit("a.service", enabled="disabled"), unit("b.service")), Wish("a.service"),
                             Wish("b.service"), timeout=0.5)  # fmt: skip
    assert calls.count("restart b.service") == 2
    assert "it is inactive" in report.troubles["b.service"]


class Booting(Manager):
    """Brings a unit up by itself, so many looks later."""

    looks = 3

    def show(self, names):
        self.looks -= 1
        if self.looks == 0:
            self.units["a.service"] = unit("a.service")
        return super().show(names)


@pytest.mark.parametrize("test", [False, True])
def test_what_a_boot_is_bringing_up_is_left_to_it(converge, test):
    calls, report = converge(Booting(unit(active="activating", sub="start", busy=True)), Wish("a.service"), test=test)
    assert calls == ["show"] * 3
    assert (report.changes, report.troubles) == ({}, {})


def test_what_never_comes_up_by_itself_is_started(converge, monkeypatch):
    monkeypatch.setattr(unit_control, "BOOTING", 0.1)
    calls, report = converge(Manager(unit(active="inactive", sub="dead", busy=True)), Wish("a.service"), timeout=0.1)
    assert calls[:3] == ["show", "show", "restart a.service"]
    assert report.changes == {"a.service": "started"}


def test_all_that_is_needed_in_one_call_each(converge):
    down = {"active": "inactive", "sub": "dead", "enabled": "disabled"}
    manager = Manager(unit("a.service", **down), unit("b.service", **down, needs_reload=True), unit("c.service"))
    calls, report = converge(manager, *(Wish(f"{letter}.service") for letter in "abc"))
    assert calls == [
        "show",
        "daemon-reload",
        "show",
        "enable a.service b.service",
        "restart a.service b.service",
        "show",
    ]
    assert report.changes == {"a.service": "enabled, started", "b.service": "enabled, started"}
    assert report.troubles == {}


def test_a_dry_run_counts_files_that_would_be_written(converge):
    wishes = Wish("a.service", reads=("/etc/a.conf",)), Wish("b.service", reads=("/etc/b.conf",)), Wish("c.service")
    manager = Manager(*(unit(f"{letter}.service") for letter in "abc"))
    foreseen = {"/etc/a.conf", "/etc/systemd/system/c.service.d/saltern.conf"}
    told = {"a.service": "restarted (a.conf changed)", "c.service": "restarted (c.service.d changed)"}
    assert converge(manager, *wishes, test=True, foreseen=foreseen)[1].changes == told
    # what is written is known by its time; what another dry run foresaw is no concern of a real run
    assert converge(Manager(*(unit(f"{n}.service") for n in "abc")), *wishes, foreseen=foreseen)[1].changes == {}


def test_a_dry_run_only_asks(converge):
    manager = Manager(
        unit(active="inactive", needs_reload=True), unit("gone.service", load="not-found"), unit("b.service")
    )
    probe = {"kind": "socket", "path": "/nonexistent"}
    calls, report = converge(
        manager, Wish("a.service"), Wish("gone.service"), Wish("b.service", probe=probe), test=True
    )
    assert calls == ["show"]
    assert report.changes == {"a.service": "started", "gone.service": "started (not installed yet)"}
    assert "nobody listens" in report.troubles["b.service"]


def test_a_unit_that_does_not_exist_is_named_and_nothing_is_done(converge):
    calls, report = converge(Manager(unit(load="not-found"), unit("b.service", active="inactive")), Wish("a.service"))
    assert calls == ["show"]
    assert "is its package installed" in report.troubles["a.service"]


def test_a_failed_unit_is_reset_and_a_failure_tells_its_log(converge, monkeypatch):
    monkeypatch.setattr(systemd, "journal", lambda unit: "cannot log in as hunter2")
    manager = Manager(unit(active="failed", sub="failed"), dies=("a.service",))
    calls, report = converge(manager, Wish("a.service"), secrets={"pw": "hunter2"})
    assert calls[1:3] == ["reset-failed a.service", "restart a.service"]
    assert report.troubles["a.service"].startswith("it is failed (failed), result exit-code")
    assert "cannot log in as <secret>" in report.troubles["a.service"]
    assert report.changes == {"a.service": "started (was failed)"}


def test_a_probe_that_is_never_content_fails_in_time(converge):
    probe = {"kind": "socket", "path": "/nonexistent"}
    _, report = converge(Manager(unit()), Wish("a.service", probe=probe), timeout=0.3)
    assert "nobody listens" in report.troubles["a.service"]


def test_a_unit_that_has_just_started_must_stay_up(converge, monkeypatch):
    manager = Manager(unit(active="inactive", sub="dead"))
    monkeypatch.setattr(unit_control, "SETTLE", 5_400_000)  # the simulated start lies 5 seconds back
    calls, report = converge(manager, Wish("a.service"))
    assert report.troubles == {}
    assert calls.count("show") > 2


def test_a_reload_that_is_refused_is_trouble(converge, tmp_path):
    path = tmp_path / "a.conf"
    path.write_text("")
    wish = Wish("a.service", reads=(str(path),), reload=True)
    calls, report = converge(Manager(unit(), refuses=("reload",)), wish)
    assert "reload a.service" in calls
    assert report.troubles == {"a.service": "reload is refused"}
    assert converge(Manager(unit()), wish)[1].troubles == {}


def test_a_probe_for_changes_is_asked_only_when_the_unit_was_touched(converge, tmp_path):
    probe = {"kind": "socket", "path": str(tmp_path / "none"), "when": "changed"}
    wish = Wish("a.service", probe=probe)
    down = {"active": "inactive", "sub": "dead"}
    assert converge(Manager(unit()), wish)[1].troubles == {}
    assert converge(Manager(unit()), wish, test=True)[1].troubles == {}
    assert "nobody listens" in converge(Manager(unit(**down)), wish, timeout=0)[1].troubles["a.service"]
    assert converge(Manager(unit()), Wish("a.service", probe={**probe, "when": None}), timeout=0)[1].troubles


def test_what_a_masked_socket_triggers_is_known_once_it_is_unmasked(converge):
    down = {"active": "inactive", "sub": "dead"}
    manager = Manager(unit(), unit("a-tcp.socket", load="masked", enabled="masked", **down))
    manager.hidden = {"a-tcp.socket": ("a.service",)}
    calls, report = converge(manager, Wish("a.service"), Wish("a-tcp.socket"))
    assert calls[:2] == ["show", "unmask a-tcp.socket"]
    assert calls.index("stop a.service") < calls.index("restart a-tcp.socket a.service")
    assert report.changes == {"a.service": "restarted (a-tcp.socket starts)", "a-tcp.socket": "enabled, started"}
    assert report.troubles == {}


def test_units_that_must_not_run(monkeypatch):
    manager = Manager(
        unit(), unit("b.service", active="failed", enabled="disabled"), unit("c.service", load="not-found")
    )
    manager.units["c.service"] = unit("c.service", load="masked", enabled="masked", active="inactive")
    monkeypatch.setattr(systemd, "Systemctl", lambda: manager)
    names = list(manager.units)
    assert unit_control.stop(names, test=True).changes["a.service"] == "stopped, disabled, masked"
    assert manager.calls == ["show"]
    report = unit_control.stop(names, test=False)
    assert report.changes == {"a.service": "stopped, disabled, masked", "b.service": "masked, reset"}
    assert report.troubles == {}
    assert unit_control.stop(names, test=False).changes == {}


def test_a_unit_that_does_not_stop_is_trouble(monkeypatch):
    manager = Manager(unit(), refuses=("stop",))
    monkeypatch.setattr(systemd, "Systemctl", lambda: manager)
    assert unit_control.stop(["a.service"], test=False).troubles == {"a.service": "still to be stopped"}


class TestFiles:
    def test_a_directory_counts_with_all_that_is_in_it(self, tmp_path):
        (tmp_path / "sub").mkdir()
        deep = tmp_path / "sub" / "file"
        deep.write_text("")
        os.utime(deep, (5_000_000_000, 5_000_000_000))
        found = systemd.times([str(tmp_path), str(tmp_path / "gone")])
        assert found == {str(tmp_path): 5_000_000_000_000_000}

    def test_the_inode_s_time_counts_for_files_of_packages(self, tmp_path):
        path = tmp_path / "a.service"
        path.write_text("")
        os.utime(path, (1, 1))
        assert systemd.times([str(path)])[str(path)] == 1_000_000
        assert systemd.times([str(path)], ctime=True)[str(path)] > 1_000_000

    def test_times_ahead_of_the_clock_are_forgotten(self, tmp_path):
        future, past = tmp_path / "future", tmp_path / "past"
        for path, stamp in ((future, time.time() + 3600), (past, 1000)):
            path.write_text("")
            os.utime(path, (stamp, stamp))
        systemd.forget_the_future([str(tmp_path), str(tmp_path / "gone")])
        assert future.stat().st_mtime < time.time()
        assert past.stat().st_mtime == 1000

    def test_a_unit_file_from_a_clock_that_was_ahead_asks_for_one_restart(self, tmp_path, monkeypatch):
        path = tmp_path / "a.service"
        path.write_text("")
        os.utime(path, (1000, 1000))
        ahead = replace(unit(), files=(str(path),))
        before, behind = path.stat().st_ctime_ns, path.stat().st_ctime_ns - 3600 * 10**9
        monkeypatch.setattr(systemd.time, "time_ns", lambda: behind)
        systemd.forget_the_future(ahead.files, ctime=True)
        assert path.stat().st_mtime == 1000
        assert path.stat().st_ctime_ns > before
        monkeypatch.undo()
        assert systemd.times(ahead.files, ctime=True)[str(path)] < now() - systemd.FILE_CLOCK_SLACK


class TestTools:
    """Systemd's tools as small scripts: what is said to them and what is made of their answers."""

    @pytest.fixture
    def tool(self, tmp_path, monkeypatch):
        monkeypatch.setitem(systemd._ENVIRONMENT, "PATH", f"{tmp_path}:/usr/bin:/bin")
        # subprocess looks the program up in this process' PATH
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

        def write(name, script):
            (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
            (tmp_path / name).chmod(0o755)

        return write

    def test_show(self, tool):
        tool("systemctl", 'printf "LoadState=loaded\\nActiveState=active\\n\\nLoadState=not-found\\n"')
        units = systemd.Systemctl().show(["a.service", "b.service"])
        assert [unit.load for unit in units.values()] == ["loaded", "not-found"]
        assert systemd.Systemctl().show([]) == {}
        tool("systemctl", 'printf "ActiveState=active\n"')
        assert systemd.Systemctl().runs("a.service")
        tool("systemctl", 'printf "ActiveState=activating\n"')
        assert not systemd.Systemctl().runs("a.service")
        tool("systemctl", "echo no bus >&2; exit 1")
        with pytest.raises(SalternError, match="no bus"):
            systemd.Systemctl().show(["a.service"])

    def test_verbs(self, tool):
        tool("systemctl", 'echo "$@" >&2; exit 5')
        with pytest.raises(SalternError, match="systemctl enable a b: enable -- a b"):
            systemd.Systemctl().do("enable", ["a", "b"])
        assert systemd.Systemctl().attempt("daemon-reload", [], 5) == "daemon-reload"
        assert systemd.Systemctl().attempt("restart", [], 5) == ""
        tool("systemctl", "exit 1")
        assert systemd.Systemctl().attempt("restart", ["a"], 5) == "exit status 1"
        tool("systemctl", "true")
        systemd.Systemctl().do("restart", ["a"])
        tool("systemctl", "exec sleep 30")
        assert systemd.Systemctl().attempt("restart", ["a"], 0.2) == "no answer within 0 s"

    def test_journal(self, tool, tmp_path, monkeypatch):
        tool("journalctl", 'echo "$@"')
        assert systemd.journal("a.service").endswith("--lines=30 --unit=a.service")
        monkeypatch.setenv("PATH", str(tmp_path / "empty"))
        monkeypatch.setitem(systemd._ENVIRONMENT, "PATH", str(tmp_path / "empty"))
        assert systemd.journal("a.service") == "(no journal)"
        with pytest.raises(SalternError, match="systemctl: No such file"):
            systemd.Systemctl().attempt("restart", ["a"], 5)


def test_a_unit_that_went_down_with_another_one_is_started_again(converge):
    class Bound(Manager):
        """Stops ``bound.socket`` whenever ``base.socket`` restarts, as ``BindsTo=`` does."""

        def attempt(self, verb, names, timeout):
            answer = super().attempt(verb, names, timeout)
            if verb == "restart" and "base.socket" in names:
                self.units["bound.socket"] = unit("bound.socket", active="inactive", sub="dead")
            return answer

    down = unit("base.socket", active="inactive", sub="dead")
    calls, report = converge(Bound(down, unit("bound.socket")), Wish("base.socket"), Wish("bound.socket"))
    assert calls[-2:] == ["restart bound.socket", "show"]
    assert report.troubles == {}


def test_a_unit_that_is_older_than_what_its_start_wrote_starts_once_more_and_not_again(converge, tmp_path):
    class Writes(Manager):
        """Writes a file shortly after a start: at the first one only, or at each."""

        always = False

        def show(self, names):
            units = super().show(names)
            if self.units["a.service"].runs and (self.always or not written.exists()):
                written.write_text("")
                os.utime(written, ns=(time.time_ns(), time.time_ns()))  # a file gets the time of the last tick
            return units

    written = tmp_path / "id"
    wish, down = Wish("a.service", writes=(str(written),)), unit(active="inactive", sub="dead")
    manager = Writes(down)
    calls, report = converge(manager, wish)
    assert calls.count("restart a.service") == 2
    assert (report.changes, report.troubles) == ({"a.service": "started, restarted (id changed)"}, {})
    os.utime(written, (time.time() - 1, time.time() - 1))
    assert converge(manager, wish)[1].changes == {}
    written.unlink()
    manager = Writes(down)
    manager.always = True
    assert converge(manager, wish)[0].count("restart a.service") == 2
