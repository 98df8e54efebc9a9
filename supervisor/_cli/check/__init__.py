"""What no code inside a script can report: it was killed, it hangs, it never started.

``supervisor check`` looks into the journal for that, tells each finding once and its recovery once, and delivers what
waits. :mod:`~supervisor._cli.check.checker` is the whole of it.
"""
