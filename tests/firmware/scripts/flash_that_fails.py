"""A flash with a file system on it that loses power in the middle of a write."""

import os

import vfs


class Flash:
    """A flash that loses power after so many writes; what NVS writes counts too."""

    BLOCKS, SIZE = 32, 4096

    def __init__(self, data=None, left=-1):
        self.data = bytearray(data or self.BLOCKS * self.SIZE)
        self.left = left
        self.cut = False

    def tick(self):
        if self.left == 0:
            self.cut = True
            raise OSError(5)
        self.left -= 1

    def put(self, at, data):
        if self.left == 0:
            # The power goes in the middle of the write.
            data = data[: len(data) // 2]
            self.data[at : at + len(data)] = data
        self.tick()
        self.data[at : at + len(data)] = data

    def readblocks(self, block, buffer, offset=0):
        at = block * self.SIZE + offset
        buffer[:] = self.data[at : at + len(buffer)]

    def writeblocks(self, block, buffer, offset=0):
        self.put(block * self.SIZE + offset, buffer)

    def ioctl(self, op, block):
        if op == 4:
            return self.BLOCKS
        if op == 5:
            return self.SIZE
        if op == 6:
            self.put(block * self.SIZE, b"\xff" * self.SIZE)
            return 0
        return None


def mounted(flash):
    vfs.mount(vfs.VfsLfs2(flash), "/flash")
    os.chdir("/flash")


def unmounted():
    os.chdir("/")
    try:
        vfs.umount("/flash")
    except OSError:
        pass
