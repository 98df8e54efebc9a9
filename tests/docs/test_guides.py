"""The guides of api.md: each file in them is whole, and the script runs as the platform runs it."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import documents
import psutil
import pytest
from containers import ALONE, need_containers
from scripts import PACKAGE, bare_environment
from waiting import PATIENCE_S, wait_until

from supervisor._config import load

SECTIONS = {each.title: each.text for each in documents.sections("api.md")}
GUIDES = ("A container image", "Docker Compose", "Cloud Run jobs", "Kubernetes", "AWS Lambda", "GitHub Actions")
PROJECT = tomllib.loads((documents.ROOT / "pyproject.toml").read_text("utf-8"))["project"]
UID = 10001

PLACES: dict[str, tuple[dict[str, str], str, tuple[str, ...]]] = {
    "A container image": ({}, "", ()),
    "Docker Compose": ({"SUPERVISOR_HOST": "gis1"}, "gis1", ()),
    "Cloud Run jobs": (
        {
            "CLOUD_RUN_JOB": "parcels",
            "CLOUD_RUN_EXECUTION": "parcels-x7k2",
            "CLOUD_RUN_TASK_INDEX": "0",
            "CLOUD_RUN_TASK_COUNT": "1",
            "GOOGLE_CLOUD_PROJECT": "example-prod",
            "CLOUD_RUN_REGION": "us-west1",
        },
        "Cloud Run job parcels (execution parcels-x7k2), project example-prod",
        ("/run/jobs/executions/details/us-west1/parcels-x7k2", "/logs/query;query="),
    ),
    "Kubernetes": (
        {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "POD_NAME": "parcels-28471-abcde", "POD_NAMESPACE": "gis"},
        "pod parcels-28471-abcde in namespace gis",
        ("pod=parcels-28471-abcde&namespace=gis",),
    ),
    "AWS Lambda": (
        {
            "AWS_LAMBDA_FUNCTION_NAME": "loader",
            "AWS_REGION": "us-west-2",
            "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/loader",
            "AWS_LAMBDA_LOG_STREAM_NAME": "2026/03/01/[$LATEST]abc",
        },
        "AWS Lambda loader",
        ("lambda/home?region=us-west-2#/functions/loader", "log-events"),
    ),
    "GitHub Actions": (
        {
            "GITHUB_ACTIONS": "true",
            "GITHUB_REPOSITORY": "gis/parcels",
            "GITHUB_RUN_NUMBER": "42",
            "GITHUB_RUN_ID": "771",
            "GITHUB_SERVER_URL": "https://github.com",
        },
        "GitHub Actions, run 42 of gis/parcels",
        ("https://github.com/gis/parcels/actions/runs/771",),
    ),
}
"""What each platform sets in the environment; what messages then call the place, and parts of the links."""


def blocks(title: str, language: str) -> list[str]:
    """Return the blocks of a guide in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", SECTIONS[title], re.MULTILINE | re.DOTALL)


def yaml_of(title: str) -> Any:
    """Return the YAML of a guide."""
    yaml = pytest.importorskip("yaml", reason="PyYAML, which comes with the extra apprise, is not installed")
    (text,) = blocks(title, "yaml")
    return yaml.safe_load(text)


def written(folder: Path) -> Path:
    """Write the files that the guides share, with a run that fails where FAIL is set; return the script."""
    (script,) = blocks("Guides", "python")
    (configuration,) = blocks("Guides", "toml")
    fails = 'run.record(rows=12)\n    __import__("os").environ.get("FAIL") and (1 / 0)'
    (folder / "supervisor.toml").write_text(configuration)
    path = folder / "parcels.py"
    path.write_text(script.replace("run.record(rows=12)", fails))
    return path


def environment(**more: str) -> dict[str, str]:
    """Return what a container has in its environment, with messages that are printed."""
    there = {"PYTHONPATH": str(PACKAGE.parent), "SUPERVISOR_SEND": "console", "SENDGRID_API_KEY": "SG.a-key"}
    return bare_environment(**{**there, **more})


