"""Measuring: engines that probe many targets, and what they need to know of this machine and of names.

Read in this order: ``outcomes`` (what an engine is), ``pace`` (when each probe is due), ``ledger`` (what became of
each probe), ``paced`` (what all engines share), then the ways to measure: ``icmp``, ``tcp``, ``sim``.
"""
