"""Agents that run for ever: each takes its share of the work, survives Redis, and meets the others only there."""
