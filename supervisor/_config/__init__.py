"""Settings that stand outside of scripts: in files, and in environment variables.

Later wins: ``supervisor.toml`` in the machine's config directory, the same in the user's, the nearest
``supervisor.toml`` or ``[tool.supervisor]`` of a ``pyproject.toml`` from the script's folder upwards; then what the
chosen profile says in any of them; then ``SUPERVISOR_*`` variables. ``SUPERVISOR_CONFIG`` names one file that is read
instead of all these. A file looks so::

    profile = "production"            # the profile to use where SUPERVISOR_PROFILE does not say

    [defaults]                        # settings of all runs; handlers are called by their names
    handlers = ["ops"]
    report_on = ["success"]

    [handlers.ops]
    type = "sendgrid"
    api_key = { env = "SENDGRID_API_KEY" }
    from_address = "gis@example.com"
    to_addresses = ["ops@example.com"]

    [runs."nightly parcels"]          # settings of the runs of one name
    delivery_deadline_s = 60

    [profiles.development.defaults]   # the same tables, laid over the rest when the profile is chosen
    handlers = ["console"]

What is wrong is never raised by :func:`load`: it is left out and told in :attr:`Configuration.problems`.
"""
