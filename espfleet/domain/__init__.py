"""Values and rules. No clock, no network, no Redis: time comes in as a number, everything else as a value."""
