"""What no code inside a script can report: it was killed, it hangs, it never started.

``supervisor check`` reads the journal for that, notifies people of each alert once and of its recovery once, and
delivers what waits. :mod:`~supervisor._cli.check.checker` is the whole of it.
"""
