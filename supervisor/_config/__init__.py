"""Settings outside of scripts: in files and environment variables.

In: files, ``SUPERVISOR_*`` variables and the settings of a script. Out: the ``Settings`` of a run, and named handlers
(:mod:`.active`). Files are found (:mod:`.search`), read (:mod:`.toml_file`), checked (:mod:`.layers`) and put together
(:mod:`.assembly`) into one :class:`.configuration.Configuration`.

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

Mistakes raise nothing: the wrong part is left out, and described in ``Configuration.problems``.
"""
