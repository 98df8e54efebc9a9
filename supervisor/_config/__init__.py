"""Settings outside of scripts: in files and environment variables.

In: files, ``SUPERVISOR_*`` variables and the settings of a script. Out: the ``Settings`` of a run, and named handlers.
Files are found (:mod:`.search`), read (:mod:`.toml_file`), checked (:mod:`.checks`) and put together
(:mod:`.assembly`) into one :class:`.configuration.Configuration`. A runtime's :class:`ActiveConfiguration` looks for it
once, and builds each handler once.

The last of these is the strongest: ``supervisor.toml`` in the machine's config directory; the same in the user's; the
nearest ``supervisor.toml`` or ``[tool.supervisor]`` of a ``pyproject.toml`` from the script's folder upwards; tables
of the chosen profile in any of them; ``SUPERVISOR_*`` variables. ``SUPERVISOR_CONFIG`` names one file that is read
instead of all of these. A file looks like this::

    profile = "production"            # the profile, unless SUPERVISOR_PROFILE names another

    [defaults]                        # settings of all runs; handlers are given by their names
    handlers = ["ops"]
    report_on = ["success"]

    [handlers.ops]
    type = "sendgrid"
    api_key = { env = "SENDGRID_API_KEY" }
    from_address = "gis@example.com"
    to_addresses = ["ops@example.com"]

    [runs."nightly parcels"]          # settings of the runs of one name
    delivery_deadline_s = 60

    [profiles.development.defaults]   # the same tables, stronger than the rest, if the profile is chosen
    handlers = ["console"]

Mistakes raise nothing: the wrong part is left out, and described in ``Configuration.problems``. A named handler that
cannot be built is replaced by one that refuses every message with the reason. So the reason is in the log and in
``supervisor outbox``, the messages can be retried, and the other handlers work.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from supervisor import _log
from supervisor._config.configuration import Configuration
from supervisor._config.search import (
    CONFIG,
    PREFIX,
    UNRELATED,
    CandidateFile,
    files_upwards,
    machine_and_user_files,
)
from supervisor._runtime import default_runtime
from supervisor._setting_values import fallback_of
from supervisor._settings import Settings, settings_from
from supervisor.errors import ConfigurationError, DeliveryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from supervisor._config.search import AnyPath
    from supervisor._fleet.fleet_settings import FleetSettings
    from supervisor._models.values import MessageDetails, MessageHandler
    from supervisor._redaction import Redactor

_NOTHING = Configuration()


def load(
    script: AnyPath | None = None,
    environ: Mapping[str, str] = os.environ,
    *,
    directories: Sequence[AnyPath] | None = None,
) -> Configuration:
    """Return the configuration of files and environment. Mistakes raise nothing: see :attr:`Configuration.problems`.

    Args:
        script: The script: the search upwards starts in its folder (for a link, in that of its target). Where nothing
            is found for one that is installed, as a console script is, it starts in the working directory too. None
            starts there alone.
        environ: The environment. ``SUPERVISOR_CONFIG`` names one file that is read instead of the search, whatever
            its name and its owner; the null device (``/dev/null``) reads no file at all.
        directories: The directories of the machine's and the user's file, the user's last. None for the platform's own.
    """
    chosen = environ.get(CONFIG, "").strip()
    if chosen:
        path = os.path.abspath(os.path.expanduser(chosen))  # noqa: PTH100, PTH111 - pathlib costs 3 ms
        fixed = [] if chosen == os.devnull else [CandidateFile(path)]
        upwards = []
    else:
        fixed = list(machine_and_user_files(environ, directories))
        upwards = list(files_upwards(script))
        if script is not None and _is_installed(os.fspath(script)):
            upwards += files_upwards(None)
    variables = [name for name in environ if name.startswith(PREFIX) and name not in UNRELATED]
    if not fixed and not upwards and not variables:
        return _NOTHING
    from supervisor._config.assembly import assemble

    return assemble(fixed, upwards, {name: environ[name] for name in variables})


def _is_installed(script: str) -> bool:
    """Tell whether a script was installed: it lies beside the interpreter or among packages, in no project's folder."""
    folder = os.path.dirname(script)  # noqa: PTH120 - pathlib costs 3 ms
    is_beside = folder == os.path.dirname(sys.executable or "")  # noqa: PTH120 - pathlib costs 3 ms
    parts = folder.replace("\\", "/").split("/")
    return is_beside or not {"site-packages", "dist-packages"}.isdisjoint(parts)


class UnusableHandler:
    """Stands for a named handler that cannot be built, and refuses every message with the reason.

    Args:
        name: The name of the handler.
        reason: Why it cannot be built, and the remedy.
    """

    is_usable = False

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason

    def __repr__(self) -> str:
        return f"<handler {self.name!r}, which cannot be built: {self.reason}>"

    def send_message(self, details: MessageDetails) -> None:  # noqa: ARG002 - a handler's signature
        """Refuse the message.

        Raises:
            DeliveryError: Always; the message stays in the outbox as failed.
        """
        raise DeliveryError(self.reason, permanent=True)