@pytest.mark.parametrize("title", GUIDES)
def test_a_failure_is_told_with_its_place_and_links(title: str, tmp_path: Path) -> None:
    """The script runs with the platform's variables; the message names the place, and links to it."""
    variables, label, links = PLACES[title]
    path = written(tmp_path)
    if template := re.search(r"`(links = \{.*?\})`", SECTIONS[title]):
        text = (tmp_path / "supervisor.toml").read_text().replace("[defaults]\n", f"[defaults]\n{template[1]}\n")
        (tmp_path / "supervisor.toml").write_text(text)
    done = subprocess.run(
        [sys.executable, str(path)], env=environment(FAIL="1", **variables), cwd=tmp_path, capture_output=True,
        stdin=subprocess.DEVNULL, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    message = " ".join(done.stdout.split())
    assert (done.returncode, "ZeroDivisionError" in message) == (1, True), done.stderr
    assert f"parcels failed on {label}" in message
    assert [each for each in links if each not in message] == []
    assert "-0700" in message or "-0600" in message, "the times are those of timezone"


def test_the_function_runs() -> None:
    """The handler of the Lambda answers as it does without supervision."""
    (text,) = blocks("AWS Lambda", "python")
    namespace: dict[str, Any] = {"__name__": "loader"}
    exec(text, namespace)
    assert namespace["handler"]({"rows": [1, 2]}, None) == {"rows": 2}


def variables_in(title: str) -> dict[str, str]:
    """Return the environment variables that a guide sets, where it says their values."""
    found: dict[str, str] = {}
    if title == "Docker Compose":
        found = yaml_of(title)["services"]["parcels"]["environment"]
    elif title == "Kubernetes":
        (container,) = yaml_of(title)["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
        found = {each["name"]: each.get("value", "") for each in container["env"]}
    elif title == "AWS Lambda":
        found = yaml_of(title)["Resources"]["Loader"]["Properties"]["Environment"]["Variables"]
    elif title == "GitHub Actions":
        (step,) = (each for each in yaml_of(title)["jobs"]["parcels"]["steps"] if "env" in each)
        found = step["env"]
    elif title == "A container image":
        found = dict(re.findall(r"^ENV (\w+)=(\S+)$", blocks(title, "dockerfile")[0], re.MULTILINE))
    return found


@pytest.mark.parametrize("title", GUIDES)
def test_the_variables_mean_something(title: str, tmp_path: Path) -> None:
    """No variable of ours is misspelt or has a value that is none, and the key of SendGrid gets to the script."""
    known = variables_in(title)
    ours = {
        name: text for name, text in known.items() if name.startswith("SUPERVISOR_") and name != "SUPERVISOR_CONFIG"
    }
    documented = set(re.findall(r"`(SUPERVISOR_\w+)`", SECTIONS["Environment variables"]))
    assert [name for name in ours if name not in documented] == []
    loaded = load(tmp_path, {**ours, "SUPERVISOR_CONFIG": os.devnull})
    assert (loaded.problems, loaded.warnings) == ((), ())
    if title != "A container image":
        assert "SENDGRID_API_KEY" in SECTIONS[title]


def test_what_is_mounted_is_where_the_journal_is(tmp_path: Path) -> None:
    """The volumes of Compose and Kubernetes are above the state directory that the image names."""
    state = Path(variables_in("A container image")["SUPERVISOR_STATE"])
    services = yaml_of("Docker Compose")["services"]
    mounts = {each["volumes"][0].partition(":")[2] for each in services.values()}
    pod = yaml_of("Kubernetes")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    mounts.add(pod["containers"][0]["volumeMounts"][0]["mountPath"])
    assert mounts == {str(state.parent)}
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == UID
    grace_s = int(variables_in("Kubernetes")["SUPERVISOR_KILL_GRACE_S"])
    assert grace_s < pod["terminationGracePeriodSeconds"]
    assert services["parcels"]["stop_grace_period"] == "30s"


def test_the_function_is_where_the_template_says() -> None:
    """The template of Lambda names the module and the function of the guide, and a configuration beside it."""
    properties = yaml_of("AWS Lambda")["Resources"]["Loader"]["Properties"]
    (text,) = blocks("AWS Lambda", "python")
    module, _, function = properties["Handler"].partition(".")
    assert text.startswith(f"# {module}.py\n")
    assert f"def {function}(event, context):" in text


def test_the_journal_of_a_workflow_is_kept_after_a_failure_too() -> None:
    """What the cache saves is what it restores and where the script has its journal, whatever became of the script."""
    steps = yaml_of("GitHub Actions")["jobs"]["parcels"]["steps"]
    restored, saved = (each for each in steps if "cache" in each.get("uses", ""))
    assert restored["with"]["path"] == saved["with"]["path"]
    assert variables_in("GitHub Actions")["SUPERVISOR_STATE"].endswith(f"/{saved['with']['path']}")
    assert (saved["if"], steps[-1]) == ("always()", saved)


def instructions() -> dict[str, list[str]]:
    """Return the instructions of the Dockerfile."""
    found: dict[str, list[str]] = {}
    for line in blocks("A container image", "dockerfile")[0].splitlines():
        name, _, rest = line.partition(" ")
        found.setdefault(name, []).append(rest)
    return found


def test_the_image_has_all_that_it_needs() -> None:
    """The package is ours, the files are those of the guides, the user has a number, and no shell is process 1."""
    image = instructions()
    named = re.search(r'"([\w-]+)(?:\[\w+\])?>=4"', image["RUN"][0])
    assert named is not None
    assert named[1] == PROJECT["name"]
    *sources, target = image["COPY"][0].split()
    assert sources == ["parcels.py", "supervisor.toml"]
    assert target == "./"
    assert image["USER"] == [f"{UID}:{UID}"]
    assert json.loads(image["CMD"][0]) == ["python", "parcels.py"]
    used = {each for title in GUIDES for each in re.findall(r"[\w-]+(?=>=4)", SECTIONS[title])}
    assert used == {PROJECT["name"]}


def test_a_container_that_is_stopped_tells_so(tmp_path: Path) -> None:
    """As process 1, with a number for a user and no home, it hears SIGTERM, tells, and leaves its journal."""
    need_containers()
    as_user = ("unshare", "--user", f"--map-user={UID}", f"--map-group={UID}", *ALONE[1:])
    tried = subprocess.run([*as_user, "id", "-u"], capture_output=True, text=True, check=False)
    if tried.stdout != f"{UID}\n":
        pytest.skip(f"no namespace for another user here: {tried.stderr}")
    path = written(tmp_path)
    waits = 'run.record(rows=12); print("ready", flush=True); __import__("time").sleep(60)'
    path.write_text(path.read_text().replace("run.record(rows=12)", waits, 1))
    with subprocess.Popen(
        [*as_user, sys.executable, str(path)], cwd=tmp_path, text=True,
        env=environment(SUPERVISOR_STATE=str(tmp_path / "state"), SUPERVISOR_HEARTBEAT_S="60", SUPERVISOR_JOURNAL="1"),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate(timeout=PATIENCE_S)
        wait_until(lambda: psutil.Process(process.pid).children())
        psutil.Process(process.pid).children()[0].send_signal(signal.SIGTERM)
        stdout, stderr = process.communicate(timeout=PATIENCE_S)
    assert "parcels was terminated" in " ".join(stdout.split()), stderr
    assert process.returncode == 128 + signal.SIGTERM
    assert (tmp_path / "state" / "journal.sqlite3").exists()


def test_the_commands_of_google_are_whole() -> None:
    """The two commands name one job, one region and one project, and the zone of the configuration."""
    (text,) = blocks("Cloud Run jobs", "text")
    deploy, schedule = (shlex.split(each) for each in text.splitlines())
    options = dict(each.removeprefix("--").split("=", 1) for each in (*deploy, *schedule) if each.startswith("--"))
    assert deploy[:5] == ["gcloud", "run", "jobs", "deploy", "parcels"]
    assert schedule[:5] == ["gcloud", "scheduler", "jobs", "create", "http"]
    assert options["uri"].endswith(f"/projects/example-prod/locations/{options['region']}/jobs/parcels:run")
    (configuration,) = blocks("Guides", "toml")
    assert options["time-zone"] == tomllib.loads(configuration)["defaults"]["timezone"]
