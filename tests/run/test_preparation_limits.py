"""What a run does with the time that the platform leaves it, and what it makes of a web framework's answers."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from containers import containers
from http_peers import Answer, http_peer
from journal_kit import first_line_of, output_of, python
from recorders import Recorder, read
from waiting import wait_until

from supervisor import supervise, supervised
from supervisor._run.preparation import limited
from supervisor._settings import Settings
from supervisor._store import Journal
from supervisor.errors import ConfigurationError

KIT = f"import sys; sys.path.append({str(Path(__file__).parents[1] / 'kit')!r})\n"
SLOW = """
import sys, time
from recorders import FileRecorder
from supervisor import supervise
from supervisor.message_handlers import WebhookHandler
class Slow(FileRecorder):
    def send_message(self, details):
        super().send_message(details)
        time.sleep(0.5)
handlers = [Slow({messages!r}), WebhookHandler(url={url!r}, timeout_s=60)]
with supervise("nightly", handlers=handlers) as run:
    for number in range(5):
        run.notify(f"notice {{number}}")
    print("ready", flush=True)
    time.sleep(120)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM ends a process there at once")
def test_an_alarm_goes_first_and_all_is_over_within_the_grace(tmp_path: Path, state: Path) -> None:
    """SIGTERM, and a destination that answers nothing: the end is noted, the alarm sent, the process gone in time."""
    with http_peer(lambda _: Answer(delay_s=60)) as peer:
        code = SLOW.format(messages=str(tmp_path / "messages"), url=f"{peer.url}/hang")
        process = python(f"{KIT}import os; os.environ['SUPERVISOR_KILL_GRACE_S'] = '3'\n{code}")
        while first_line_of(process) != "ready":
            pass
        begun_s = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        took_s = time.monotonic() - begun_s
    assert process.returncode == 143
    assert took_s < 25.0  # without the limit it takes the 30 s of delivery_deadline_s
    kinds = [each["kind"] for each in read(tmp_path / "messages")]
    assert kinds.index("failure") <= 2
    (run,) = Journal(state).runs("nightly")
    assert run.outcome == "terminated"


