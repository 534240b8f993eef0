"""The page's way to save and restore, gone step by step: what was saved serves again, and its books balance."""

import json
import os
import re
import shutil
import signal
import subprocess
import urllib.request

import pytest
import stage

LOAD = os.environ.get("IGRIS_LOAD", "")
KEY = stage.SECRETS["IGRIS_API_KEY"]
pytestmark = pytest.mark.skipif(not stage.IGRIS or not LOAD, reason="IGRIS and IGRIS_LOAD name no programs")


def igris(*words, code=0):
    ran = subprocess.run([stage.IGRIS, *map(str, words)], capture_output=True, text=True, timeout=60)
    assert ran.returncode == code, f"{words}: {ran.stdout}{ran.stderr}"
    return ran.stdout + ran.stderr


class Machine:
    """A gateway with its state in a folder, in front of a simulated provider."""

    def __init__(self, folder, provider):
        self.folder, self.port = folder, stage.free_port()
        folder.mkdir(exist_ok=True)
        env = {"PATH": os.environ["PATH"], "IGRIS_API_KEY": KEY, "OPENAI_API_KEY": "sk-x", "IGRIS_OPENAI_BASE_URL": provider}
        command = [stage.IGRIS, "serve", f"--listen=127.0.0.1:{self.port}", f"--data-dir={folder}/data"]
        self.gateway = stage.Gateway(command, f"http://127.0.0.1:{self.port}/v1/health/ready", env=env, log=folder / "log")

    def ask(self, times):
        body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}]}).encode()
        for _ in range(times):
            head = {"Authorization": f"Bearer {KEY}"}
            request = urllib.request.Request(f"http://127.0.0.1:{self.port}/v1/chat/completions", body, head)
            with urllib.request.urlopen(request, timeout=20) as answer:
                assert answer.status == 200

    def admin(self, *words):
        return igris("admin", "--socket", f"{self.folder}/data/admin.sock", *words)

    def requests(self):
        return json.loads(self.admin("usage", "--json"))["requests"]


@pytest.fixture
def provider():
    port = stage.free_port()
    command = [LOAD, "mock", "--listen", f"127.0.0.1:{port}"]
    mock = stage.Gateway(command, f"http://127.0.0.1:{port}/_mock/health", log=stage.SCRATCH / "mock.log")
    yield f"http://127.0.0.1:{port}/v1"
    mock.stop()


def test_what_was_saved_serves_again_and_balances(provider, tmp_path):
    lost = Machine(tmp_path / "lost", provider)
    saved, again = tmp_path / "saved", tmp_path / "again"
    saved.mkdir(), (again / "data").mkdir(parents=True)
    data = lost.folder / "data"
    try:
        lost.ask(10)
        # The order of the page: the store first, the journal after it, so that the journal has all that the store knows.
        lost.admin("backup", str(saved / "igris.db"))
        lost.ask(5)
        shutil.copytree(data / "ledger", saved / "ledger")
        shutil.copy(data / "root.key", saved / "root.key")
        lost.ask(3)
        assert lost.requests() == 18
    finally:
        # The machine is gone, and not in order.
        lost.gateway.process.send_signal(signal.SIGKILL)
        lost.gateway.process.wait()
    assert (saved / "igris.db").stat().st_mode & 0o7777 == 0o600
    igris("vault", "verify", "--store", saved / "igris.db", "--root-key", saved / "root.key")
    for name in ("igris.db", "root.key"):
        shutil.copy(saved / name, again / "data" / name)
    (again / "data/root.key").chmod(0o400)
    shutil.copytree(saved / "ledger", again / "data/ledger")
    igris("vault", "verify", "--data-dir", again / "data")
    back = Machine(again, provider)
    try:
        # What was asked after the store was copied came back from the journal; what came after that is lost, as the page says.
        assert back.requests() == 15
        assert "balanced to the last unit" in igris("ledger", "verify", "--data-dir", again / "data")
        back.ask(1)
        assert back.requests() == 16
    finally:
        assert back.gateway.stop() == 0, back.gateway.output()


def test_a_backup_opens_under_its_own_root_key_alone(provider, tmp_path):
    machine = Machine(tmp_path / "machine", provider)
    try:
        machine.admin("backup", str(tmp_path / "copy.db"))
    finally:
        machine.gateway.stop()
    other = tmp_path / "other.key"
    other.write_text("ab" * 32 + "\n")
    other.chmod(0o400)
    igris("vault", "verify", "--store", tmp_path / "copy.db", "--root-key", other, code=1)
    assert not re.search(KEY, (tmp_path / "copy.db").read_bytes().decode("latin-1"))
