"""What runs this process, as people call it: a Cloud Run job, a pod, a workflow; and where they find it in a browser.

Found from the environment and local files. A metadata server is asked only where the environment says that there is
one, and for 0.3 s at most. Loaded only where a variable of ``PLACE_VARIABLES`` is set.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import quote

from supervisor._places import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

METADATA_S = 0.3
_METADATA_HOST = "169.254.169.254"
_NAMESPACE = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
_LABEL_LIMIT = 200
_ANSWER_BYTES = 4096


def this_place() -> Place:
    """Return what runs this process."""
    return place_of(os.environ)


def place_of(environ: Mapping[str, str], namespace_file: str = _NAMESPACE) -> Place:
    """Return what runs a process with this environment.

    Args:
        environ: The environment.
        namespace_file: Where Kubernetes writes the name of the namespace.
    """
    known: tuple[tuple[str, Callable[[Mapping[str, str]], Place]], ...] = (
        ("CLOUD_RUN_JOB", _cloud_run_job),
        ("K_SERVICE", _cloud_run_service),
        ("AWS_LAMBDA_FUNCTION_NAME", _lambda),
        ("FUNCTIONS_WORKER_RUNTIME", _azure),
        ("GITHUB_ACTIONS", _github),
        ("GITLAB_CI", _gitlab),
        ("KUBERNETES_SERVICE_HOST", lambda each: _pod(each, namespace_file)),
    )
    place = next((find(environ) for variable, find in known if environ.get(variable)), Place())
    label = " ".join(place.label.split())[:_LABEL_LIMIT]
    return place._replace(label=label, facts=tuple((name, text) for name, text in place.facts if text))


# Google Cloud


def _cloud_run_job(environ: Mapping[str, str]) -> Place:
    """https://cloud.google.com/run/docs/container-contract#jobs-env-vars."""
    job, execution = environ["CLOUD_RUN_JOB"], environ.get("CLOUD_RUN_EXECUTION", "")
    project, region = _google(environ)
    label = f"Cloud Run job {job}" + (f" (execution {execution}{_task(environ)})" if execution else "")
    page = f"https://console.cloud.google.com/run/jobs/executions/details/{region}/{execution}?project={project}"
    query = f'resource.type="cloud_run_job"\nlabels."run.googleapis.com/execution_name"="{execution}"'
    links = (("Execution", page), ("Logs", _google_logs(query, project))) if execution and project and region else ()
    return Place(label + _of(project), links, (("project", project), ("region", region), ("execution", execution)))


def _task(environ: Mapping[str, str]) -> str:
    count, index = environ.get("CLOUD_RUN_TASK_COUNT", "1"), environ.get("CLOUD_RUN_TASK_INDEX", "")
    return f", task {int(index) + 1} of {count}" if count != "1" and index.isdigit() else ""


def _cloud_run_service(environ: Mapping[str, str]) -> Place:
    """https://cloud.google.com/run/docs/container-contract#services-env-vars; a function is a service with a target."""
    service, revision = environ["K_SERVICE"], environ.get("K_REVISION", "")
    project, region = _google(environ)
    is_function = bool(environ.get("FUNCTION_TARGET"))
    label = f"{'Cloud Function' if is_function else 'Cloud Run service'} {service}" + (
        f" (revision {revision})" if revision else ""
    )
    page = f"https://console.cloud.google.com/run/detail/{region}/{service}"
    query = f'resource.type="cloud_run_revision"\nresource.labels.service_name="{service}"'
    title = "Function" if is_function else "Service"
    links = ((title, f"{page}?project={project}"), ("Logs", _google_logs(query, project)))
    facts = (("project", project), ("region", region), ("revision", revision))
    return Place(label + _of(project), links if project and region else (), facts)


def _of(project: str) -> str:
    return f", project {project}" if project else ""


def _google_logs(query: str, project: str) -> str:
    return f"https://console.cloud.google.com/logs/query;query={quote(query, safe='')}?project={project}"