def test_a_container_has_eight_seconds(state: Path, tmp_path: Path) -> None:
    """Process 1 of a PID namespace gets SIGTERM, as from `docker stop`: all of it is over before the kill."""
    with http_peer(lambda _: Answer(delay_s=60)) as peer, containers() as start:
        container = start(SLOW.format(messages=str(tmp_path / "messages"), url=f"{peer.url}/hang"))
        while container.line() != "ready":
            pass
        container.script().send_signal(signal.SIGTERM)
        began_s = time.monotonic()
        container.process.communicate(timeout=60)
        assert time.monotonic() - began_s < 25.0
    assert "failure" in [each["kind"] for each in read(tmp_path / "messages")]
    (run,) = Journal(state).runs("nightly")
    assert run.outcome == "terminated"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("", "None"),
        ("os.environ['SUPERVISOR_KILL_GRACE_S'] = '3'", "3.0"),
        ("os.environ['SUPERVISOR_KILL_GRACE_S'] = 'soon'", "None"),
        ("os.environ['KUBERNETES_SERVICE_HOST'] = '10.0.0.1'", "8.0"),
    ],
)
def test_the_grace_is_the_platforms(code: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable says it; a container has eight seconds, and an ordinary machine enough."""
    from supervisor._places import this_machine

    if this_machine().pid_namespace and expected == "None":
        pytest.skip("the tests run in a container")
    monkeypatch.delenv("SUPERVISOR_KILL_GRACE_S", raising=False)
    script = f"import os\n{code}\nfrom supervisor._run import preparation as time_limits; print(time_limits._grace_s())"
    assert output_of(python(script)).strip() == expected


class Context:
    """What AWS Lambda gives to a handler."""

    def __init__(self, left_s: float) -> None:
        self.left_s = left_s

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until the function is killed."""
        return round(self.left_s * 1000)


@pytest.mark.parametrize(
    ("own_s", "left_s", "expected_s"), [(None, 60.0, 58.0), (10.0, 60.0, 10.0), (100.0, 60.0, 58.0), (None, 1.0, 0.5)]
)
def test_a_deadline_limits_the_run(own_s: float | None, left_s: float, expected_s: float) -> None:
    """Two seconds before the kill the run says that it takes too long; a limit of its own that is shorter stays."""
    assert limited(Settings(max_duration_s=own_s), ({"event": 1}, Context(left_s))).max_duration_s == expected_s


def test_what_is_no_context_limits_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments may be anything; Google's first functions say their limit in the environment."""
    monkeypatch.delenv("FUNCTION_TIMEOUT_SEC", raising=False)
    settings = Settings()
    assert limited(settings, (1, "a", object())) is settings
    monkeypatch.setenv("FUNCTION_TIMEOUT_SEC", "540")
    assert limited(settings, ()).max_duration_s == 538.0


def test_the_limit_is_a_number_that_people_read() -> None:
    """The message of a run that takes too long names it: tenths of a second, never more than there are."""
    assert limited(Settings(), (Context(299.98341),)).max_duration_s == 297.9


def test_a_handler_of_lambda_is_told_before_the_kill(monkeypatch: pytest.MonkeyPatch, recorder: Recorder) -> None:
    """Each call has the time that its context says; the message comes while the call goes on."""
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "loader")

    @supervised("loader", handlers=recorder)
    def handler(event: Any, context: Any) -> Any:
        if event["is_slow"]:
            wait_until(lambda: recorder.received)
        return {"statusCode": 200}

    assert handler({"is_slow": False}, Context(60)) == {"statusCode": 200}
    assert recorder.received == []
    assert handler({"is_slow": True}, Context(2.2)) == {"statusCode": 200}
    assert recorder.received[0] == "overdue"


class Answered(Exception):  # noqa: N818 - web frameworks raise it as an answer
    """An exception as web frameworks have it."""

    code: int | None = None
    status_code: int | None = None


@pytest.mark.parametrize(
    ("module", "attribute"),
    [
        ("werkzeug.exceptions", "code"),
        ("starlette.exceptions", "status_code"),
        ("aiohttp.web_exceptions", "status_code"),
    ],
)
@pytest.mark.parametrize(
    ("status", "outcome"), [(404, "success"), (302, "success"), (503, "failure"), (None, "failure")]
)
def test_an_answer_with_4xx_is_no_failure(  # noqa: PLR0917 - two tables
    module: str, attribute: str, status: int | None, outcome: str, monkeypatch: pytest.MonkeyPatch, recorder: Recorder
) -> None:
    """Whoever asked is to blame then; the exception reaches the framework in any case."""
    kind = type("HTTPException", (Answered,), {attribute: status})
    monkeypatch.setitem(sys.modules, module, type(sys)(module))
    monkeypatch.setattr(sys.modules[module], "HTTPException", kind, raising=False)
    with pytest.raises(Answered), supervise("request", handlers=recorder) as run:
        raise kind
    assert run.outcome == outcome
    assert recorder.received == ([] if outcome == "success" else ["failure"])


def test_another_exception_with_a_code_is_a_failure(recorder: Recorder) -> None:
    """What a client library raises for an answer of another server is the job's own trouble."""
    with pytest.raises(Answered), supervise("job", handlers=recorder, reraise=True) as run:
        error = Answered()
        error.code = 404
        raise error
    assert run.outcome == "failure"


FRAMEWORK = """
import functions_framework, flask
from recorders import FileRecorder
from supervisor import supervised

@functions_framework.http
@supervised("hello", handlers=[FileRecorder({messages!r})])
def hello(request):
    if request.args.get("fail"):
        raise ValueError("no rows")
    flask.abort(int(request.args["code"])) if "code" in request.args else None
    return "hello"

@functions_framework.cloud_event
@supervised("event", handlers=[FileRecorder({messages!r})])
def event(cloud_event, run):
    run.record(subject=cloud_event["subject"])
    raise ValueError("no rows")
"""


