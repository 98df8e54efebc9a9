"""The commented example that ``supervisor config init`` writes."""

from __future__ import annotations

_EXAMPLE = """\
# The settings of supervisor for scripts that do not give them.
#
# The strongest source is the last: the machine's supervisor.toml, the user's, the nearest supervisor.toml (or
# [tool.supervisor] in pyproject.toml) from the script's folder upwards, the chosen profile, SUPERVISOR_* variables,
# the script itself.
# `supervisor config` shows the values in force and their origins. Remove the "#" before what you want to use.

# The profile, unless SUPERVISOR_PROFILE names another; see [profiles] below.
#profile = "production"

# Settings of all runs. Each can also be given by a variable: SUPERVISOR_REPORT_ON=start,success
[defaults]
# The handlers that get the messages, by the names of the tables [handlers.NAME] below. "console" needs no table.
handlers = ["console"]
# Kinds of messages to send besides those that are always sent: start, success, progress.
#report_on = ["success"]
# Hold back a failure that equals one of the last so many seconds. 0 sends every one.
#repeat_after_s = 3600
# The most seconds that the end of a run waits for its messages to be delivered.
#delivery_deadline_s = 30
# Seconds between two progress messages; "none" for none.
#progress_every_s = 600
# A log file to attach to failure messages. Paths are relative to the folder of this file.
#log_path = "logs/nightly.log"
# The logger that gets uncaught exceptions.
#logger = "nightly"
# Give each run a log file of its own: true for all loggers, or names of loggers. It is attached to failures.
#capture_logs = true
# Remove more than secrets from all that is stored or sent; the group "secret" marks the part to remove.
#redact_patterns = { customer = 'customer no\\. (?P<secret>[0-9]+)' }
# Keep what only looks like a secret.
#redact_off = ["cookie"]
# Show the local variables of the script's own functions in failure messages, secrets redacted.
#show_locals = true
# Report a run that made no progress for, or takes longer than, so many seconds; "interrupt" also ends it.
#stall_after_s = 900
#max_duration_s = 7200
#on_overdue = "report"
# When a run should start, for `supervisor check`: cron, or "every 15 min"; and how late it may be. Best per run, below.
#schedule = "0 2 * * *"
#grace_s = 600
# What to do if an earlier run is still under way: allow, skip or fail.
#overlap = "allow"
# false suppresses exceptions after they were reported.
#reraise = true
# false keeps nothing on disk.
#journal = true

# Handlers, with the options of the classes in supervisor.message_handlers. A secret is best kept elsewhere:
#   { env = "NAME" }                          an environment variable
#   { file = "PATH" }                         a file of its own
#   { keyring = "SERVICE", user = "NAME" }    the system's keyring: pip install 'agrc-supervisor[keyring]'
# If you write a secret here, let nobody else read the file: chmod 600

#[handlers.ops]
#type = "email"
#smtp_server = "smtp.example.com"
#username = "gis@example.com"
#password = { env = "SMTP_PASSWORD" }
#from_address = "gis@example.com"
#to_addresses = ["ops@example.com"]
#prefix = "[gis] "

#[handlers.mail]
#type = "sendgrid"
#api_key = { env = "SENDGRID_API_KEY" }
#from_address = "gis@example.com"
#to_addresses = ["ops@example.com"]

#[handlers.chat]
#type = "slack"
#webhook_url = { env = "SLACK_WEBHOOK_URL" }

#[handlers.check]
#type = "healthchecks"
#ping_url = { env = "HEALTHCHECKS_PING_URL" }

#[handlers.hook]
#type = "webhook"
#url = "https://example.com/supervisor"
#secret = { env = "WEBHOOK_SECRET" }

#[handlers.phone]
#type = "apprise"
#urls = [{ env = "APPRISE_URL" }]

# Settings of the runs of one name, stronger than [defaults].
#[runs."nightly parcels"]
#handlers = ["ops", "chat"]
#report_on = ["start", "success"]
#schedule = "0 2 * * 1-5"
#overlap = "skip"

# A profile has the same tables, stronger than all of the above. SUPERVISOR_PROFILE=development chooses this one.
#[profiles.development.defaults]
#handlers = ["console"]

#[profiles.production]
"""


def example() -> str:
    """Return the example: runs print their messages, and everything else is commented out."""
    return _EXAMPLE
