"""Messages to Slack: through an incoming webhook, or as a bot with threads, edited progress and files.

In: a message and the handler's settings. Out: posts in Block Kit that Slack has accepted.
From top to bottom: handler (settings), senders (webhook or bot), web_api (requests, errors), blocks, block_sections.
"""
