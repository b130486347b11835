"""The image, the compose file and the Kubernetes manifests: as far as they can be checked without an engine that runs them.

They parse, every command in them exists, every setting is one of ours, ports and probes fit, and what they start works as
processes with the same arguments and settings.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import yaml
from click.testing import CliRunner

from agent_memory_server.cli import cli
from agent_memory_server.config import Settings
from tests.cli.commands import CommandLine
from tests.redis_server import running_redis
from tests.server_process import ServerProcess
from tests.tasks.workers import WorkerProcess
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
MANIFESTS = sorted((ROOT / "deploy" / "kubernetes").glob("*.yaml"))
PLAIN_IMAGE = re.compile(r"[a-z0-9-]+(:[a-z0-9.-]+)?")
NOT_SETTINGS = {"PATH", "PYTHONUNBUFFERED", "REDIS_PASSWORD", "REDISCLI_AUTH"}

Document = dict[str, Any]


def documents() -> Iterator[Document]:
    for file in MANIFESTS:
        yield from cast("list[Document]", [each for each in yaml.safe_load_all(file.read_text()) if each])


def of_kind(kind: str) -> dict[str, Document]:
    return {each["metadata"]["name"]: each for each in documents() if each["kind"] == kind}


def containers() -> dict[str, Document]:
    """Ours, by deployment."""
    return {name: each["spec"]["template"]["spec"]["containers"][0] for name, each in of_kind("Deployment").items()}


def composed() -> Document:
    return cast(Document, yaml.safe_load((ROOT / "docker-compose.yml").read_text()))


def own_services() -> dict[str, Document]:
    return {name: each for name, each in composed()["services"].items() if name != "redis"}


def instructions() -> list[tuple[str, str]]:
    """(instruction, argument) of the Dockerfile, in order."""
    text = (ROOT / "Dockerfile").read_text()
    joined = "\n".join(line for line in text.splitlines() if not line.startswith("#")).replace("\\\n", " ")
    return [(line.partition(" ")[0], line.partition(" ")[2].strip()) for line in joined.splitlines() if line.strip()]


def health_command() -> list[str]:
    (said,) = [argument for name, argument in instructions() if name == "HEALTHCHECK"]
    return json.loads(said.partition("CMD ")[2])


# -- the image --------------------------------------------------------------------------------------------------------


def test_the_image_is_small_and_not_root() -> None:
    """Two stages of a pinned slim Python, a numeric user, nothing fetched by hand, exec forms, and a health check."""
    found = instructions()
    bases = [argument for name, argument in found if name == "FROM"]
    assert [base.partition(" ")[0] for base in bases] == ["python:${PYTHON_VERSION}-slim-${DEBIAN_RELEASE}"] * 2
    assert ("ARG", f"PYTHON_VERSION={sys.version_info.major}.{sys.version_info.minor}") in found or sys.version_info > (
        3,
        12,
    )
    last = found[[name for name, _ in found].index("FROM", 4) :]
    (user,) = [argument for name, argument in last if name == "USER"]
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user)
    assert not {name for name, _ in found} & {"ADD", "MAINTAINER"}
    for name, argument in found:
        assert "curl" not in argument
        assert "sudo" not in argument
        if name in ("ENTRYPOINT", "CMD"):
            assert isinstance(json.loads(argument), list), f"{name} is not in exec form"
        if name == "RUN" and "pip install" in argument:
            assert "--no-cache-dir" in argument
    copied = " ".join(argument for name, argument in last if name == "COPY")
    assert copied.startswith("--from=build"), "the source goes no further than the first stage"


def test_the_image_is_built_from_what_is_there() -> None:
    """Everything that is copied exists and is let through, and everything that the package is built from is copied."""
    copied = {
        part.removeprefix("./")
        for name, argument in instructions()
        if name == "COPY" and not argument.startswith("--from")
        for part in argument.split()[:-1]
    }
    admitted = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for each in copied:
        assert (ROOT / each).exists()
        assert any(line == each or line.startswith(each + "/") for line in admitted), each
    assert _needed_to_build() <= {*copied, *admitted}
    assert "agent_memory_server" in copied


def _needed_to_build() -> set[str]:
    """What pyproject.toml reads beside the package itself: its own text, licences, files put in and build hooks."""
    read = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project, wheel = read["project"], read["tool"]["hatch"]["build"]["targets"]["wheel"]
    hooks = {**read["tool"]["hatch"]["build"].get("hooks", {}), **wheel.get("hooks", {})}
    scripts = {hook.get("path", "hatch_build.py") for name, hook in hooks.items() if name == "custom"}
    return {"pyproject.toml", project["readme"], *project["license-files"], *wheel.get("force-include", {}), *scripts}


def test_the_health_check_tells_a_server_from_none(tmp_path: Path) -> None:
    """The command of the image's HEALTHCHECK, run beside a real server and after its end."""
    command = [sys.executable, *health_command()[1:]]
    with ServerProcess(tmp_path / "data") as server:
        environment = {"PORT": str(server.port)}
        assert subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0
        server.kill()
        assert subprocess.run(command, env=environment, capture_output=True, check=False).returncode != 0


