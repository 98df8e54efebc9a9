"""Messages to Slack: the handler, its two ways into a channel, and messages as Block Kit."""
