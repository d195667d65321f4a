"""Places that metrics are sent to or fetched from."""
