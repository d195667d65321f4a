"""The gateway: a WebSocket server for lamps and viewers. Nothing else but the simulator imports ``websockets``."""
