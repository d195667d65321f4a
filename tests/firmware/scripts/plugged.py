"""What a board does when it starts: ``boot.py``, then ``main.py``; afterwards MicroPython shows its prompt.

Words: whether main.py runs, and the bytes of a flash in memory, or 0 for the folder that this was started in.
"""

import os
import sys

import vfs


class Flash:
    """A flash in memory, with blocks as a chip has."""

    BLOCK = 4096

    def __init__(self, size):
        self._data = bytearray(size)

    def readblocks(self, number, buffer, offset=0):
        start = number * self.BLOCK + offset
        buffer[:] = self._data[start : start + len(buffer)]

    def writeblocks(self, number, buffer, offset=0):
        start = number * self.BLOCK + offset
        self._data[start : start + len(buffer)] = buffer

    def ioctl(self, op, _):
        return {4: len(self._data) // self.BLOCK, 5: self.BLOCK, 6: 0}.get(op, 0)


if int(sys.argv[2]):
    flash = Flash(int(sys.argv[2]))
    vfs.VfsLfs2.mkfs(flash)
    vfs.mount(vfs.VfsLfs2(flash), "/flash")
    os.chdir("/flash")
# In place of the folder of this script.
sys.path[0] = ""
for name in ("boot.py", "main.py") if sys.argv[1] == "main" else ("boot.py",):
    try:
        with open(name) as stream:
            code = stream.read()
    except OSError:
        continue
    try:
        exec(compile(code, name, "exec"), {"__name__": "__main__"})
    except SystemExit:
        # A reset. Left to itself, MicroPython would show its prompt.
        os.system("kill -9 $PPID")
    except Exception as exc:
        sys.print_exception(exc)
