"""The image's recipe, without an engine: what it copies is there and enough to build, nobody is root, no secret is in it; and the gateway lives in a
root that holds what the last stage holds and nothing else."""

import json
import os
import pathlib
import re
import shutil
import stat
import subprocess

import dockerfile_parse
import pytest
import stage

FILE = "config/container/Containerfile"


def stages():
    """The instructions of each stage, in order."""
    found = []
    parser = dockerfile_parse.DockerfileParser(fileobj=open(stage.ROOT / FILE, "rb+"))
    for step in parser.structure:
        if step["instruction"] == "COMMENT":
            continue
        if step["instruction"] == "FROM":
            found.append([])
        found[-1].append((step["instruction"], step["value"]))
    return found


def values(steps, instruction):
    return [value for name, value in steps if name == instruction]


def copied():
    """What the first stage takes of the repository."""
    sources = []
    for value in values(stages()[0], "COPY"):
        sources += value.split()[:-1]
    return sources


def test_the_last_stage_is_empty_and_belongs_to_nobody_in_particular():
    last = stages()[-1]
    assert values(last, "FROM") == ["scratch"]
    (user,) = values(last, "USER")
    number, group = map(int, user.split(":"))
    assert number > 0 and group > 0
    # After the user nothing is run, and in an empty stage nothing can be.
    assert not values(last, "RUN") and not values(last, "ADD")


def test_no_secret_and_no_unpinned_base():
    for steps in stages():
        for value in values(steps, "ENV") + values(steps, "ARG"):
            assert not re.search(r"KEY|TOKEN|SECRET|PASSWORD", value, re.I), value
        for value in values(steps, "FROM"):
            assert value == "scratch" or re.fullmatch(r"docker\.io/\S+:[\w.-]*\d[\w.-]* AS build", value), value
    assert "." not in copied(), "it would take whatever lies in the folder, keys included"


def test_the_compiler_is_new_enough():
    (base,) = values(stages()[0], "FROM")
    given = tuple(map(int, re.search(r"rust:(\d+)\.(\d+)", base).groups()))
    asked = tuple(map(int, re.search(r'rust-version = "(\d+)\.(\d+)"', stage.text("Cargo.toml")).groups()))
    assert given >= asked


def test_what_it_copies_is_there_and_what_the_build_reads_is_copied():
    roots = [stage.ROOT / source for source in copied()]
    assert all(root.exists() for root in roots)
    read = 0
    for folder in ("src", "loadtest/src"):
        for file in (stage.ROOT / folder).rglob("*.rs"):
            for path in re.findall(r'include_(?:str|bytes)!\(\s*"([^"]+)"', file.read_text(encoding="utf-8")):
                target = (file.parent / path).resolve()
                assert any(target.is_relative_to(root) for root in roots), f"{file} includes {path}"
                read += 1
    assert read > 5


@pytest.mark.skipif(shutil.which("cargo") is None, reason="there is no cargo")
def test_cargo_finds_a_whole_workspace_in_what_is_copied(tmp_path):
    for source in copied():
        root = stage.ROOT / source
        if root.is_dir():
            shutil.copytree(root, tmp_path / source, ignore=shutil.ignore_patterns("target", "artifacts", "corpus"))
        else:
            shutil.copy(root, tmp_path / source)
    command = ["cargo", "metadata", "--locked", "--offline", "--format-version", "1", "--no-deps"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    names = {package["name"] for package in json.loads(ran.stdout)["packages"]}
    assert {"igris-overture", "igris-load", "xtask"} <= names


def libraries(program):
    """What a program needs of the system; nothing, when it is static as a release is."""
    said = subprocess.run(["ldd", program], capture_output=True, text=True, timeout=20)
    return re.findall(r"(/\S+)", said.stdout) if said.returncode == 0 else []


@pytest.mark.skipif(not stage.IGRIS, reason="IGRIS names no program")
@pytest.mark.skipif(not stage.may_make_namespaces(), reason="no namespace may be made here")
def test_the_gateway_lives_in_an_empty_root(tmp_path):
    """Beside /proc and random bytes, which every engine gives, there is nothing: no /etc, no /tmp. Its own entry point, user and check of health."""
    last = stages()[-1]
    root = tmp_path / "root"
    places = [stage.IGRIS, *libraries(stage.IGRIS)]
    targets = ["/usr/bin/igris", *places[1:]]
    for source, target in zip(places, targets):
        there = root / target.lstrip("/")
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, there)
    (root / "proc").mkdir()
    (root / "dev").mkdir()
    for name, minor in (("null", 3), ("random", 8), ("urandom", 9)):
        os.mknod(root / "dev" / name, stat.S_IFCHR, os.makedev(1, minor))
        (root / "dev" / name).chmod(0o666)
    (state,) = values(last, "VOLUME")
    user, group = map(int, values(last, "USER")[0].split(":"))
    (root / state.lstrip("/")).mkdir(parents=True)
    os.chown(root / state.lstrip("/"), user, group)
    port = stage.free_port()
    words = [*json.loads(values(last, "ENTRYPOINT")[0]), *json.loads(values(last, "CMD")[0])]
    words = [re.sub(r"0\.0\.0\.0:8081", f"127.0.0.1:{port}", word) for word in words]
    env = {"PATH": "/usr/bin", "IGRIS_API_KEY": stage.SECRETS["IGRIS_API_KEY"], "OPENAI_API_KEY": stage.SECRETS["OPENAI_API_KEY"]}
    # Mounted in a namespace of the process's own, which takes the mount along when it ends.
    enter = 'mount --bind /proc "$0/proc" && exec "$1" "--userspec=$2" "$0" "${@:3}"'
    enter = ["unshare", "--mount", "bash", "-c", enter, str(root), shutil.which("chroot"), f"{user}:{group}"]
    health = f"http://127.0.0.1:{port}/v1/health/ready"
    gateway = stage.Gateway([*enter, *words], health, env=env, log=tmp_path / "log")
    try:
        (check,) = values(last, "HEALTHCHECK")
        check = json.loads(check.split("CMD", 1)[1])
        asked = subprocess.run([*enter, *check], capture_output=True, text=True, timeout=20, env=env)
        assert asked.returncode == 0, asked.stderr
        # By its bare name, too, as a probe calls it.
        asked = subprocess.run([*enter, "igris", *check[1:]], capture_output=True, text=True, timeout=20, env=env)
        assert asked.returncode == 0, asked.stderr
    finally:
        code = gateway.stop()
    assert code == 0, gateway.output()
    asked = subprocess.run([*enter, *check], capture_output=True, text=True, timeout=20, env=env)
    assert asked.returncode != 0, "a gateway that has ended is healthy"
    left = [path for path in root.rglob("*") if path.is_file() and not path.is_relative_to(root / state.lstrip("/"))]
    assert len(left) == len(targets), left


def test_paths_and_user_are_those_of_the_examples():
    last = stages()[-1]
    user = values(last, "USER")[0].split(":")[0]
    for example in ("config/kubernetes/gateway.yaml", "config/kubernetes/sidecar.yaml"):
        text = stage.text(example)
        assert f"runAsUser: {user}\n" in text
        assert f"mountPath: {values(last, 'VOLUME')[0]} " in text
        assert "--data-dir=" + re.search(r'"--data-dir", "([^"]+)"', values(last, "CMD")[0])[1] in text
    assert pathlib.Path(values(last, "WORKDIR")[0]) == pathlib.Path(values(last, "VOLUME")[0])
