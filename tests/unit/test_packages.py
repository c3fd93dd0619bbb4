"""Debian packages: states, leftovers, remedies, locks, the guard against starting services."""

import fcntl
import os
import subprocess
import sys
import time

import pytest
from saltern import debian
from saltern.errors import SalternError
from saltern.packages import Package, changes, last_lines, parse_query, remedy, todo

ARCHITECTURES = "lib\tiF \t6\nlib\tii \t6\n"
QUERY = (
    "nova-api\tii \t1\nnew\tun \t\nkept\thi \t2\nremoved\trc \t3\nhalf\tiU \t4\nbad\tiHR\t5\nlib\tii \t6\nlib\tiF \t6\n"
)


def test_states():
    known = parse_query(QUERY)
    assert [name for name, package in known.items() if package.installed] == ["nova-api", "kept"]
    assert [name for name, package in known.items() if package.broken] == ["half", "bad", "lib"]
    assert parse_query(ARCHITECTURES)["lib"].broken


def test_what_is_to_be_done():
    work = todo(["nova-api", "kept", "removed", "half", "unknown", "removed"], parse_query(QUERY))
    assert work.missing == ("removed", "half", "unknown")
    assert work.broken == ("half", "bad", "lib")
    assert work
    assert not todo(["a"], {"a": Package("a", "ii", "1")})


def test_changes_are_told_as_salt_does():
    before = {"a": Package("a", "ii", "1"), "b": Package("b", "rc", "1")}
    after = {"a": Package("a", "ii", "1"), "b": Package("b", "ii", "2"), "c": Package("c", "iU", "3")}
    assert changes(before, after) == {"b": {"old": "", "new": "2"}}


@pytest.mark.parametrize(
    ("output", "cure"),
    [
        ("E: Unable to locate package nova-api", "update"),
        ("E: Failed to fetch http://x/y.deb  404  Not Found [IP: 10.0.0.1 80]", "update"),
        ("E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem.", "repair"),
        ("E: Sub-process /usr/bin/dpkg returned an error code (1)", "repair"),
        ("E: You don't have enough free space in /var/cache/apt/archives/.", ""),
    ],
)
def test_remedies(output, cure):
    assert remedy(output) == cure


def test_the_end_of_an_output_and_its_errors():
    output = "E: first\n" + "noise\n\n" * 20 + "last\n"
    assert last_lines(output, 3) == "E: first\nnoise\nnoise\nlast"


def test_a_dry_run_tells_what_would_be_done():
    work = todo(["a"], {"b": Package("b", "iU", "1")})
    assert debian.plan_changes(work, False) == {
        "b": {"old": "half installed", "new": "repaired"},
        "a": {"old": "", "new": "installed"},
    }
    nothing = todo([], {})
    assert list(debian.plan_changes(nothing, True)) == ["(interrupted transaction)"]
    assert debian.plan_changes(nothing, False) == {}


@pytest.fixture
def apt(tmp_path):
    for directory in ("usr/sbin", "var/lib/dpkg/updates", "var/lib/apt/lists/partial"):
        (tmp_path / directory).mkdir(parents=True)
    return debian.Apt(tmp_path, lock_timeout=0.2)


def policy(apt):
    return apt.root / "usr/sbin/policy-rc.d"


def testnothing_starts_during_a_transaction_and_all_is_as_before_afterwards(apt):
    with apt.nothing_starts():
        assert subprocess.run([policy(apt), "nova-api", "start"]).returncode == 101
        assert apt.leftovers()
    assert not policy(apt).exists()
    assert not apt.leftovers()


def test_a_policy_of_the_operator_comes_back_even_after_a_kill(apt):
    policy(apt).write_text("#!/bin/sh\nexit 0\n")
    guard = apt.nothing_starts()
    guard.__enter__()  # the process is killed here: nothing is put back
    assert apt.leftovers()
    with apt.nothing_starts():
        assert "101" in policy(apt).read_text()
    assert policy(apt).read_text() == "#!/bin/sh\nexit 0\n"
    assert os.listdir(policy(apt).parent) == ["policy-rc.d"]


def test_a_policy_that_a_kill_left_aside_comes_back(apt):
    kept = policy(apt).with_name("policy-rc.d.saltern-kept")
    kept.write_text("#!/bin/sh\nexit 0\n")  # killed before our guard had its name, or after it had gone
    assert apt.leftovers()
    with apt.nothing_starts():
        assert "101" in policy(apt).read_text()
    assert policy(apt).read_text() == "#!/bin/sh\nexit 0\n"
    assert not apt.leftovers()


def test_updates_that_dpkg_did_not_finish_are_seen(apt):
    assert not apt.leftovers()
    (apt.root / "var/lib/dpkg/updates/0001").write_text("")
    assert apt.leftovers()


