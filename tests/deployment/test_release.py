"""Checksums, their signature by the stock tool, and the bill of materials against CycloneDX's own schema."""

import importlib.resources
import json
import os
import pathlib
import re
import shutil
import subprocess

import jsonschema
import pytest
import referencing
import referencing.jsonschema
import stage

PACKAGES = pathlib.Path(os.environ.get("IGRIS_PACKAGES", "."))
KEY = PACKAGES.parent / "release.pub"
pytestmark = pytest.mark.skipif(not os.environ.get("IGRIS_PACKAGES"), reason="IGRIS_PACKAGES names no folder")


def bill():
    return json.loads((PACKAGES / f"igris-{stage.version()}.cdx.json").read_text(encoding="utf-8"))


def minisign(folder):
    command = ["minisign", "-V", "-q", "-p", str(KEY), "-m", "SHA256SUMS"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30).returncode


def sums(folder):
    command = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60).returncode


def test_the_checksums_hold_for_everything_that_is_there():
    listed = {line.split()[1] for line in (PACKAGES / "SHA256SUMS").read_text().splitlines()}
    assert listed == {path.name for path in PACKAGES.iterdir() if not path.name.startswith("SHA256SUMS")}
    assert sums(PACKAGES) == 0


@pytest.mark.skipif(shutil.which("minisign") is None, reason="there is no minisign")
def test_the_stock_tool_accepts_the_signature_and_nothing_else(tmp_path):
    assert minisign(PACKAGES) == 0
    for name in ("SHA256SUMS", "SHA256SUMS.minisig"):
        shutil.copy(PACKAGES / name, tmp_path)
    changed = tmp_path / "SHA256SUMS"
    text = changed.read_text()
    changed.write_text(("0" if text[0] != "0" else "1") + text[1:])
    assert minisign(tmp_path) != 0


@pytest.mark.skipif(not stage.IGRIS, reason="IGRIS names no program")
def test_a_signed_list_of_checksums_is_no_configuration():
    """Whoever holds the key of releases cannot make a gateway take their list for a configuration."""
    ran = subprocess.run([stage.IGRIS, "check", str(PACKAGES / "SHA256SUMS")], capture_output=True, timeout=30)
    assert ran.returncode == 2
    assert "igris-config" not in (PACKAGES / "SHA256SUMS.minisig").read_text()


def test_the_bill_is_what_cyclonedx_says_it_is():
    folder = importlib.resources.files("cyclonedx") / "schema" / "_res"
    schemas = {name: json.loads((folder / f"{name}.SNAPSHOT.schema.json").read_text()) for name in ("bom-1.6", "spdx", "jsf-0.82")}
    registry = referencing.Registry()
    for name, schema in schemas.items():
        resource = referencing.Resource.from_contents(schema, referencing.jsonschema.DRAFT7)
        base = schemas["bom-1.6"]["$id"].rsplit("/", 1)[0]
        registry = registry.with_resource(schema["$id"], resource).with_resource(f"{base}/{name}.SNAPSHOT.schema.json", resource)
    validator = jsonschema.Draft7Validator(schemas["bom-1.6"], registry=registry)
    validator.validate(bill())
    assert not validator.is_valid({**bill(), "specVersion": 1.6})


def test_the_bill_has_all_that_is_compiled_in_and_no_more():
    components = {(part["name"], part["version"]): part for part in bill()["components"]}
    names = {name for name, _ in components}
    assert {"rustls", "aws-lc-sys", "libsqlite3-sys", "monoio", "tokio", "igris-load", "uplot"} <= names
    # What tests, benches and tasks alone use.
    assert not {"criterion", "proptest", "monoio-http", "xtask", "libfuzzer-sys"} & names
    locked = re.findall(r'name = "([^"]+)"\nversion = "([^"]+)"\nsource = [^\n]+\nchecksum = "([0-9a-f]{64})"', stage.text("Cargo.lock"))
    locked = {(name, version): checksum for name, version, checksum in locked}
    own = {("igris-load", stage.version()), ("uplot", "1.6.32")}
    for key, part in components.items():
        if key not in own:
            assert part["hashes"] == [{"alg": "SHA-256", "content": locked[key]}], key
            assert part["licenses"], key
    # The one component that no manifest names is the one that lies in the dashboard.
    assert (stage.ROOT / "src/dashboard/vendor").is_dir() and "uPlot 1.6.32" in stage.text("docs/dependencies.md")


def test_everything_in_the_bill_hangs_below_a_program():
    document = bill()
    refs = {part["bom-ref"] for part in document["components"]} | {document["metadata"]["component"]["bom-ref"]}
    below = {row["ref"]: row["dependsOn"] for row in document["dependencies"]}
    assert set(below) | {"pkg:npm/uplot@1.6.32"} == refs
    reached, waiting = set(), [ref for ref in refs if re.match(r"pkg:cargo/igris", ref)]
    while waiting:
        ref = waiting.pop()
        if ref not in reached:
            reached.add(ref)
            waiting.extend(below[ref])
    assert reached == set(below)
