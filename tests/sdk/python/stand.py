"""The test stand: simulated providers, a tap before each, and the gateway in front, all as separate programs.

    client -> igris serve -> tap -> igris-load mock

`openai`, `anthropic`, `google`, `mistral` and `cohere` work, each in its own dialect; `deepseek` refuses the credential
the gateway has; `xai` does not listen at all. A model is asked for by its bare name where the configuration lists it, and
always as `provider/model`.
"""

import os
import pathlib
import re
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request
from dataclasses import dataclass

from tap import Tap

ACCESS_KEY = "sk-test-access-key-canary-0123456789"
#: One that may ask thirty times a minute.
LIMITED_KEY = "sk-test-limited-key-canary-0123456789"


@dataclass(frozen=True)
class Provider:
    """A provider: what it speaks, its models, what the gateway shows it, what stands before its paths."""

    dialect: str
    models: tuple[str, ...]
    credential: str
    path: str = ""
    #: The credential it takes, where that is another one.
    takes: str | None = None
    absent: bool = False


PROVIDERS = {
    "openai": Provider(
        "openai", ("gpt-4o-mini", "gpt-4.1", "gpt-5.6-terra"), "sk-credential-openai-canary-0123456789", "/v1"
    ),
    "anthropic": Provider(
        "anthropic", ("claude-sonnet-4-6", "claude-sonnet-5-5"), "sk-ant-credential-canary-0123456789"
    ),
    "google": Provider(
        "gemini", ("gemini-3.1-pro-preview", "gemini-2.5-flash"), "AIza-credential-google-canary-0123456789"
    ),
    "mistral": Provider("openai", ("mistral-small-latest",), "credential-mistral-canary-0123456789", "/v1"),
    "cohere": Provider(
        "cohere", ("command-a-03-2025", "command-a-reasoning-08-2025"), "credential-cohere-canary-0123456789"
    ),
    "deepseek": Provider(
        "openai",
        ("deepseek-v4-flash",),
        "sk-credential-deepseek-canary-0123456789",
        "/v1",
        takes="sk-another-credential-0123456789",
    ),
    "xai": Provider("openai", ("grok-4.5",), "xai-credential-canary-0123456789", "/v1", absent=True),
}
CREDENTIALS = {name: provider.credential for name, provider in PROVIDERS.items()}
START_SECONDS = 20


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Program:
    """A child process whose output is kept."""

    def __init__(self, words: list[str], env: dict[str, str] | None = None):
        self.child = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
        )
        self.output = ""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.child.stdout:
            self.output += line.decode("utf-8", "replace")

    def wait_until(self, ready, what: str):
        """Asks `ready` until it answers with something true."""
        end = time.monotonic() + START_SECONDS
        while not (answer := ready()):
            assert self.child.poll() is None, f"{what}: it ended with {self.child.returncode}:\n{self.output}"
            assert time.monotonic() < end, f"{what}: not within {START_SECONDS} s:\n{self.output}"
            time.sleep(0.01)
        return answer

    def stop(self):
        self.child.terminate()
        try:
            self.child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.reader.join(timeout=5)


class Providers:
    """The simulated providers and their taps."""

    def __init__(self):
        self.programs: list[Program] = []
        self.taps: dict[str, Tap] = {}
        try:
            for name, provider in PROVIDERS.items():
                if not provider.absent:
                    self._start(name, provider)
        except BaseException:
            self.stop()
            raise
        self.ports = {name: self.taps[name].port if name in self.taps else free_port() for name in PROVIDERS}

    def _start(self, name: str, provider: Provider):
        port = free_port()
        words = [os.environ["IGRIS_LOAD"], "mock", "--dialect", provider.dialect, "--listen", f"127.0.0.1:{port}"]
        words += ["--name", name, "--key", provider.takes or provider.credential]
        words += [word for model in provider.models for word in ("--model", model)]
        words += ["--latency", "0ms", "--tokens", "16", "--threads", "1"]
        program = Program(words)
        self.programs.append(program)
        program.wait_until(lambda: listens(port), f"the simulated {name}")
        self.taps[name] = Tap(port)

    def stop(self):
        for tap in self.taps.values():
            tap.close()
        for program in self.programs:
            program.stop()


