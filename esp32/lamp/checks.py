"""Checks of what people and programs say; what is refused is refused with one sentence. Borrowed by its users."""

from lamp import RefusedError


def whole(value, name: str, low: int, high: int) -> int:
    """Return a whole number from ``low`` to ``high``; forms send it as text."""
    if isinstance(value, str) and 0 < len(value) < 10 and value.isdigit():
        value = int(value)
    if type(value) is int and low <= value <= high:
        return value
    raise RefusedError(f"{name} must be a whole number from {low} to {high}")


def text(value, name: str, most: int) -> str:
    """Return a text of at most ``most`` characters, none of them a control character."""
    if isinstance(value, str) and len(value) <= most and all(ord(char) > 31 for char in value):
        return value
    raise RefusedError(f"{name} must be a text of at most {most} characters")


def one_of(value, name: str, *choices: str) -> str:
    """Return one of the words that may be chosen."""
    if isinstance(value, str) and value in choices:
        return value
    raise RefusedError(f"{name} must be one of {', '.join(choices)}")


def yes_or_no(value, name: str) -> bool:
    """Return true or false."""
    if type(value) is bool:
        return value
    raise RefusedError(f"{name} must be true or false")