def main_script() -> str | None:
    """Return the file of the program that runs; None where it has none, as in an interactive session."""
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    return path if isinstance(path, str) and os.path.isfile(path) else None  # noqa: PTH113 - pathlib costs 3 ms


class ActiveConfiguration:
    """What files and environment say, read when it is first asked for.

    Args:
        script: Returns the script from whose folder the search goes upwards; None for the working directory.
        handler_class: Returns the class of a type of handlers, and raises ``ConfigurationError`` for an unknown type.
    """

    def __init__(self, script: Callable[[], str | None] = main_script, *, handler_class: Callable[[str], Any]) -> None:
        self._script = script
        self._handler_class = handler_class
        self._lock = threading.Lock()
        self._loaded: Configuration | None = None
        self._built: dict[str, Any] = {}

    @property
    def loaded(self) -> Configuration:
        """Return what files and environment say; what is wrong with it is logged when it is read."""
        if self._loaded is None:
            with self._lock:
                if self._loaded is None:
                    found = load(self._script())
                    for problem in (*found.problems, *found.warnings):
                        _log.warning("configuration: %s", problem)
                    self._loaded = found
        return self._loaded

    @property
    def fleet(self) -> FleetSettings | None:
        """Return where the fleet's database is; None where there is none."""
        return self.loaded.fleet

    def look_from(self, script: str | None) -> None:
        """Search upwards from another script; None means from the working directory.

        For commands: their own file stands in no project.
        """
        self._script = lambda: script
        self.forget()

    def forget(self) -> None:
        """Read the configuration again when it is next asked for."""
        with self._lock:
            self._loaded = None
            self._built.clear()

    def settings_for(self, arguments: tuple[Any, ...], options: dict[str, Any]) -> Settings:
        """Return the settings of a run: what the script says, over what is configured for runs of its name.

        Raises:
            ConfigurationError: The script names a setting that does not exist, or gives one a wrong value.
        """
        known = self.loaded
        if known.settings or known.runs:
            from supervisor._exceptions import script_name

            name = (arguments[0] if arguments else options.get("name")) or script_name()
            configured = known.for_run(name if isinstance(name, str) else None)
            options = {**configured, **options}
            if "send" in configured:  # nothing may be sent from where the configuration forbids it
                options["send"] = configured["send"]
        if "handlers" in options:
            options = {**options, "handlers": self.with_names_resolved(options["handlers"])}
        settings = settings_from(arguments, options)
        self._refuse_unknown_reserves(settings.handlers)
        return settings

    def _refuse_unknown_reserves(self, handlers: Sequence[MessageHandler]) -> None:
        """Refuse a reserve by a name that no handler of the run has, and none of the configuration.

        Raises:
            ConfigurationError: There is one.
        """
        reserves = [each for each in handlers if isinstance(fallback_of(each), str)]
        names = {getattr(each, "name", None) for each in handlers} if reserves else set()
        for each in reserves:
            name: str = each.fallback  # type: ignore[attr-defined]  # just looked at
            if name not in names:
                try:
                    self.loaded.spec(name)
                except ConfigurationError as error:
                    raise ConfigurationError(f"fallback of {getattr(each, 'name', each)!r}: {error}") from error

    def with_names_resolved(self, handlers: Any) -> Any:
        """Return handlers with each text among them replaced by the handler of that name; others stay as they are."""
        if isinstance(handlers, str):
            return (self.named(handlers),)
        if not isinstance(handlers, (tuple, list, set, frozenset)):
            return handlers
        return tuple(self.named(each) if isinstance(each, str) else each for each in handlers)

    def handlers_for(self, name: str | None) -> tuple[MessageHandler, ...]:
        """Return the handlers that are configured for the runs of a name, or for all runs with None."""
        names: Iterable[str] = self.loaded.for_run(name).get("handlers", ())
        return tuple(self.named(each) for each in names)

    def named(self, name: str) -> MessageHandler:
        """Return the configured handler of a name: the same object each time, so that its connection is used again."""
        known = self.loaded
        with self._lock:
            if name not in self._built:
                self._built[name] = self._build(known, name)
            handler: MessageHandler = self._built[name]
        return handler

    def _build(self, known: Configuration, name: str) -> Any:
        from supervisor._config.handler_specs import build

        try:
            return build(known.spec(name), self._handler_class)
        except ConfigurationError as error:
            _log.warning("the handler %r cannot be built: %s", name, error)
            return UnusableHandler(name, str(error))

    def redactor(self) -> Redactor:
        """Return what removes secrets for commands: it knows all configured handlers, and the patterns of all runs.

        Raises:
            ConfigurationError: A pattern is no regular expression.
        """
        from supervisor._redaction import redactor_for

        known = self.loaded
        patterns: dict[str, str] = {}
        for settings in (*known.runs.values(), known.settings):
            patterns |= settings.get("redact_patterns") or {}
        handlers = [self.named(name) for name in known.handlers]
        return redactor_for(handlers, patterns, known.settings.get("redact_off") or ())


def active() -> ActiveConfiguration:
    """Return the default runtime's configuration, with the methods that only commands use."""
    found = default_runtime().configuration
    assert isinstance(found, ActiveConfiguration)  # `import supervisor` puts it there
    return found
