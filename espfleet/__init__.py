"""espfleet: a fleet of small lamps that glow with the latency of the networks people care about."""

__version__ = "0.1.0"
