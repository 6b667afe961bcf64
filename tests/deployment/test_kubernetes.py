"""The manifests: valid, in agreement with each other, and a mounted registry that reloads."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import kubernetes_validate
import pytest
from backends.redis_servers import free_port, until
from contrib import credentials as cred
from contrib.wire import request, websocket

from deployment.kubelet import Volume, documents, payload, pod
from deployment.site import EXAMPLES, SESSION_SECRET
from rpcguard import ConfigError, Verifier

CALL = b'{"jsonrpc":"2.0","id":7,"method":"rpcguard_whoami"}'
HTTPS = ("X-Forwarded-Proto", "https")
OTHER_SECRET = "another secret of more than 32 bytes"
MOUNT = "/etc/rpcguard"


def _filled(**secrets: str) -> dict[str, str]:
    """Return the volume's files: the shipped registry, and secrets in place of the references."""
    config = {
        name: text.replace("10.244.0.0/16", "127.0.0.1/32")
        for name, text in documents()["ConfigMap"]["data"].items()
    }
    secret = {
        "backend": "memory://?restart_guard=off",
        "bsc": cred.MEGANODE_SECRET,
        "session": SESSION_SECRET,
    }
    return payload(config, secret | secrets)


@dataclass
class Pod:
    """A running container of the Deployment: its port, its volume, and what it has logged."""

    port: int
    volume: Volume
    log: Path

    def accepts(self, secret: str) -> bool:
        (bearer,) = cred.meganode(secret=secret)
        status = request(self.port, "POST", "/v1/", [bearer, HTTPS], CALL).status
        assert status in (200, 401)
        return status == 200


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    mode: int = pod()["volumes"][0]["projected"]["defaultMode"]
    (tmp_path / "rpcguard").mkdir()
    return Volume(tmp_path / "rpcguard", mode)


@pytest.fixture
def running(volume: Volume, tmp_path: Path) -> Iterator[Pod]:
    volume.write(_filled())
    (container,) = pod()["containers"]
    port = free_port()
    placed = {"--host=0.0.0.0": "--host=127.0.0.1", "--port=8000": f"--port={port}"}
    arguments = [placed.pop(each, each) for each in container["args"]]
    assert not placed
    program, *rest = container["command"]
    environ = {
        each["name"]: each["value"].replace(MOUNT, str(volume.directory))
        for each in container["env"]
    }
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name(program)), *rest, *arguments],
            cwd=EXAMPLES,
            env=os.environ | environ,
            stdout=out,
            stderr=out,
        )
    try:
        probe = container["readinessProbe"]["httpGet"]["path"]
        until(lambda: request(port, "GET", probe).status == 200, "the pod is ready")
        yield Pod(port, volume, log)
    finally:
        process.terminate()
        process.wait(40)


@pytest.mark.parametrize("kind", documents())
def test_each_manifest_is_valid_for_kubernetes(kind: str) -> None:
    kubernetes_validate.validate(
        documents()[kind], kubernetes_validate.latest_version(), strict=True
    )


def test_a_misspelt_field_would_not_be_valid() -> None:
    document = documents()["Deployment"]
    document["spec"]["template"]["spec"]["runAsNonRoot"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_a_secret_that_is_not_filled_in_does_not_load(volume: Volume) -> None:
    files = payload(documents()["ConfigMap"]["data"], documents()["Secret"]["stringData"])
    volume.write(files | {"secrets/backend": "memory://"})
    with pytest.raises(ConfigError) as caught:
        Verifier.from_yaml(volume.directory / "registry.yaml", watch=False)
    wrong = {each.key for each in caught.value.problems}
    assert {"projects.bsc.secrets[0].secret", "projects.solana.session.secret"} <= wrong


def test_an_edited_secret_is_used_and_the_old_one_is_gone(running: Pod) -> None:
    assert running.accepts(cred.MEGANODE_SECRET)
    running.volume.write(_filled(bsc=OTHER_SECRET))
    until(lambda: running.accepts(OTHER_SECRET), "the new secret is used")
    assert not running.accepts(cred.MEGANODE_SECRET)


def test_a_bad_registry_changes_nothing_and_the_next_good_one_is_used(running: Pod) -> None:
    broken = _filled(bsc=OTHER_SECRET)
    broken["registry.yaml"] += "  oops: ["
    running.volume.write(broken)
    until(lambda: "registry not reloaded" in running.log.read_text(), "the fault is logged")
    assert running.accepts(cred.MEGANODE_SECRET)
    running.volume.write(_filled(bsc=OTHER_SECRET))
    until(lambda: running.accepts(OTHER_SECRET), "the new secret is used")


def test_an_open_websocket_outlives_the_reload(running: Pod) -> None:
    headers = [*cred.nodius(b"", method="GET", target="/ws/solana"), HTTPS]
    with websocket(running.port, "/ws/solana", headers) as (socket, answer):
        assert answer.status == 101
        running.volume.write(_filled(bsc=OTHER_SECRET))
        until(lambda: running.accepts(OTHER_SECRET), "the new secret is used")
        assert socket.call(CALL.decode())["result"]["subject"] == cred.PUBKEY


def test_the_pods_are_what_the_other_manifests_speak_of() -> None:
    found = documents()
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    (container,) = pod()["containers"]
    port = container["ports"][0]["name"]
    assert found["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert found["Service"]["spec"]["selector"] == labels
    assert found["Service"]["spec"]["ports"][0]["targetPort"] == port
    assert found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert (
        found["PodDisruptionBudget"]["spec"]["minAvailable"]
        < found["Deployment"]["spec"]["replicas"]
    )
    assert found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    assert found["NetworkPolicy"]["spec"]["ingress"][0]["ports"] == [{"port": port}]
    for probe in ("readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] == port


def test_the_registry_is_mounted_whole_and_read_only() -> None:
    (container,) = pod()["containers"]
    (mount,) = container["volumeMounts"]
    (variable,) = container["env"]
    assert mount == {"name": "registry", "mountPath": MOUNT, "readOnly": True}  # and no subPath
    assert variable == {"name": "RPCGUARD_REGISTRY", "value": f"{MOUNT}/registry.yaml"}


def test_the_server_ends_before_kubelet_kills_it() -> None:
    (container,) = pod()["containers"]
    options = dict(each.partition("=")[::2] for each in container["args"])
    patience = pod()["terminationGracePeriodSeconds"]
    assert int(options["--timeout-graceful-shutdown"]) < patience
