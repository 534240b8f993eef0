"""The chart and the examples for Kubernetes: linted, rendered, held to Kubernetes' own schemas, and their configurations tried on the gateway."""

import json
import os
import re
import subprocess

import kubernetes_validate
import pytest
import stage
import yaml

CHART = "config/helm/igris"
GATEWAY = "config/kubernetes/gateway.yaml"
SIDECAR = "config/kubernetes/sidecar.yaml"
# From the oldest that the chart takes to the newest whose schemas there are.
VERSIONS = ["1.30", "1.33", "1.37"]
GATEWAY_HEAD = "# The gateway for a namespace, as `helm template igris config/helm/igris` writes it: for those who do not use Helm.\n"
# Each reaches templates that the values of the chart leave out.
VALUES = {
    "as it is": {},
    "everything": {
        "replicas": 3,
        "image": {"repository": "r.example/igris", "digest": "sha256:" + "0" * 64, "pullPolicy": "Always"},
        "imagePullSecrets": [{"name": "pull"}],
        "restartOnChange": True,
        "tls": True,
        "service": {"type": "LoadBalancer", "port": 80, "annotations": {"example.com/a": "true"}},
        "metrics": {"port": 9999},
        "drain": {"preStop": 30, "streams": 600},
        "persistence": {"data": {"size": "1Ti", "storageClass": "fast"}, "key": {"size": "64Mi", "storageClass": "safe"}},
        "networkPolicy": {"enabled": True, "metricsFrom": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}]},
        "podAnnotations": {"example.com/b": "1"},
        "nodeSelector": {"kubernetes.io/arch": "amd64"},
        "tolerations": [{"key": "gateway", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
        "extraArgs": ["--fleet-label=eu 1"],
    },
    "nothing more": {"podDisruptionBudget": {"enabled": False}, "networkPolicy": {"enabled": True}},
}
REFUSED = {
    "a misspelt key": {"replica": 3},
    "fewer than none": {"replicas": -1},
    "less than streams have": {"drain": {"streams": 60}},
    "a digest that is none": {"image": {"digest": "sha256:abc"}},
    "a size without a unit": {"persistence": {"data": {"size": "10"}}},
    "no configuration": {"config": ""},
}


def run(helm, *words, values=None):
    command = [helm, *words]
    stdin = None
    if values is not None:
        command += ["--values", "-"]
        stdin = json.dumps(values)
    # Of the person's own repositories and plugins nothing is asked.
    env = {"HOME": str(stage.SCRATCH), "PATH": os.environ["PATH"]}
    return subprocess.run(command, cwd=stage.ROOT, input=stdin, capture_output=True, text=True, timeout=60, env=env)


def rendered(helm, values=None):
    ran = run(helm, "template", "igris", CHART, "--namespace", "igris", values=values or {})
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def documents(text):
    return [document for document in yaml.safe_load_all(text) if document]


def of_kind(text, kind):
    return [document for document in documents(text) if document["kind"] == kind]


def pod_of(text):
    (workload,) = of_kind(text, "StatefulSet") + of_kind(text, "Deployment")
    return workload["spec"]["template"]["spec"]


def containers(pod):
    return pod.get("initContainers", []) + pod["containers"]


def igris_of(pod):
    (found,) = [container for container in containers(pod) if container["name"] == "igris"]
    return found


def grace_needed(pod):
    """Seconds until the last stream is over: what the kubelet waits before SIGTERM, and what the gateway gives them after it."""
    hook = igris_of(pod).get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    return hook + stage.stream_grace()


@pytest.fixture(scope="module")
def examples(helm):
    return {"chart": rendered(helm), "gateway": stage.text(GATEWAY), "sidecar": stage.text(SIDECAR)}


def test_the_chart_has_no_fault(helm):
    ran = run(helm, "lint", "--strict", CHART)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_what_it_says_after_an_installation_is_true(helm):
    ran = run(helm, "install", "igris", CHART, "--dry-run=client", "--namespace", "team", values={"replicas": 2})
    assert ran.returncode == 0, ran.stderr
    notes = ran.stdout.split("NOTES:\n", 1)[1]
    (service, *_) = of_kind(rendered(helm), "Service")
    assert f"http://{service['metadata']['name']}.team:{service['spec']['ports'][0]['port']}\n" in notes
    assert "2 replicas: each has its own store" in notes
    (folder,) = re.findall(r"--data-dir=(\S+)", " ".join(igris_of(pod_of(rendered(helm)))["args"]))
    assert f"igris admin --socket {folder}/admin.sock reload" in notes


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", VALUES)
def test_what_it_renders_is_what_kubernetes_takes(helm, name, version):
    found = documents(rendered(helm, VALUES[name]))
    assert len(found) >= 5
    for document in found:
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("name", REFUSED)
def test_values_that_make_no_sense_are_refused(helm, name):
    ran = run(helm, "template", "igris", CHART, values=REFUSED[name])
    assert ran.returncode != 0
    assert "values don't meet the specifications of the schema" in ran.stderr, ran.stderr


def test_every_value_is_used(helm):
    """A value that changes nothing is a promise that nobody keeps."""
    plain = rendered(helm)
    for key, value in VALUES["everything"].items():
        if key == "networkPolicy":
            value = {"enabled": True}
        assert rendered(helm, {key: value}) != plain, key
    assert set(VALUES["everything"]) | {"config", "secrets", "resources", "podDisruptionBudget"} == set(yaml.safe_load(stage.text(f"{CHART}/values.yaml")))


