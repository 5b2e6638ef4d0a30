"""The city's HTTP API."""