def _google(environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the project and the region; "" for what is not known."""
    project = next(filter(None, map(environ.get, ("GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT", "GCP_PROJECT"))), "")
    region = next(filter(None, map(environ.get, ("CLOUD_RUN_REGION", "FUNCTION_REGION"))), "")
    if not project or not region:
        asked = ask_metadata(environ, "project/project-id", "instance/region")
        project, region = project or asked[0], region or asked[1].rpartition("/")[2]
    return project, region


def ask_metadata(environ: Mapping[str, str], *paths: str) -> tuple[str, ...]:
    """Return what Google's metadata server says, "" for what it does not say in time.

    https://cloud.google.com/run/docs/container-contract#metadata-server. A thread asks: no wait of a socket's bounds
    them all.

    Args:
        environ: The environment; ``GCE_METADATA_HOST`` names another server, as for Google's own libraries.
        paths: What to ask for.
    """
    import threading

    answers: dict[str, str] = {}
    host, _, port = (environ.get("GCE_METADATA_HOST") or _METADATA_HOST).partition(":")

    def ask() -> None:
        for path in paths:
            answers[path] = _answer(host, int(port or 80), f"/computeMetadata/v1/{path}")

    thread = threading.Thread(target=ask, name="supervisor asks where it runs", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # no threads any more
        return tuple("" for _ in paths)
    thread.join(METADATA_S)
    return tuple(answers.get(path, "") for path in paths)


def _answer(host: str, port: int, path: str) -> str:
    import socket

    request = f"GET {path} HTTP/1.0\r\nHost: {host}\r\nMetadata-Flavor: Google\r\n\r\n"
    received = b""
    try:
        with socket.create_connection((host, port), METADATA_S) as connection:
            connection.sendall(request.encode("latin-1", "replace"))
            while len(received) < _ANSWER_BYTES and (more := connection.recv(_ANSWER_BYTES)):
                received += more
    except OSError:
        return ""
    head, _, body = received.decode("utf-8", "replace").partition("\r\n\r\n")
    return body.strip() if " 200 " in head.partition("\r\n")[0] else ""


# Others


def _lambda(environ: Mapping[str, str]) -> Place:
    """https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime."""
    name, region = environ["AWS_LAMBDA_FUNCTION_NAME"], environ.get("AWS_REGION", "")
    group, stream = environ.get("AWS_LAMBDA_LOG_GROUP_NAME", ""), environ.get("AWS_LAMBDA_LOG_STREAM_NAME", "")
    console = f"https://{region}.console.aws.amazon.com"
    links = [("Function", f"{console}/lambda/home?region={region}#/functions/{name}")]
    if group:
        page = f"{console}/cloudwatch/home?region={region}#logsV2:log-groups/log-group/{_twice_quoted(group)}"
        links.append(("Logs", f"{page}/log-events/{_twice_quoted(stream)}" if stream else page))
    return Place(f"AWS Lambda {name}", tuple(links) if region else (), (("region", region), ("function", name)))


def _twice_quoted(text: str) -> str:
    """Return a text as CloudWatch's console has it behind the "#" of its addresses."""
    return quote(quote(text, safe=""), safe="").replace("%", "$")


def _azure(environ: Mapping[str, str]) -> Place:
    """https://learn.microsoft.com/azure/app-service/reference-app-settings: app, slot, resource group and owner.

    The owner is the subscription, and behind a "+" the web space.
    """
    app, slot = environ.get("WEBSITE_SITE_NAME", ""), environ.get("WEBSITE_SLOT_NAME", "Production")
    group = environ.get("WEBSITE_RESOURCE_GROUP", "")
    subscription = environ.get("WEBSITE_OWNER_NAME", "").partition("+")[0]
    resource = f"subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Web/sites/{app}"
    links = (("Function app", f"https://portal.azure.com/#resource/{quote(resource)}"),)
    label = f"Azure Functions app {app}" if app else "Azure Functions"
    if slot.lower() != "production":
        label += f" (slot {slot})"
    is_known = app and group and subscription
    return Place(label, links if is_known else (), (("app", app), ("region", environ.get("REGION_NAME", ""))))


def _github(environ: Mapping[str, str]) -> Place:
    """https://docs.github.com/actions/reference/workflows-and-actions/variables#default-environment-variables."""
    repository, number = environ.get("GITHUB_REPOSITORY", ""), environ.get("GITHUB_RUN_NUMBER", "")
    server, run_id = environ.get("GITHUB_SERVER_URL", "https://github.com"), environ.get("GITHUB_RUN_ID", "")
    attempt = environ.get("GITHUB_RUN_ATTEMPT", "1")
    run = f", run {number}" + (f" (attempt {attempt})" if attempt != "1" else "") if number else ""
    page = f"{server}/{repository}/actions/runs/{run_id}" + (f"/attempts/{attempt}" if attempt != "1" else "")
    links = (("Workflow run", page),) if repository and run_id else ()
    of = f" of {repository}" if repository else ""
    return Place(f"GitHub Actions{run}{of}", links, (("repository", repository), ("run_number", number)))


def _gitlab(environ: Mapping[str, str]) -> Place:
    """https://docs.gitlab.com/ci/variables/predefined_variables/."""
    job, project = environ.get("CI_JOB_NAME", ""), environ.get("CI_PROJECT_PATH", "")
    titles = (("Job", "CI_JOB_URL"), ("Pipeline", "CI_PIPELINE_URL"))
    links = tuple((title, environ[variable]) for title, variable in titles if environ.get(variable))
    label = "GitLab CI" + (f", job {job}" if job else "") + (f" of {project}" if project else "")
    return Place(label, links, (("repository", project), ("job", job)))


def _pod(environ: Mapping[str, str], namespace_file: str) -> Place:
    """https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/: the namespace is in a file of each pod."""
    pod = environ.get("POD_NAME") or environ.get("HOSTNAME") or _hostname()
    namespace = environ.get("POD_NAMESPACE") or next(_lines(namespace_file), "")
    label = f"pod {pod}" + (f" in namespace {namespace}" if namespace else "")
    return Place(label, (), (("pod", pod), ("namespace", namespace)))


def _hostname() -> str:
    from supervisor._places import hostname

    return hostname()


def _lines(path: str) -> Iterator[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - pathlib takes 3 ms to load
            yield file.readline(300).strip()
    except OSError:
        return
