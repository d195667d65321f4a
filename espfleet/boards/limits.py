"""How much of a device's time and words one exchange with it may take."""

TIMEOUT_S = 3.0
ANSWER_BYTES = 65_536
#: Everything that comes in one exchange, with the head of the answer.
WIRE_BYTES = 2 * ANSWER_BYTES
