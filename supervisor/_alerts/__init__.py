"""Alerts: runs that are stalled, overdue or dead, and scheduled starts that were missed.

In comes what is known of runs, from the run itself or from the journal. Out go alerts (``rules`` and ``evaluation`` say
what is wrong, ``run_alerts`` who was notified of it) and their messages (``messages``, ``deaths``). Nothing is sent
here.
"""