def test_the_example_is_what_the_chart_renders(helm):
    blocks = [block for block in re.split(r"^---\n(?:# Source: .*\n)?", rendered(helm), flags=re.M) if block.strip()]
    written = GATEWAY_HEAD + "---\n".join(block.strip() + "\n" for block in blocks)
    if os.environ.get("IGRIS_WRITE_DOCS"):
        (stage.ROOT / GATEWAY).write_text(written, encoding="utf-8")
    assert stage.text(GATEWAY) == written, "write it anew: IGRIS_WRITE_DOCS=1 cargo xtask deployment"


def test_the_versions_agree():
    chart = yaml.safe_load(stage.text(f"{CHART}/Chart.yaml"))
    assert chart["appVersion"] == stage.version() and chart["version"] == stage.version()
    assert igris_of(pod_of(stage.text(SIDECAR)))["image"].endswith(":" + stage.version())


@pytest.mark.parametrize("version", VERSIONS)
def test_the_examples_are_what_kubernetes_takes(examples, version):
    for document in documents(examples["sidecar"]) + documents(examples["gateway"]):
        kubernetes_validate.validate(document, version, strict=True)


def test_a_pod_has_the_time_that_its_streams_have(examples, helm):
    pods = [pod_of(text) for text in examples.values()]
    pods += [pod_of(rendered(helm, {"drain": {"preStop": 60, "streams": 900}}))]
    for pod in pods:
        assert pod["terminationGracePeriodSeconds"] >= grace_needed(pod) + 15
    assert pods[-1]["terminationGracePeriodSeconds"] >= 60 + 900


def test_nothing_runs_with_more_rights_than_it_needs(examples):
    for text in examples.values():
        pod = pod_of(text)
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True and pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        # Otherwise each start opens root.key to the group, and the gateway refuses to serve.
        assert pod["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"
        assert not any(pod.get(word) for word in ("hostNetwork", "hostPID", "hostIPC"))
        assert not any("hostPath" in volume for volume in pod["volumes"])
        for container in containers(pod):
            rights = container["securityContext"]
            assert rights["allowPrivilegeEscalation"] is False and rights["capabilities"]["drop"] == ["ALL"]
            assert "memory" in container["resources"]["limits"] and "cpu" in container["resources"]["requests"]
        assert igris_of(pod)["securityContext"]["readOnlyRootFilesystem"] is True


def test_probes_speak_what_the_listener_speaks(helm, examples):
    def schemes(text):
        container = igris_of(pod_of(text))
        probes = [container[key] for key in ("startupProbe", "livenessProbe", "readinessProbe")]
        return {probe["httpGet"].get("scheme", "HTTP") for probe in probes}

    assert schemes(examples["chart"]) == {"HTTP"}
    assert schemes(rendered(helm, {"tls": True})) == {"HTTPS"}


def test_no_secret_is_in_a_release(examples):
    for text in examples.values():
        assert not of_kind(text, "Secret")
        for container in containers(pod_of(text)):
            for variable in container.get("env", []):
                assert "KEY" not in variable["name"] or "value" not in variable, variable


def test_the_data_folder_is_no_mount_itself(examples):
    """The gateway makes it 0700; were it the mount, the kubelet would see a mismatch at every start and open its files to the group."""
    for text in examples.values():
        container = igris_of(pod_of(text))
        (folder,) = [word.split("=", 1)[1] for word in container["args"] if word.startswith("--data-dir=")]
        mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
        assert folder not in mounts and any(folder.startswith(mount + "/") for mount in mounts)


@pytest.mark.skipif(not stage.IGRIS, reason="IGRIS names no program")
@pytest.mark.parametrize("name", ["chart", "sidecar"])
def test_its_configuration_serves_and_its_probes_are_answered(examples, name, tmp_path):
    """The very ConfigMap and arguments, with the paths and ports of a container put onto this machine."""
    container = igris_of(pod_of(examples[name]))
    (config,) = of_kind(examples[name], "ConfigMap")
    ports = {str(port): str(stage.free_port()) for port in (8081, 9464)}
    places = {mount["mountPath"]: tmp_path / str(number) for number, mount in enumerate(container["volumeMounts"])}

    def here(text):
        for path, place in sorted(places.items(), key=lambda pair: -len(pair[0])):
            text = text.replace(path + "/", f"{place}/")
        # Loopback alone: nothing of a test is to be reached from elsewhere.
        return re.sub(r"0\.0\.0\.0:|127\.0\.0\.1:", "127.0.0.1:", re.sub(r":(8081|9464)\b", lambda port: ":" + ports[port[1]], text))

    for place in places.values():
        place.mkdir()
    for key, value in stage.SECRETS.items():
        (places["/etc/igris/secrets"] / key).write_text(value + "\n")
    (places["/etc/igris/config"] / "igris.toml").write_text(here(config["data"]["igris.toml"]))
    probes = [container[key] for key in ("startupProbe", "livenessProbe", "readinessProbe") if key in container]
    assert len(probes) >= 2
    health = f"http://127.0.0.1:{ports['8081']}/v1/health/live"
    gateway = stage.Gateway([stage.IGRIS, *map(here, container["args"])], health, log=tmp_path / "log")
    try:
        for probe in probes:
            if "httpGet" in probe:
                assert probe["httpGet"]["port"] == "http"
                assert stage.status(f"http://127.0.0.1:{ports['8081']}{probe['httpGet']['path']}") == 200
            else:
                program, *words = map(here, probe["exec"]["command"])
                assert program == "igris"
                assert subprocess.run([stage.IGRIS, *words], capture_output=True, timeout=20).returncode == 0
        if name == "chart":
            assert stage.status(f"http://127.0.0.1:{ports['9464']}/metrics") == 200
    finally:
        code = gateway.stop()
    assert code == 0, gateway.output()
    assert stage.SECRETS["OPENAI_API_KEY"] not in gateway.output()
