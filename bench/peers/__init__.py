"""What espfleet is measured against, and the lamps that do it: programs started for a bench and ended with it."""
