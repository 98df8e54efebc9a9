"""What is written into a file comes out of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supervisor._settings import Settings

if TYPE_CHECKING:
    from configuration_kit import Machine

text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
some = text.filter(str.strip)
seconds = st.integers(1, 10**9) | st.floats(0.001, 1e9)
chosen = {
    "logger": some.filter(lambda each: each != "none"),
    "report_on": st.lists(st.sampled_from(["start", "success", "progress"]), max_size=3),
    "reraise": st.booleans(),
    "journal": st.booleans(),
    "progress_every_s": seconds,
    "delivery_deadline_s": seconds | st.just(0),
    "repeat_after_s": seconds | st.just(0.0),
}
some_settings = st.fixed_dictionaries({}, optional=chosen)
secret = st.one_of(
    text.map(lambda each: (each, each)),
    st.tuples(st.just({"env": "PLANTED"}), st.just("from the environment")),
)
options = st.fixed_dictionaries(
    {"type": st.sampled_from(["email", "webhook", "of somebody else"])},
    optional={
        "prefix": st.tuples(text, text).map(lambda each: (each[0], each[0])),
        "password": secret,
        "timeout_s": seconds.map(lambda each: (each, each)),
        "headers": st.dictionaries(some, secret, max_size=2).map(
            lambda each: (
                {key: raw for key, (raw, _) in each.items()},
                {key: value for key, (_, value) in each.items()},
            )
        ),
        "urls": st.lists(secret, max_size=3).map(lambda each: ([raw for raw, _ in each], [value for _, value in each])),
    },
)
parts = st.fixed_dictionaries(
    {
        "defaults": some_settings,
        "runs": st.dictionaries(text, some_settings, max_size=2),
        "handlers": st.dictionaries(text, options, max_size=2),
    }
)


def written(part: dict[str, Any]) -> dict[str, Any]:
    """Return what stands in the file: of each option what is written, and not what it comes to."""
    handlers = {
        name: {key: value if key == "type" else value[0] for key, value in each.items()}
        for name, each in part["handlers"].items()
    }
    return {**part, "handlers": handlers}


def frozen(values: dict[str, Any]) -> dict[str, Any]:
    """Return settings as they are loaded: lists are tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plain=parts, profile=parts, name=some, in_pyproject=st.booleans())
def test_what_is_written_is_loaded(
    machine: Machine,
    plain: dict[str, Any],
    profile: dict[str, Any],
    name: str,
    in_pyproject: bool,
) -> None:
    """Any names, any texts, in either kind of file: settings, runs, handlers and the profile over them."""
    table = {**written(plain), "profiles": {name: written(profile)}, "profile": name}
    if in_pyproject:
        machine.file.unlink(missing_ok=True)
        table = {"tool": {"supervisor": table}}
    path = machine.project / "pyproject.toml" if in_pyproject else machine.file
    path.write_bytes(tomli_w.dumps(table).encode())
    configuration = machine.load().checked()
    assert configuration.profile == name
    assert configuration.settings == frozen({**plain["defaults"], **profile["defaults"]})
    for run in plain["runs"].keys() | profile["runs"].keys():
        sources = plain["defaults"], plain["runs"].get(run, {}), profile["defaults"], profile["runs"].get(run, {})
        expected: dict[str, Any] = {}
        for each in sources:
            expected |= each
        assert configuration.for_run(run) == frozen(expected)
        Settings(**configuration.for_run(run))
    assert configuration.handlers.keys() == plain["handlers"].keys() | profile["handlers"].keys()
    for handler, spec in configuration.handlers.items():
        weak, strong = plain["handlers"].get(handler, {}), profile["handlers"].get(handler, {})
        expected = {**(weak if not strong or weak.get("type") == strong["type"] else {}), **strong}
        assert spec.type == expected.pop("type")
        resolved = {key: value for key, (_, value) in expected.items()}
        assert spec.resolved({"PLANTED": "from the environment"}) == resolved
    assert all(origin.file == str(path) and origin.line for origin in configuration.origins.values())