class Gateway:
    """`igris serve` with a configuration of its own and an empty state folder."""

    def __init__(self, providers: Providers):
        scratch = os.environ.get("IGRIS_SCRATCH")
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="gateway-", dir=scratch))
        config = self.home / "igris.toml"
        config.write_text(configuration(self.home, providers.ports))
        env = {f"TEST_{name.upper()}_KEY": key for name, key in CREDENTIALS.items()}
        env |= {"TEST_ACCESS_KEY": ACCESS_KEY, "TEST_LIMITED_KEY": LIMITED_KEY}
        words = [os.environ["IGRIS"], "serve", "--config", str(config), "--data-dir", str(self.home)]
        words += ["--listen", "127.0.0.1:0", "--workers", "1"]
        self.taps = providers.taps
        self.program = Program(words, env)
        try:
            self.url = self._url_when_ready()
        except BaseException:
            self.program.stop()
            raise

    def _url_when_ready(self) -> str:
        said = self.program.wait_until(
            lambda: re.search(r"listening on (http://127\.0\.0\.1:\d+)", self.program.output), "the gateway"
        )
        url = said.group(1)
        self.program.wait_until(lambda: self._is_ready(url), "the gateway's readiness")
        return url

    @staticmethod
    def _is_ready(url: str) -> bool:
        try:
            with urllib.request.urlopen(f"{url}/v1/health/ready", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def stop(self):
        """Stops it, and looks for keys in everything it wrote (rule R4)."""
        self.program.stop()
        secrets = [key.encode() for key in (*CREDENTIALS.values(), ACCESS_KEY, LIMITED_KEY)]
        written = {"output": self.program.output.encode()}
        written |= {str(path): path.read_bytes() for path in self.home.rglob("*") if path.is_file()}
        leaks = [
            f"{place} holds {secret[:16]!r}…" for place, text in written.items() for secret in secrets if secret in text
        ]
        assert not leaks, leaks


def eventually(condition, seconds: float = 2) -> bool:
    """Whether something comes true in time: generous, for a busy test machine."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return bool(condition())


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


def model_of(target: str, name: str) -> str:
    """A listed name is its target's own; any other stands for the target's first model."""
    models = PROVIDERS[target].models
    return name if name in models else models[0]


def configuration(home: pathlib.Path, ports: dict[str, int]) -> str:
    providers = "".join(
        f"""
[[providers]]
name = "{name}"
base_url = "http://127.0.0.1:{port}{PROVIDERS[name].path}"
allow_private_address = true
api_key = {{ env = "TEST_{name.upper()}_KEY" }}
"""
        for name, port in ports.items()
    )
    models = {model: [name] for name, provider in PROVIDERS.items() for model in provider.models} | {
        "refused": ["deepseek"],
        "down": ["xai"],
        "resilient": ["xai", "openai"],
        "either": ["mistral", "openai"],
    }
    entries = "".join(
        f"""
[[models]]
name = "{name}"
policy = "ordered"
targets = [{", ".join(f'{{ provider = "{target}", model = "{model_of(target, name)}" }}' for target in targets)}]
"""
        for name, targets in models.items()
    )
    return f"""version = 1
[admin]
socket = "{home}/admin.sock"
[store]
url = "sqlite:{home}/igris.db"
[vault]
root_key = {{ file = "{home}/root.key" }}
{providers}{entries}
[[tenants]]
id = "default"
[[access_keys]]
name = "test"
tenant = "default"
key = {{ env = "TEST_ACCESS_KEY" }}
[[access_keys]]
name = "limited"
tenant = "default"
key = {{ env = "TEST_LIMITED_KEY" }}
limits = {{ requests_per_minute = 30 }}
"""
