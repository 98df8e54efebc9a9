"""What people call the place where a run runs, and where they find it in a browser."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from journal_kit import output_of, python

from supervisor._exceptions import facts
from supervisor._places import PLACE_VARIABLES, hosting
from supervisor._places.hosting import ask_metadata, place_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ANSWERS = {
    "/computeMetadata/v1/project/project-id": "example-prod",
    "/computeMetadata/v1/instance/region": "projects/1/regions/us-west3",
}
NOWHERE = {"GCE_METADATA_HOST": "127.0.0.1:9"}
JOB = {"CLOUD_RUN_JOB": "wmrc", "CLOUD_RUN_EXECUTION": "wmrc-x7k2", "CLOUD_RUN_TASK_COUNT": "1"}
LAMBDA = {
    "AWS_LAMBDA_FUNCTION_NAME": "loader",
    "AWS_REGION": "eu-central-1",
    "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/loader",
    "AWS_LAMBDA_LOG_STREAM_NAME": "2026/03/01/[$LATEST]ab",
}
GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_REPOSITORY": "org/repo",
    "GITHUB_RUN_ID": "9001",
    "GITHUB_RUN_NUMBER": "42",
    "GITHUB_SERVER_URL": "https://github.com",
}
GITLAB = {
    "GITLAB_CI": "true",
    "CI_JOB_NAME": "load",
    "CI_PROJECT_PATH": "gis/parcels",
    "CI_JOB_URL": "https://gitlab.example/gis/parcels/-/jobs/7",
}


class _Metadata(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        answer = ANSWERS.get(self.path) if self.headers["Metadata-Flavor"] == "Google" else None
        self.send_response(200 if answer else 403)
        self.end_headers()
        self.wfile.write((answer or "<html>no</html>").encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def metadata() -> Iterator[str]:
    """Return the address of a metadata server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Metadata) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


AZURE = {
    "FUNCTIONS_WORKER_RUNTIME": "python",
    "WEBSITE_SITE_NAME": "gis",
    "WEBSITE_SLOT_NAME": "Production",
    "WEBSITE_RESOURCE_GROUP": "parcels",
    "WEBSITE_OWNER_NAME": "0000-11+parcels-WestUS3webspace-Linux",
    "REGION_NAME": "West US 3",
}


@pytest.mark.parametrize(
    ("environment", "label"),
    [
        (JOB | NOWHERE, "Cloud Run job wmrc (execution wmrc-x7k2)"),
        (
            JOB | {"CLOUD_RUN_TASK_COUNT": "10", "CLOUD_RUN_TASK_INDEX": "2", "GOOGLE_CLOUD_PROJECT": "p"} | NOWHERE,
            "Cloud Run job wmrc (execution wmrc-x7k2, task 3 of 10), project p",
        ),
        ({"K_SERVICE": "api", "K_REVISION": "api-00002"} | NOWHERE, "Cloud Run service api (revision api-00002)"),
        ({"K_SERVICE": "loader", "FUNCTION_TARGET": "main"} | NOWHERE, "Cloud Function loader"),
        (LAMBDA, "AWS Lambda loader"),
        (GITHUB, "GitHub Actions, run 42 of org/repo"),
        (GITHUB | {"GITHUB_RUN_ATTEMPT": "2"}, "GitHub Actions, run 42 (attempt 2) of org/repo"),
        (GITLAB, "GitLab CI, job load of gis/parcels"),
        ({"FUNCTIONS_WORKER_RUNTIME": "python", "WEBSITE_SITE_NAME": "gis"}, "Azure Functions app gis"),
        (AZURE | {"WEBSITE_SLOT_NAME": "staging"}, "Azure Functions app gis (slot staging)"),
        ({"HOME": "/root"}, ""),
        ({"CLOUD_RUN_JOB": ""}, ""),
    ],
)
def test_a_place_is_called_what_people_look_for(environment: dict[str, str], label: str) -> None:
    """The environment says what it is; where it says nothing, the host's name is all there is."""
    assert place_of(environment).label == label


def test_an_azure_app_has_a_link_where_its_owner_is_known() -> None:
    """The portal finds an app by its subscription and resource group."""
    page = "https://portal.azure.com/#resource/subscriptions/0000-11/resourceGroups/parcels/providers/Microsoft.Web/sites/gis"
    found = place_of(AZURE)
    assert (found.label, found.links) == ("Azure Functions app gis", (("Function app", page),))
    assert place_of({**AZURE, "WEBSITE_OWNER_NAME": ""}).links == ()


