"""Use cases: one function per thing the fleet can do.

Each takes an open store and plain values, reads no clock, prints nothing and raises ``FleetError``; the CLI, the web
and the gateway all call the same ones.
"""
