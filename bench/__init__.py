"""Measurements of what espfleet promises: one script a promise, run by ``make bench``."""
