"""Simulated lamps: they speak protocol 1 and serve a device's own pages, without hardware."""
