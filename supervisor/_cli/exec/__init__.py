"""``supervisor run -- COMMAND``: any program as a supervised run.

In: a command line (:mod:`.options`). Out: the program's output, passed through as it comes, its exit code, and a run
that fails as the program does. :mod:`.supervise_command` puts the parts together. Nothing here loads what a program
that succeeds does not need.
"""
