"""The journal in one SQLite file: the record of runs, the outbox, and what was told of alerts."""
