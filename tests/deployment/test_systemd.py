"""The unit: how much it leaves open, who it makes, and that the gateway does nothing that it forbids."""

import os
import pathlib
import pwd
import re
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request

import pytest
import stage

UNIT = "config/systemd/igris.service"
# Tenths of systemd's own measure, 0 to 100; what is left are the network, /proc/meminfo and setting the affinity of threads.
EXPOSURE = 15
ACCESS_KEY = "an-access-key-of-this-test-alone"
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")


@needs_systemd
def test_the_unit_leaves_little_open():
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", "--no-pager", str(stage.ROOT / UNIT)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stdout[-400:] + ran.stderr


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="there is no systemd-sysusers")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make users")
def test_the_user_is_made(tmp_path):
    (tmp_path / "etc").mkdir()
    command = ["systemd-sysusers", f"--root={tmp_path}", str(stage.ROOT / "config/systemd/igris.conf")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert ran.returncode == 0, ran.stderr
    assert re.search(r"^igris:x:\d+:\d+:.*:/usr/sbin/nologin$", (tmp_path / "etc/passwd").read_text(), re.M)


def test_a_stop_has_the_time_that_streams_have():
    (limit,) = re.findall(r"^TimeoutStopSec=(\d+)$", stage.text(UNIT), re.M)
    assert int(limit) > stage.stream_grace() + 5


def allowed():
    """The system calls that the unit's filters leave, in the order in which systemd applies them."""
    said = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager"], capture_output=True, text=True, timeout=30).stdout
    groups, name = {}, None
    for line in said.splitlines():
        line = re.sub(r"\x1b\[[0-9;]*m", "", line)
        if line.startswith("@"):
            name = line.strip()
            groups[name] = set()
        elif name and re.match(r"\s+[@\w-]+$", line):
            groups[name].add(line.strip())

    def calls(word):
        if not word.startswith("@"):
            return {word}
        return set().union(*(calls(part) for part in groups.get(word, set())))

    # Allowed whatever the filter says, where it lists what may be done (systemd.exec(5)).
    left = calls("@default")
    for words in re.findall(r"^SystemCallFilter=(.+)$", stage.text(UNIT), re.M):
        found = set().union(*(calls(word) for word in words.lstrip("~").split()))
        left = left - found if words.startswith("~") else left | found
    return left | calls("@default")


@needs_systemd
@pytest.mark.skipif(shutil.which("strace") is None, reason="there is no strace")
@pytest.mark.skipif(not stage.IGRIS, reason="IGRIS names no program")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_the_gateway_calls_nothing_that_the_unit_forbids():
    """Started as another user, asked, reloaded, handed over to a new process, backed up and ended, each system call written down."""
    home = pathlib.Path(tempfile.mkdtemp(prefix="igris-"))
    try:
        trace = life_of_a_gateway(home)
    finally:
        shutil.rmtree(home)
    used = {found[1] for line in trace.splitlines() if (found := re.match(r"\d+ +([a-z_0-9]+)\(", line))}
    assert {"socket", "accept4", "memfd_secret", "prctl"} <= used and len(used) > 40, used
    assert used <= allowed(), used - allowed()


def life_of_a_gateway(home):
    """What strace wrote down. The folder is one that another user may pass through, as pytest's own are not."""
    home.chmod(0o755)
    program, state, trace = home / "igris", home / "state", home / "trace"
    shutil.copy(stage.IGRIS, program)
    state.mkdir()
    nobody = pwd.getpwnam("nobody")
    os.chown(state, nobody.pw_uid, nobody.pw_gid)
    port = stage.free_port()
    env = {"PATH": os.environ["PATH"], "IGRIS_API_KEY": ACCESS_KEY, "OPENAI_API_KEY": "sk-x", "IGRIS_OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}
    # strace writes as root and starts the gateway as the other user, so that no call of a tool that changes users is among those seen.
    command = ["strace", "-f", "-qq", "-o", str(trace), "-u", "nobody", str(program), "serve", f"--listen=127.0.0.1:{port}", f"--data-dir={state}/data"]
    gateway = stage.Gateway(command, f"http://127.0.0.1:{port}/v1/health/live", env=env, log=home / "log")
    admin = [str(program), "admin", "--socket", f"{state}/data/admin.sock"]
    try:
        body = b'{"model":"gpt-4o","messages":[{"role":"user","content":"x"}]}'
        ask = urllib.request.Request(f"http://127.0.0.1:{port}/v1/chat/completions", body, {"Authorization": f"Bearer {ACCESS_KEY}"})
        # Nobody serves it; the gateway has tried.
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(ask, timeout=20)
        for words in (["reload"], ["upgrade"], ["backup", f"{state}/copy.db"], ["drain"]):
            ran = subprocess.run([*admin, *words], capture_output=True, text=True, timeout=60)
            assert ran.returncode == 0, ran.stderr + gateway.output()
        gateway.process.wait(stage.ENDS)
    finally:
        gateway.stop()
    return trace.read_text(errors="replace")