def test_a_pod_has_its_name_and_its_namespace(tmp_path: Path) -> None:
    """The namespace is in a file of every pod; the downward API may say both."""
    file = tmp_path / "namespace"
    file.write_text("gis")
    pod = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "HOSTNAME": "parcels-28471-abcde"}
    found = place_of(pod, str(file))
    assert found.label == "pod parcels-28471-abcde in namespace gis"
    assert dict(found.facts) == {"pod": "parcels-28471-abcde", "namespace": "gis"}
    assert place_of(pod | {"POD_NAME": "p", "POD_NAMESPACE": "n"}, str(file)).label == "pod p in namespace n"
    assert place_of(pod, str(tmp_path / "missing")).label == "pod parcels-28471-abcde"


def test_the_metadata_server_knows_the_project_and_the_region(metadata: str) -> None:
    """Cloud Run says neither in the environment."""
    found = place_of(JOB | {"GCE_METADATA_HOST": metadata})
    assert found.label == "Cloud Run job wmrc (execution wmrc-x7k2), project example-prod"
    links = dict(found.links)
    assert links["Execution"] == (
        "https://console.cloud.google.com/run/jobs/executions/details/us-west3/wmrc-x7k2?project=example-prod"
    )
    assert links["Logs"].startswith(
        "https://console.cloud.google.com/logs/query;query=resource.type%3D%22cloud_run_job"
    )


def test_a_metadata_server_that_is_silent_is_waited_for_shortly(silent_server: int) -> None:
    """All questions together take 0.3 s at most."""
    begun_s = time.monotonic()
    assert ask_metadata({"GCE_METADATA_HOST": f"127.0.0.1:{silent_server}"}, "a", "b", "c") == ("", "", "")
    assert time.monotonic() - begun_s < hosting.METADATA_S + 2.0


@pytest.fixture
def silent_server() -> Iterator[int]:
    """Return the port of a server that takes connections and says nothing."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_an_answer_that_is_none_is_left_out(metadata: str) -> None:
    """A page of an error is no project."""
    assert ask_metadata({"GCE_METADATA_HOST": metadata}, "something/else") == ("",)


def test_links_lead_to_the_logs() -> None:
    """Each as the service's own pages have it."""
    logs = dict(place_of(LAMBDA).links)["Logs"]
    stream = "2026$252F03$252F01$252F$255B$2524LATEST$255Dab"
    assert logs.endswith(f"log-group/$252Faws$252Flambda$252Floader/log-events/{stream}")
    assert place_of(GITHUB).links == (("Workflow run", "https://github.com/org/repo/actions/runs/9001"),)
    assert place_of(GITLAB).links == (("Job", "https://gitlab.example/gis/parcels/-/jobs/7"),)


def test_a_label_is_one_line() -> None:
    """What stands in the environment goes into subjects."""
    assert place_of({"AWS_LAMBDA_FUNCTION_NAME": "a\r\nBcc: b" + "x" * 500}).label.startswith("AWS Lambda a Bcc: b")
    assert len(place_of({"AWS_LAMBDA_FUNCTION_NAME": "x" * 500}).label) == 200


def test_a_run_says_where_it_ran() -> None:
    """The label is in the report of a run and in the journal; a setting or a variable overrides it."""
    code = (
        f"import os, sys; os.environ.update({GITHUB!r})\n"
        "from supervisor import supervise\n"
        "if sys.argv[1:]: os.environ['SUPERVISOR_HOST'] = sys.argv[1]\n"
        "with supervise('nightly') as run: print(run.report().host)\n"
        "with supervise('nightly', host='gis7') as run: print(run.report().host)\n"
        "from supervisor._runtime import default_runtime\n"
        "print(*(each.host for each in reversed(default_runtime().journal().runs('nightly'))), sep='|')\n"
    )
    first, second = "GitHub Actions, run 42 of org/repo", "gis7"
    assert output_of(python(code)).splitlines() == [first, second, f"{first}|{second}"]
    assert output_of(python(code, "the old server")).splitlines()[0] == "the old server"


def test_an_ordinary_host_has_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a variable that says more, nothing is loaded to find out."""
    for name in PLACE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert facts.place().label == ""
    code = "import sys; from supervisor import _exceptions as e; e.host(); print(*sys.modules)"
    assert "supervisor._places.hosting" not in output_of(python(code)).split()
