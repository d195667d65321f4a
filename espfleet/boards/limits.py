"""How much of a device's time and words one exchange with it may take."""

TIMEOUT_S = 3.0
ANSWER_BYTES = 65_536
