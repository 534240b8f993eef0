"""The repository, a gateway that is started from a configuration, and what is asked of it over loopback."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
IGRIS = os.environ.get("IGRIS", "")
SCRATCH = pathlib.Path(os.environ.get("IGRIS_SCRATCH", "."))
SECRETS = {"OPENAI_API_KEY": "sk-canary-0123456789abcdefghij", "IGRIS_API_KEY": "an-access-key-of-this-test-alone"}
STARTS = 30
ENDS = 20


def text(path):
    """A file of the repository."""
    return (ROOT / path).read_text(encoding="utf-8")


def version():
    """The version of the workspace."""
    return re.search(r'\[workspace\.package\]\nversion = "([^"]+)"', text("Cargo.toml"))[1]


def stream_grace():
    """Seconds that open streams have on SIGTERM, as the gateway itself has it."""
    found = re.search(r"SHUTDOWN_STREAM_GRACE: Duration = Duration::from_secs\((\d+)\)", text("src/limits.rs"))
    return int(found[1])


def may_make_namespaces():
    """Whether this process may have mounts of its own."""
    try:
        return subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True, timeout=20).returncode == 0
    except OSError:
        return False


def free_port():
    """A port of loopback that nobody has just now."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return place.getsockname()[1]


def status(url):
    """The status that a URL of loopback answers with; 0: nobody is there."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


class Gateway:
    """A program of the test's own that serves until it is stopped, and answers 200 at `health` once it does."""

    def __init__(self, command, health, env=None, log=None):
        self.log = log or SCRATCH / "gateway.log"
        with open(self.log, "wb") as out:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env)
        end = time.monotonic() + STARTS
        while status(health) != 200:
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise AssertionError(f"it does not serve: {self.output()}")
            time.sleep(0.05)

    def output(self):
        return self.log.read_text(encoding="utf-8", errors="replace")

    def stop(self):
        """Ends it in order; answers the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(ENDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait()