def test_the_real_functions_framework(tmp_path: Path) -> None:
    """HTTP and CloudEvent functions are decorated as they are, and served as before."""
    pytest.importorskip("functions_framework", reason="functions-framework is not installed here")
    (tmp_path / "main.py").write_text(FRAMEWORK.format(messages=str(tmp_path / "messages")))
    code = (
        f"{KIT}import functions_framework as ff\n"
        f"source = {str(tmp_path / 'main.py')!r}\n"
        "http = ff.create_app('hello', source, 'http').test_client()\n"
        "print(http.get('/').text, http.get('/?code=404').status_code, http.get('/?code=503').status_code)\n"
        "print(http.get('/?fail=1').status_code)\n"
        "event = ff.create_app('event', source, 'cloudevent').test_client()\n"
        "headers = {'ce-id': '1', 'ce-source': 's', 'ce-type': 't', 'ce-specversion': '1.0', 'ce-subject': 'parcels'}\n"
        "print(event.post('/', headers=headers, json={}).status_code)\n"
    )
    assert output_of(python(code)).split() == ["hello", "404", "503", "500", "500"]
    assert [each["run"] for each in read(tmp_path / "messages") if each["kind"] == "failure"] == [
        "hello",
        "hello",
        "event",
    ]


def test_the_real_runtime_of_lambda(tmp_path: Path) -> None:
    """A decorated handler is called by AWS's own runtime client, with its context."""
    pytest.importorskip("awslambdaric", reason="awslambdaric is not installed here")
    code = (
        f"{KIT}import os, time\n"
        "os.environ['AWS_LAMBDA_FUNCTION_NAME'] = 'loader'\n"
        "from awslambdaric.lambda_context import LambdaContext\n"
        "from recorders import FileRecorder\n"
        "from supervisor import supervised\n"
        f"@supervised('loader', handlers=[FileRecorder({str(tmp_path / 'messages')!r})])\n"
        "def handler(event, context):\n"
        "    time.sleep(event); return 'done'\n"
        "def context(left_s):\n"
        "    return LambdaContext('id', {}, {}, (time.time() + left_s) * 1000)\n"
        "print(handler(0, context(60)), handler(1.5, context(2.6)))\n"
    )
    assert output_of(python(code)).split() == ["done", "done"]
    assert read(tmp_path / "messages")[0]["kind"] == "overdue"


AZURE = """
from __future__ import annotations

from typing import TYPE_CHECKING

import azure.functions as func
from recorders import FileRecorder

from supervisor import supervised

if TYPE_CHECKING:
    from supervisor import Run

watched = supervised(handlers=[FileRecorder({messages!r})])
app = func.FunctionApp()

@watched
def main(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("no rows\\nat all", status_code=int(req.params["code"]))

@app.timer_trigger(schedule="0 0 2 * * *", arg_name="mytimer")
@watched
async def night(mytimer: func.TimerRequest, run: Run) -> None:
    run.record(late=mytimer.past_due)
    raise ValueError("no rows")

@app.route(route="load")
@watched
async def load(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("busy", status_code=503)
"""
WORKER = """
import asyncio, importlib, inspect, os, sys, typing
sys.path.insert(0, {folder!r})
import azure.functions as func
module = importlib.import_module("HttpTrigger")
request = lambda code: func.HttpRequest("GET", "http://localhost/", params={{"code": code}}, body=b"")
main = module.main
print(list(inspect.signature(main).parameters), typing.get_type_hints(main)["return"].__name__)
print([main(request(code)).status_code for code in ("200", "404", "503")])
for each in sorted(module.app.get_functions(), key=lambda each: each.get_function_name()):
    user = each.get_user_function()
    hints = sorted(typing.get_type_hints(user))
    print(each.get_function_name(), list(inspect.signature(user).parameters), hints, inspect.iscoroutinefunction(user))
class Timer(func.TimerRequest):
    past_due = True
try:
    asyncio.run(module.night._function.get_user_function()(Timer()))
except ValueError as error:
    print(error)
print(asyncio.run(module.load._function.get_user_function()(request("200"))).get_body())
"""


