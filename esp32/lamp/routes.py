"""Who may have what of the lamp's HTTP server. Borrowed by the exchange.

Everybody in the network may look. Changing something takes the lamp's token, once it has one. No web page from
elsewhere may do either: the header Host must name this lamp, and Origin, where there is one, this server.
"""

from lamp import board
from lamp.http import HttpError

# What is asked with GET is a function of ``looking``, what is told with POST one of ``telling``.
_PATHS = {
    "/": "GET",
    "/adc": "POST",
    "/dht22": "POST",
    "/gpio": "POST",
    "/identify": "POST",
    "/level": "POST",
    "/provision": "POST",
    "/reboot": "POST",
    "/set_host": "POST",
    "/settings": "GET, POST",
    "/state": "GET",
    "/ui": "GET",
}


async def reply(lamp, asked):
    """Return what is answered: an object for JSON, or status, content type and an object or pieces.

    Raises:
        HttpError, RefusedError: If it is refused.
        OSError: If the hardware does not do it.
    """
    host, portal, path = asked.headers.get("host", ""), lamp.http.portal, asked.path
    if not asked.names(lamp.hostname):
        if portal and asked.method == "GET":
            # Phones ask for pages of their makers to find out whether a network wants something of its user.
            raise elsewhere(f"http://{portal.address}/setup")
        raise HttpError(400, f"the header host must be the lamp's address or {lamp.hostname}.local")
    if portal and path == "/":
        raise elsewhere("/setup")
    own = portal is not None and path in portal.paths
    allowed = portal.paths[path] if own else _PATHS.get(path)
    if not allowed:
        raise HttpError(404, f"there is nothing here: look at {', '.join(sorted(_PATHS))}")
    method = "GET" if asked.method == "HEAD" else asked.method
    if method not in allowed.split(", "):
        raise HttpError(405, f"{path} takes only {allowed}", f"Allow: {allowed}\r\n")
    name = path[1:] or "root"
    if method == "GET":
        return await (portal.look_at(name) if own else getattr(lamp.http.lend("looking"), name)(lamp))
    origin = asked.headers.get("origin")
    if origin is not None and (origin != "http://" + host or path == "/provision"):
        raise HttpError(403, "a web page from elsewhere cannot tell this lamp what to do")
    if path != "/provision" and not asked.shows(lamp.settings["token"]):
        # Not the header that makes browsers ask for name and password: the page has a field.
        raise HttpError(401, "this lamp is registered and wants its token: Authorization: Bearer TOKEN")
    values = asked.fields()
    told = await (portal.begin(values) if own else getattr(lamp.http.lend("telling"), name)(lamp, values))
    told["id"] = board.device_id()
    return told


def elsewhere(where: str) -> HttpError:
    """Return what sends a browser there."""
    return HttpError(302, "this lamp is being set up", f"Location: {where}\r\n")
