"""The samples of the documentation, run as a user would paste them: only the address and the key are filled in."""

import json
import pathlib
import subprocess
import sys

import httpx
import pytest
import stand

SAMPLES = pathlib.Path(__file__).parent.parent / "samples"


def run(words, name, gateway):
    text = (SAMPLES / name).read_text()
    assert "http://127.0.0.1:8081" in text and "YOUR_IGRIS_API_KEY" in text
    text = text.replace("http://127.0.0.1:8081", gateway.url).replace("YOUR_IGRIS_API_KEY", stand.ACCESS_KEY)
    done = subprocess.run(words, input=text, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["chat.sh", "infer.sh"])
def test_curl(gateway, name):
    answer = json.loads(run(["bash"], name, gateway))
    assert answer["choices"][0]["message"]["content"]
    assert answer["metadata"]["provider"] == "openai"
    assert answer["metadata"]["cost_breakdown"]["output_tokens"] == answer["usage"]["completion_tokens"]


def test_curl_stream(gateway):
    events = [line for line in run(["bash"], "stream.sh", gateway).splitlines() if line]
    assert len(events) > 3
    assert all(line.startswith("data: ") for line in events)
    assert events[-1] == "data: [DONE]"


def test_python(gateway):
    lines = run([sys.executable, "-"], "chat.py", gateway).splitlines()
    assert lines[0]
    assert lines[1].startswith("openai, ") and lines[1].endswith(" USD")


def test_health_needs_no_key(gateway):
    for path in ("/v1/health", "/v1/health/live", "/v1/health/ready"):
        answer = httpx.get(f"{gateway.url}{path}", trust_env=False)
        assert answer.status_code == 200, path
        assert answer.json()["status"]
    assert httpx.head(f"{gateway.url}/", trust_env=False).status_code < 500


def test_providers_in_the_documented_shape(gateway):
    answer = httpx.get(
        f"{gateway.url}/v1/providers", headers={"authorization": f"Bearer {stand.ACCESS_KEY}"}, trust_env=False
    )
    providers = {row["name"]: row for row in answer.json()["providers"]}
    assert {"openai", "mistral", "deepseek", "xai"} <= set(providers)
    assert providers["openai"]["status"] == "active"
    assert providers["openai"]["health"]
    assert "gpt-4o-mini" in providers["openai"]["models"]