def test_the_real_library_of_azure_functions(tmp_path: Path) -> None:
    """What the worker inspects of a function stays as it was; of responses those with 5xx are failures."""
    pytest.importorskip("azure.functions", reason="azure-functions is not installed here")
    (tmp_path / "HttpTrigger").mkdir()
    (tmp_path / "HttpTrigger" / "__init__.py").write_text(AZURE.format(messages=str(tmp_path / "messages")))
    assert output_of(python(f"{KIT}{WORKER.format(folder=str(tmp_path))}")).splitlines() == [
        "['req'] HttpResponse",
        "[200, 404, 503]",
        "load ['req'] ['req', 'return'] True",
        "night ['mytimer'] ['mytimer', 'return'] True",
        "no rows",
        "b'busy'",
    ]
    failures = [each for each in read(tmp_path / "messages") if each["kind"] == "failure"]
    assert [each["run"] for each in failures] == ["HttpTrigger", "night", "load"]
    assert failures[0]["subject"].endswith(": HTTP 503: no rows")


def test_below_an_azure_app_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the app's decorators, it would wrap what nobody calls: the app has the function itself by then."""
    module = type(sys)("azure.functions.decorators.function_app")
    module.FunctionBuilder = type("FunctionBuilder", (), {"__call__": lambda _: None})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "azure.functions.decorators.function_app", module)
    with pytest.raises(ConfigurationError, match="put it below, next to the function"):
        supervised(module.FunctionBuilder())


@pytest.mark.parametrize(("module", "name"), [("azure.functions", "HttpResponse"), ("werkzeug.wrappers", "Response")])
@pytest.mark.parametrize(("status", "outcome"), [(200, "success"), (404, "success"), (503, "failure")])
def test_a_response_with_5xx_is_a_failure(  # noqa: PLR0917 - two tables
    module: str, name: str, status: int, outcome: str, monkeypatch: pytest.MonkeyPatch, recorder: Recorder
) -> None:
    """The caller gets the response in any case, also where failures are not raised; nobody else's object is one."""
    kind = type(name, (), {"status_code": status})
    monkeypatch.setitem(sys.modules, module, type(sys)(module))
    monkeypatch.setattr(sys.modules[module], name, kind, raising=False)
    response = kind()

    @supervised("request", handlers=recorder, reraise=False, report_on="success")
    def answer() -> object:
        return response

    @supervised("request", handlers=recorder, report_on="success")
    async def answer_later() -> object:
        return response

    assert answer() is response
    assert asyncio.run(answer_later()) is response
    assert recorder.received == [outcome, outcome]
    if outcome == "failure":
        assert recorder.subjects[0].endswith(": HTTP 503")


def test_what_flask_takes_for_a_response(monkeypatch: pytest.MonkeyPatch, recorder: Recorder) -> None:
    """A text and a status are a response within a request alone: elsewhere a pair is a pair."""
    flask = type(sys)("flask")
    flask.has_request_context = lambda: True  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "flask", flask)

    @supervised("request", handlers=recorder)
    def answer() -> tuple[str, int]:
        return "no rows", 503

    assert answer() == ("no rows", 503)
    assert [each.rpartition(" on ")[2].partition(": ")[2] for each in recorder.subjects] == ["HTTP 503: no rows"]
    flask.has_request_context = lambda: False  # type: ignore[attr-defined]
    assert answer() == ("no rows", 503)
    assert recorder.received == ["failure", "recovery"]
