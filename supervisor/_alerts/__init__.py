"""Alerts: from what is known of a run to whether it is stalled, overdue, missed or dead, and how that is told."""