# -- names in all of them ---------------------------------------------------------------------------------------------


def _commands() -> dict[str, list[str]]:
    (default,) = [json.loads(argument) for name, argument in instructions() if name == "CMD"]
    return {
        "Dockerfile": default,
        **{f"compose {name}": each["command"] for name, each in own_services().items()},
        **{f"kubernetes {name}": each["args"] for name, each in containers().items()},
    }


@pytest.mark.parametrize("place", sorted(_commands()))
def test_every_command_is_one_of_ours(place: str) -> None:
    """Its arguments are read as they are written, up to the help that stands in for running it."""
    outcome = CliRunner().invoke(cli, [*_commands()[place], "--help"])
    assert outcome.exit_code == 0, outcome.output
    assert outcome.output.startswith("Usage:")


def _told() -> Iterator[tuple[str, str]]:
    for name, argument in instructions():
        if name == "ENV":
            yield from (("Dockerfile", each.partition("=")[0]) for each in shlex.split(argument))
    for name, each in own_services().items():
        yield from ((f"compose {name}", variable) for variable in each["environment"])
    for name, each in of_kind("ConfigMap").items():
        yield from ((f"ConfigMap {name}", variable) for variable in each["data"])
    for name, each in containers().items():
        yield from ((f"container {name}", variable["name"]) for variable in each.get("env", ()))


def test_every_variable_is_a_setting() -> None:
    """A name that no setting has would be silently without effect."""
    fields = {name.upper() for name in Settings.model_fields}
    assert [each for each in _told() if each[1] not in fields | NOT_SETTINGS] == []


def test_images_are_named_plainly() -> None:
    """No registry's host, nothing called latest, and one name for ours."""
    named = [each["image"] for each in composed()["services"].values()]
    for each in (*of_kind("Deployment").values(), *of_kind("StatefulSet").values()):
        named += [container["image"] for container in each["spec"]["template"]["spec"]["containers"]]
    for each in named:
        assert PLAIN_IMAGE.fullmatch(each), each
        assert not each.endswith(":latest")
    assert set(named) == {"agent-memory", "redis:8"}


# -- compose ----------------------------------------------------------------------------------------------------------


def test_compose_publishes_to_this_machine_only() -> None:
    """There is no authentication in it, so every published port is loopback's and leads to the port that is served."""
    for name, each in composed()["services"].items():
        for port in each.get("ports", ()):
            address, outside, inside = port.split(":")
            assert (address, outside) == ("127.0.0.1", inside)
            assert ["--port", inside] == each["command"][-2:] or inside in each["command"], name
        assert name == "redis" or each["depends_on"]["redis"]["condition"] == "service_healthy"
    assert "ports" not in composed()["services"]["redis"]
    assert "--appendonly yes" in " ".join(composed()["services"]["redis"]["command"])


# -- Kubernetes -------------------------------------------------------------------------------------------------------


