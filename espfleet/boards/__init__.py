"""Talking to the HTTP server that each device runs itself."""
