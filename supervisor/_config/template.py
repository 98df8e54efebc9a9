"""The commented example that ``supervisor config init`` writes."""

from __future__ import annotations

_EXAMPLE = """\
# What supervisor does where scripts do not say it themselves.
#
# Later wins: the machine's supervisor.toml, the user's, the nearest supervisor.toml (or [tool.supervisor] in
# pyproject.toml) from the script's folder upwards, the chosen profile, SUPERVISOR_* variables, and what a script says.
# `supervisor config` shows what is in force and from where. Take away the "#" of what you want to use.

# The profile to use where SUPERVISOR_PROFILE does not say; see [profiles] below.
#profile = "production"

# What holds for all runs. Each key can also be given by a variable: SUPERVISOR_REPORT_ON=start,success
[defaults]
# Who hears of runs, by the names of the tables [handlers.NAME] below. "console" needs no table.
handlers = ["console"]
# More kinds of messages than those that are always sent: start, success, progress.
#report_on = ["success"]
# Hold back a failure that is equal to one of the last so many seconds. 0 tells every one.
#repeat_after_s = 3600
# The most seconds that the end of a run waits until its messages are delivered.
#delivery_deadline_s = 30
# Seconds between two progress messages; "none" for none.
#progress_every_s = 600
# A log that goes with messages of failures. Paths start from the folder of this file.
#log_path = "logs/nightly.log"
# The logger that gets uncaught exceptions.
#logger = "nightly"
# Give each run a log file of its own: true for what all loggers say, or their names. It goes with failures.
#capture_logs = true
# Take more than what looks like a secret out of all that is stored or sent; "secret" names the part that goes.
#redact_patterns = { customer = 'customer no\\. (?P<secret>[0-9]+)' }
# Leave in what only looks like a secret.
#redact_off = ["cookie"]
# Show the local variables of the script's own functions in failure messages, secrets redacted.
#show_locals = true
# Tell of a run that made no progress, or takes longer, than so many seconds; "interrupt" also ends it.
#stall_after_s = 900
#max_duration_s = 7200
#on_overdue = "report"
# When a run should start, for `supervisor check`: cron, or "every 15 min"; and how late it may be. Best per run, below.
#schedule = "0 2 * * *"
#grace_s = 600
# What to do when the run before is still under way: allow, skip or fail.
#overlap = "allow"
# false swallows exceptions after they were reported.
#reraise = true
# false keeps nothing on disk.
#journal = true

# Handlers. Their options are those of the classes in supervisor.message_handlers. Secrets stay out of this file by
#   { env = "NAME" }                          an environment variable
#   { file = "PATH" }                         a file of its own
#   { keyring = "SERVICE", user = "NAME" }    the system's keyring: pip install 'agrc-supervisor[keyring]'
# Whoever writes one here lets nobody else read the file: chmod 600

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

# What holds for the runs of one name, over [defaults].
#[runs."nightly parcels"]
#handlers = ["ops", "chat"]
#report_on = ["start", "success"]
#schedule = "0 2 * * 1-5"
#overlap = "skip"

# A profile has the same tables. It is laid over all of the above when SUPERVISOR_PROFILE=development chooses it.
#[profiles.development.defaults]
#handlers = ["console"]

#[profiles.production]
"""


def example() -> str:
    """Return the example: runs print their messages, and everything else is commented out."""
    return _EXAMPLE
