"""The command centre: HTTP API, live stream and web page."""
