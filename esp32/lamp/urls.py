"""Addresses of gateways, and of the lamp. Borrowed by their users."""

from lamp import RefusedError


def split(url: str) -> tuple:
    """Return of ``ws://HOST[:PORT][/PATH]`` whether it is ``wss``, the host, the port and the path.

    Raises:
        RefusedError: If it is something else; only names and IPv4 addresses are understood.
    """
    scheme, _, rest = url.partition("://")
    where, slash, path = rest.partition("/")
    host, colon, port = where.partition(":")
    port = port if colon else "443" if scheme == "wss" else "80"
    well = scheme in ("ws", "wss") and len(url) <= 300 and all(32 < ord(char) < 127 for char in url)
    well = well and host and "@" not in host and "#" not in url
    if not (well and len(port) < 6 and port.isdigit() and 0 < int(port) < 65536):
        raise RefusedError("gateway must be ws://HOST:PORT or wss://HOST:PORT")
    return scheme == "wss", host, int(port), "/" + path if slash and path else "/lamp"


def fixed(text: str) -> tuple:
    """Return address, mask and router of ``ADDRESS/BITS ROUTER``.

    Raises:
        RefusedError: If it is something else.
    """
    where, _, router = text.partition(" ")
    host, _, bits = where.partition("/")
    if not (is_address(host) and is_address(router) and len(bits) == 2 and bits.isdigit() and 8 <= int(bits) <= 30):
        raise RefusedError("address must be like 192.168.1.200/24 192.168.1.1, the second being the router's")
    mask = 0xFFFFFFFF << (32 - int(bits))
    return host, ".".join([str(mask >> shift & 255) for shift in (24, 16, 8, 0)]), router


def is_address(host: str) -> bool:
    """Tell whether ``host`` is an IPv4 address."""
    parts = host.split(".")
    return len(parts) == 4 and all(0 < len(part) < 4 and part.isdigit() and int(part) < 256 for part in parts)
