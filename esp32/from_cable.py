"""What ``./espcli provision`` runs on a board: it is sent through the cable, not stored there.

What it prints is one line of JSON. Secrets never come out: of each only its SHA-256.
"""

import binascii
import hashlib
import json
import sys

try:
    from slots import PLACES, read

    if read().get("slot") in PLACES and sys.path[0] != read()["slot"]:
        # What an update has brought is what runs, and what knows its settings.
        sys.path.insert(0, read()["slot"])
except ImportError:
    pass
from lamp import VERSION, board, borrow


def checksum(data) -> str:
    """Return the SHA-256 of a text or bytes as hex digits; nothing has none."""
    if not data:
        return ""
    if isinstance(data, str):
        data = data.encode()
    return binascii.hexlify(hashlib.sha256(data).digest()).decode()


def loaded() -> tuple:
    """Return the store of secrets, the settings by key, and what is wrong with them."""
    vault = borrow("board.vault").Vault()
    values, problems = borrow("settings").load(vault, board)
    return vault, values, problems


def look() -> None:
    """Tell who the board is and what it is set to."""
    _, values, problems = loaded()
    told = borrow("settings").shown(values)
    told["token"] = checksum(values["token"])
    told["networks"] = [{"ssid": one["ssid"], "password": checksum(one["password"])} for one in values["networks"]]
    print(
        json.dumps(
            {"id": board.device_id(), "chip": board.CHIP, "firmware": VERSION, "settings": told, "problems": problems}
        )
    )


def change(changes: dict, network=None) -> None:
    """Change settings, all or none.

    Args:
        changes: Values by key.
        network: One with ssid and password, to be tried before those that are known.
    """
    vault, values, _ = loaded()
    if network:
        networks = [one for one in values["networks"] if one["ssid"] != network["ssid"]]
        networks.insert(0, network)
        changes["networks"] = networks[:4]
    borrow("settings").change(values, changes, vault, board)
