"""The Debian package: the same bytes twice, and what dpkg makes of it in a root of its own: installed, upgraded, removed, purged."""

import gzip
import os
import pathlib
import re
import shutil
import subprocess

import pytest
import stage

PACKAGES = pathlib.Path(os.environ.get("IGRIS_PACKAGES", "."))
pytestmark = [
    pytest.mark.skipif(not os.environ.get("IGRIS_PACKAGES"), reason="IGRIS_PACKAGES names no folder"),
    pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="there is no dpkg-deb"),
]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may install")


def package():
    (found,) = PACKAGES.glob("igris_*.deb")
    return found


def run(*command, env=None):
    ran = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120, env=env)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


def test_made_again_it_is_the_same_to_the_byte():
    for name in sorted(path.name for path in PACKAGES.iterdir() if path.suffix != ".minisig"):
        again = PACKAGES.parent / "again" / name
        assert (PACKAGES / name).read_bytes() == again.read_bytes(), name


def test_its_files_are_roots_and_of_the_right_mode():
    lines = run("dpkg-deb", "--contents", package()).splitlines()
    rows = {line.split()[5]: line.split()[:2] for line in lines}
    assert all(owner == "root/root" for _, owner in rows.values())
    for name, (mode, _) in rows.items():
        wanted = "drwxr-xr-x" if name.endswith("/") else "-rwxr-xr-x" if name.startswith("./usr/bin/") else "-rw-r--r--"
        assert mode == wanted, name
    assert {"./usr/bin/igris", "./usr/bin/igris-load", "./etc/igris/igris.toml", "./usr/share/doc/igris/copyright"} < set(rows)
    assert run("dpkg-deb", "--info", package(), "conffiles") == "/etc/igris/igris.toml\n"
    names = [name for name in rows if not name.endswith("/")]
    assert len(names) == len(set(names)) and not any("/target/" in name or name.startswith("./var/") for name in names)


