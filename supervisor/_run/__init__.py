"""Runs: a decorator or ``with supervise()`` comes in; the outcome, the journal's record and messages go out.

``run`` has the handle that scripts get, ``state`` what is known of a run, ``lifecycle`` its start and end, ``boundary``
what keeps faults away from the script. ``reporter`` sends messages, ``recorder`` writes the journal. All else is loaded
when a run asks for it: logs of its own, limits, progress.
"""