def test_a_lock_is_waited_for_and_the_wait_is_bounded(apt):
    apt.wait_for_lock()
    lock = apt.root / "var/lib/dpkg/lock-frontend"
    code = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); input()"
    holder = subprocess.Popen([sys.executable, "-c", code, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    holder.stdout.readline()
    try:
        with pytest.raises(SalternError, match="still locked"):
            apt.wait_for_lock()
    finally:
        holder.kill()
        holder.communicate()
    apt.wait_for_lock()
    with lock.open("w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_lists_are_old_when_there_are_none_or_after_a_day(apt):
    assert apt._lists_are_old()
    lists = apt.root / "var/lib/apt/lists"
    (lists / "x_Packages").write_text("")
    assert not apt._lists_are_old()
    for path in (lists, lists / "partial"):
        os.utime(path, (time.time() - 90000,) * 2)
    assert apt._lists_are_old()


def test_a_tool_that_is_not_there_is_named(apt):
    with pytest.raises(SalternError, match="no-such-tool"):
        apt._run(["no-such-tool"], 1)


class TestTransaction:
    """The tools as small scripts that note how they are called; the real ones are used on the lab's nodes."""

    @pytest.fixture
    def tools(self, apt, tmp_path, monkeypatch):
        home = tmp_path / "bin"
        home.mkdir()
        monkeypatch.setitem(debian._ENVIRONMENT, "PATH", f"{home}:/usr/bin:/bin")
        # subprocess looks the program up in this process' PATH
        monkeypatch.setenv("PATH", f"{home}:/usr/bin:/bin")
        (apt.root / "var/lib/apt/lists/x_Packages").write_text("")
        answers = home / "answers"
        answers.mkdir()

        def tool(name, *outputs):
            """Have a tool fail with these outputs, one call after the other, and succeed afterwards."""
            for number, output in enumerate(outputs):
                (answers / f"{name}.{number}").write_text(output)
            script = f"""#!/bin/sh
            printf '%s\\n' "{name} $*" | sed 's/ -o[^ ]*//g' >> {home}/calls
            for answer in {answers}/{name}.*; do
                case "$*" in *" update"*) exit 0;; esac
                [ -e "$answer" ] && cat "$answer" && rm "$answer" && exit 100
            done
            [ {name} != dpkg-query ] || cat {home}/query
            """
            (home / name).write_text(script)
            (home / name).chmod(0o755)

        (home / "query").write_text("a\tii \t1\n")
        for name in ("apt-get", "dpkg", "dpkg-query"):
            tool(name)
        tool.calls = lambda: (home / "calls").read_text().splitlines()
        tool.query = home / "query"
        return tool

    def test_one_transaction(self, apt, tools):
        apt.install(["x", "y"])
        assert tools.calls()[1:] == ["apt-get --yes --quiet install --no-install-recommends -- x y"]
        assert apt.query()["a"].installed
        assert not policy(apt).exists()

    def test_old_lists_are_fetched_first(self, apt, tools):
        (apt.root / "var/lib/apt/lists/x_Packages").unlink()
        apt.install(["x"])
        assert tools.calls()[1] == "apt-get --yes --quiet update"

    def test_a_package_that_has_moved_on_is_found_after_an_update(self, apt, tools):
        tools("apt-get", "E: Failed to fetch http://x/y.deb  404  Not Found")
        apt.install(["x"])
        verbs = [call.split()[3] for call in tools.calls()[1:]]
        assert verbs == ["install", "update", "install"]

    def test_what_is_half_installed_is_mended_first(self, apt, tools):
        tools.query.write_text("a\tiU \t1\n")
        tools("apt-get", "E: Failed to fetch x")
        apt.install([])
        assert [call for call in tools.calls() if not call.startswith("dpkg-query")] == [
            "dpkg --configure -a --force-confold --force-confdef",
            "apt-get --yes --quiet install --fix-broken",
            "apt-get --yes --quiet update",
            "apt-get --yes --quiet install --fix-broken",
            "dpkg --configure -a --force-confold --force-confdef",
        ]

    def test_what_was_killed_while_it_was_unpacked_is_unpacked_once_more(self, apt, tools):
        tools.query.write_text("a\tii \t1\nb\tiUR\t1\nc\tiHR\t\n")
        apt.install([])
        assert "apt-get --yes --quiet install --fix-broken --reinstall -- b c" in tools.calls()

    def test_a_failure_is_repaired_and_tried_again_but_not_for_ever(self, apt, tools):
        tools("apt-get", *["E: Sub-process /usr/bin/dpkg returned an error code (1)"] * 20)
        with pytest.raises(SalternError, match="returned an error code"):
            apt.install(["x"])
        installs = [call for call in tools.calls() if call.endswith("-- x")]
        assert len(installs) == debian._TRIES
        assert not policy(apt).exists()

    def test_a_failure_without_remedy_is_told_at_once(self, apt, tools):
        tools("apt-get", "E: You don't have enough free space")
        with pytest.raises(SalternError, match="free space"):
            apt.install(["x"])
        assert len(tools.calls()) == 2

    def test_a_query_that_fails_is_told(self, apt, tools):
        tools("dpkg-query", "dpkg-query: error: no database")
        with pytest.raises(SalternError, match="no database"):
            apt.query()


def test_systemd_and_the_bus_read_anew_what_has_come_where_they_are(apt, monkeypatch):
    asked = []
    monkeypatch.setattr(apt, "_run", lambda command, timeout: asked.append(command))
    apt._renew()
    assert asked == []
    (apt.root / "run/systemd/system").mkdir(parents=True)
    (apt.root / "run/dbus").mkdir(parents=True)
    (apt.root / "run/dbus/system_bus_socket").touch()
    apt._renew()
    assert [command[-1].rpartition(".")[2] for command in asked] == ["daemon-reload", "ReloadConfig"]
    assert "--unset=SYSTEMD_OFFLINE" in asked[0]


def test_the_tools_let_others_go_first():
    assert int(debian.Apt(nice=3)._run(["nice"], 10).stdout) == os.nice(0) + 3
    assert int(debian.Apt()._run(["nice"], 10).stdout) == os.nice(0)
