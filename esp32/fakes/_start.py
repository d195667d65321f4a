"""Start the lamp's program on a computer: as ``main.py`` does on a chip, but its pages are for this computer only."""

import socket
import sys


class _Loopback:
    """``socket``, in which "all addresses of this machine" are the one that nobody else reaches."""

    def __getattr__(self, name):
        return getattr(socket, name)

    def getaddrinfo(self, host, *more):
        return socket.getaddrinfo("127.0.0.1" if host == "0.0.0.0" else host, *more)


sys.modules["socket"] = _Loopback()
__import__("main")