class Root:
    """A root to install into: no more of a system than dpkg asks for."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("info", "updates", "triggers"):
            (folder / "var/lib/dpkg" / name).mkdir(parents=True)
        (folder / "var/lib/dpkg/status").touch()
        (folder / "etc").mkdir()
        (folder / "etc/group").write_text("root:x:0:\n")
        (folder / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")

    def dpkg(self, *words):
        # The scripts run on this machine and are told the root by DPKG_ROOT: there is no shell in it to run them with.
        command = ["dpkg", f"--root={self.folder}", "--force-script-chrootless", "--force-depends", "--force-confold", *words]
        return run(*command)

    def state(self):
        said = subprocess.run(
            ["dpkg-query", f"--admindir={self.folder}/var/lib/dpkg", "-W", "-f", "${db:Status-Status} ${Version}", "igris"],
            capture_output=True, text=True,
        )
        return said.stdout

    def group(self):
        found = re.search(r"^igris:[^:]*:(\d+):", (self.folder / "etc/group").read_text(), re.M)
        return int(found[1])


def later(folder):
    """The same package under a higher version."""
    tree = folder / "tree"
    run("dpkg-deb", "--raw-extract", package(), tree)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"^Version: .*$", "Version: 99.0", control.read_text(), flags=re.M))
    made = folder / "later.deb"
    run("dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", tree, made)
    return made


@as_root
def test_dpkg_installs_upgrades_removes_and_purges_it(tmp_path):
    folder = tmp_path / "root"
    folder.mkdir()
    root = Root(folder)
    said = root.dpkg("--install", str(package()))
    assert root.state() == f"installed {stage.version()}"
    assert "systemctl enable --now igris.socket igris.service" in said
    # What runs there, and what the configuration of the package is worth.
    assert run(folder / "usr/bin/igris", "--version") == f"igris {stage.version()}\n"
    assert ": fine: " in run(folder / "usr/bin/igris", "check", folder / "etc/igris/igris.toml")
    assert run("dpkg", f"--root={folder}", "--verify", "igris") == ""
    # The gateway's and root's alone, from the moment at which somebody writes into it.
    assert re.search(r"^igris:x:\d+:\d+:[^:]*:/var/lib/igris:/usr/sbin/nologin$", (folder / "etc/passwd").read_text(), re.M)
    for name, mode in (("etc/igris", 0o750), ("etc/igris/igris.toml", 0o640)):
        there = (folder / name).stat()
        assert (there.st_uid, there.st_gid, there.st_mode & 0o7777) == (0, root.group(), mode), name
    # What the owner has changed stays, through an upgrade and a removal.
    config = folder / "etc/igris/igris.toml"
    config.write_text("version = 2\n")
    config.chmod(0o600)
    root.dpkg("--install", str(later(tmp_path)))
    assert root.state() == "installed 99.0"
    assert (config.read_text(), config.stat().st_mode & 0o7777) == ("version = 2\n", 0o600)
    books = folder / "var/lib/igris/igris.db"
    books.parent.mkdir(parents=True)
    books.touch()
    root.dpkg("--remove", "igris")
    assert not (folder / "usr/bin/igris").exists() and config.exists()
    (folder / "etc/igris/environment").write_text("OPENAI_API_KEY=x\n")
    said = root.dpkg("--purge", "igris")
    assert not (folder / "etc/igris").exists()
    assert books.exists() and "remove it by hand" in said


def test_the_unit_starts_what_the_package_has(tmp_path):
    run("dpkg-deb", "--extract", package(), tmp_path)
    unit = (tmp_path / "usr/lib/systemd/system/igris.service").read_text()
    (start,) = re.findall(r"^ExecStart=(\S+) serve --config (\S+) --data-dir /var/lib/igris$", unit, re.M)
    for path in start:
        assert (tmp_path / path.lstrip("/")).is_file(), path
    (page,) = re.findall(r"^Documentation=file:(\S+)$", unit, re.M)
    assert (tmp_path / page.lstrip("/")).is_file(), page
    (user,) = re.findall(r"^User=(\S+)$", unit, re.M)
    assert re.search(rf"^u {user} ", (tmp_path / "usr/lib/sysusers.d/igris.conf").read_text(), re.M)


def test_pages_that_are_installed_lead_to_pages_that_are(tmp_path):
    run("dpkg-deb", "--extract", package(), tmp_path)
    folder = tmp_path / "usr/share/doc/igris"
    page = (folder / "operations.md").read_text()
    links = re.findall(r"\]\(([a-z0-9-]+\.md)(?:#[^)]*)?\)", page)
    assert len(set(links)) >= 4
    missing = {link for link in links if not (folder / link).is_file()}
    assert not missing


@pytest.mark.parametrize("program", ["igris", "igris-load"])
def test_the_manual_names_every_command(tmp_path, program):
    run("dpkg-deb", "--extract", package(), tmp_path)
    page = gzip.decompress((tmp_path / f"usr/share/man/man1/{program}.1.gz").read_bytes()).decode()
    said = run(tmp_path / "usr/bin" / program, "--help")
    commands = re.findall(r"^  ([a-z]+)  ", said.split("Commands:")[1].split("Options:")[0], re.M)
    assert len(commands) >= 6
    # The load tester's page leaves its commands to its help.
    if program == "igris":
        missing = {command for command in commands if not re.search(rf"^\.BI? {command}\b", page, re.M)}
        assert missing <= {"help"}
    assert page.startswith(f".TH {program.upper()} 1")


@as_root
@pytest.mark.skipif(not stage.may_make_namespaces(), reason="no namespace may be made here")
@pytest.mark.parametrize("broken", [False, True])
def test_an_upgrade_hands_over_and_keeps_the_old_one_where_the_new_is_no_good(tmp_path, broken):
    """The package's own script beside a gateway that runs, in a mount namespace that looks like a machine under systemd; systemctl alone is played."""
    tree, tools = tmp_path / "tree", tmp_path / "tools"
    run("dpkg-deb", "--raw-extract", package(), tree)
    tools.mkdir()
    calls = tmp_path / "calls"
    for name in ("systemctl", "systemd-sysusers"):
        (tools / name).write_text(f'#!/bin/sh\necho "{name} $*" >>{calls}\n')
        (tools / name).chmod(0o755)
    # The installed program: what dpkg has just put there, and what runs is the one before it.
    program = tools / "igris"
    shutil.copy(tree / "usr/bin/igris", program)
    port = stage.free_port()
    # What asks is a copy that works; what is started anew is what lies where the running one was started from.
    (tmp_path / "ask").mkdir()
    shutil.copy(program, tmp_path / "ask/igris")
    following = tmp_path / "next"
    if broken:
        following.write_text("#!/bin/sh\nexit 1\n")
    else:
        shutil.copy(program, following)
    following.chmod(0o755)
    admin = "igris admin --socket /var/lib/igris/admin.sock"
    script = f"""
set -e
mount -t tmpfs none /run && mkdir -p /run/systemd/system
mount -t tmpfs none /var/lib && mkdir -p /var/lib/igris
cd {tmp_path}
igris serve --listen 127.0.0.1:{port} --data-dir /var/lib/igris >log 2>&1 </dev/null &
for _ in $(seq 200); do {admin} status >/dev/null 2>&1 && break; sleep 0.1; done
mv {following} {program}
PATH={tmp_path}/ask:$PATH
echo "before $({admin} status | grep ^pid)"
sh {tree}/DEBIAN/postinst configure 0.0.9
echo "after $({admin} status | grep ^pid)"
ls /var/lib/igris/from-0.0.9.db
# Whichever serves now ends before the namespace does.
{admin} drain >/dev/null
for _ in $(seq 100); do [ -S /var/lib/igris/admin.sock ] || break; sleep 0.1; done
"""
    env = {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "IGRIS_API_KEY": stage.SECRETS["IGRIS_API_KEY"],
        "OPENAI_API_KEY": stage.SECRETS["OPENAI_API_KEY"],
    }
    # Processes that the namespace holds end with it.
    command = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", script]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=90, env=env)
    said = ran.stdout + ran.stderr + (tmp_path / "log").read_text()
    assert ran.returncode == 0 and "from-0.0.9.db" in ran.stdout, said
    before, after = re.search(r"^before .*?(\d+)", ran.stdout, re.M)[1], re.search(r"^after .*?(\d+)", ran.stdout, re.M)[1]
    asked = calls.read_text().splitlines()
    assert asked[:3] == ["systemd-sysusers --root=/ igris.conf", "systemctl daemon-reload", "systemctl --quiet is-active igris.service"]
    if broken:
        assert before == after and "the version before goes on serving" in ran.stderr, said
    else:
        assert before != after and "igris: the new version serves" in ran.stdout, said
