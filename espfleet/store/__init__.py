"""Everything that is kept in Redis, and the embedded server. Nothing else in espfleet imports ``redis``."""
