"""What a run listens to while it lasts: its context, threads, tasks, signals and the terminal.

Nothing here knows how a run works. Each hook is told whom to call, is put in place when the first run starts,
does nothing outside of runs, and leaves what it found in charge.
"""
