"""Build messages from reports of runs, and render them as text, HTML and Markdown.

In goes a report (``builder``); out comes a ``MessageDetails``, whose parts (``sections``) a handler sends as it needs.
All functions are pure: they depend on their arguments and the time zone only.
"""