def test_manifests_are_complete_and_fit_together() -> None:
    """Every file is applied; selectors, ports, volumes and references name what is there."""
    listed = yaml.safe_load((ROOT / "deploy" / "kubernetes" / "kustomization.yaml").read_text())["resources"]
    assert sorted([*listed, "kustomization.yaml"]) == [file.name for file in MANIFESTS]
    workloads = {**of_kind("Deployment"), **of_kind("StatefulSet")}
    assert set(workloads) == {"api", "mcp", "task-worker", "redis"}
    for name, each in workloads.items():
        template = each["spec"]["template"]
        assert each["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
        (container,) = template["spec"]["containers"]
        volumes = {volume["name"] for volume in template["spec"].get("volumes", ())}
        volumes |= {claim["metadata"]["name"] for claim in each["spec"].get("volumeClaimTemplates", ())}
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
        ports = {port["name"]: port["containerPort"] for port in container.get("ports", ())}
        service = of_kind("Service").get(name)
        assert (service is None) == (not ports)
        for port in () if service is None else service["spec"]["ports"]:
            assert port.get("targetPort", port["name"]) in ports
    config, secrets = of_kind("ConfigMap"), {"agent-memory"}
    for each in containers().values():
        for source in each["envFrom"]:
            for kind, reference in source.items():
                assert reference["name"] in (config if kind == "configMapRef" else secrets)


def test_probes_ask_paths_that_exist() -> None:
    """Alive is not ready: a pod whose Redis is away stops getting requests, and is not killed."""
    for name in ("api", "mcp"):
        container = containers()[name]
        paths = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
        assert paths == {"startup": "/v1/health", "liveness": "/v1/health", "readiness": "/v1/ready"}
        assert str(container["ports"][0]["containerPort"]) in container["args"]


def test_pods_may_do_little() -> None:
    """Not root, no privileges, a read-only file system, limits, no credentials of the cluster, no variables of services."""
    for name, each in of_kind("Deployment").items():
        spec = each["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert (spec["automountServiceAccountToken"], spec["enableServiceLinks"]) == (False, False)
        rights = container["securityContext"]
        assert (rights["allowPrivilegeEscalation"], rights["readOnlyRootFilesystem"]) == (False, True)
        assert rights["capabilities"]["drop"] == ["ALL"]
        assert container["resources"]["limits"]["memory"], name
    assert of_kind("ConfigMap")["agent-memory"]["data"]["AUTH_MODE"] == "token"
    (policy,) = of_kind("NetworkPolicy").values()
    (admitted,) = policy["spec"]["ingress"][0]["from"]
    labels: Mapping[str, str] = admitted["podSelector"]["matchLabels"]
    for each in of_kind("Deployment").values():
        assert labels.items() <= each["spec"]["template"]["metadata"]["labels"].items()


# -- and they run -----------------------------------------------------------------------------------------------------


def test_what_compose_starts_works_together(tmp_path: Path) -> None:
    """Its commands with its settings, as processes on a real Redis: probes answer, the worker does what the server leaves."""
    services = own_services()
    started = partial(ServerProcess, from_nothing=True)
    (tmp_path / "redis").mkdir()
    with running_redis(tmp_path / "redis", *services_redis_options()) as redis:

        def settings(name: str) -> dict[str, str]:
            told = {key: value for key, value in services[name]["environment"].items() if "${" not in value}
            # The image's address would be this machine's; here only loopback is bound.
            return {**told, "REDIS_URL": redis.url, "HOST": "127.0.0.1", "MCP_HOST": "127.0.0.1"}

        def arguments(name: str) -> list[str]:
            # The test's own port comes last and wins.
            return services[name]["command"]

        with (
            started(tmp_path / "api", environment=settings("api"), arguments=arguments("api")) as api,
            started(tmp_path / "mcp", environment=settings("mcp"), arguments=arguments("mcp")) as mcp,
            WorkerProcess(
                tmp_path,
                settings("task-worker"),
                plain=False,
                queue_name="memory-server",
                arguments=arguments("task-worker"),
                from_nothing=True,
            ),
            httpx.Client(timeout=10) as client,
        ):
            for server in (api, mcp):
                for path in ("/v1/health", "/v1/ready"):
                    assert client.get(server.url + path).status_code == 200, (server.log, path)
            said = {
                "messages": [],
                "memories": [{"id": "m1", "text": "Ana likes green tea", "memory_type": "semantic"}],
            }
            client.put(f"{api.url}/v1/working-memory/s1", json=said).raise_for_status()
            wait_until(lambda: client.get(f"{api.url}/v1/long-term-memory/m1").status_code == 200, "not promoted", 20)
            assert client.get(f"{mcp.url}/mcp", headers={"host": "elsewhere.example"}).status_code == 421


def test_what_the_manifests_start_asks_for_a_token(tmp_path: Path) -> None:
    """With their settings: the commands are those of compose, probes need no credential, data do, and the documented command
    makes the first token."""
    for name, each in containers().items():
        assert each["args"] == own_services()[name]["command"]
    (tmp_path / "redis").mkdir()
    with running_redis(tmp_path / "redis", *services_redis_options()) as redis:
        environment = {**of_kind("ConfigMap")["agent-memory"]["data"], "REDIS_URL": redis.url, "HOST": "127.0.0.1"}
        page = (ROOT / "docs" / "operations" / "containers.md").read_text()
        (make_token,) = re.findall(r"exec deploy/api -- agent-memory (token add .*)", page)
        with (
            ServerProcess(tmp_path / "api", environment=environment, arguments=containers()["api"]["args"]) as api,
            api.client() as client,
        ):
            assert client.get("/v1/ready").status_code == 200
            assert client.get("/v1/long-term-memory").status_code == 401
            commands = CommandLine(folder=tmp_path, environment=environment)
            made = json.loads(commands.done(*shlex.split(make_token), "--format", "json"))
            bearer = {"Authorization": f"Bearer {made['token']}"}
            assert client.get("/v1/long-term-memory", headers=bearer).status_code == 200


def services_redis_options() -> list[str]:
    """What compose tells Redis, without the program's name."""
    return composed()["services"]["redis"]["command"][1:]
