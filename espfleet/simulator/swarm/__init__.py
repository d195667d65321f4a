"""Lamps by the ten thousand in one process, for load tests: they cost little, arrive, move and die by a script."""
