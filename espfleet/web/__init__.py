"""The web door: JSON API, live feed and dashboard."""
