"""The journal in one SQLite file: the record of runs, the alerts, and the outbox."""
