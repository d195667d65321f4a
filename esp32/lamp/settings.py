"""Settings of the lamp: ``settings.json``, a backup beside it, and secrets in the chip's own store.

There is always a whole set of settings. What cannot be read comes from the backup, what cannot be used becomes the
default, and each such thing is told in ``problems``. A change is written beside and put in place by one rename, so
that a power cut leaves the old settings or the new ones.

Secrets (the token, passwords of networks) live in two places of the store by turns; the file says which one counts.
So the rename that puts the file in place switches the secrets too.
"""

import json
import os

from lamp import urls
from lamp.checks import RefusedError, one_of, text, whole, yes_or_no

_NETWORKS = 4
# How many pins each kind of light has.
LIGHTS = {"leds": 3, "rgb": 3, "led": 1, "strip": 1}


def _name(value, key: str) -> str:
    plain = text(value, key, 32).replace("-", "")
    if plain and not all(char.isalpha() or char.isdigit() for char in plain):
        raise RefusedError(f"{key} may have letters, digits and '-'")
    return value


def _gateway(value, key: str) -> str:
    if text(value, key, 300):
        urls.split(value)
    return value


def _networks(value, key: str) -> list:
    if not isinstance(value, list) or len(value) > _NETWORKS or not all(isinstance(one, dict) for one in value):
        raise RefusedError(f"{key} must be a list of at most {_NETWORKS} objects with ssid and password")
    networks = []
    for one in value:
        ssid, password = text(one.get("ssid"), "ssid", 32), text(one.get("password", ""), "password", 64)
        if not ssid or 0 < len(password) < 8:
            raise RefusedError("a network has an ssid, and a password of at least 8 characters or none")
        networks.append({"ssid": ssid, "password": password})
    return networks


def _pins(value, key: str) -> list:
    pins = [whole(pin, "a pin", 0, 48) for pin in value] if isinstance(value, list) else [0, 0]
    if len(set(pins)) < len(pins):
        raise RefusedError(f"{key} must be a list of different pins")
    return pins


def _sensor(value, key: str):
    if value is None:
        return None
    if not isinstance(value, dict):
        raise RefusedError(f"{key} must be an object with kind and pin")
    return {
        "kind": one_of(value.get("kind"), "kind", "dht11", "dht22"),
        "pin": whole(value.get("pin"), "pin", 0, 48),
    }


# Key: its default, its check, and what else the check is told.
TABLE = {
    "name": ("", _name),
    "networks": ([], _networks),
    "gateway": ("", _gateway),
    "token": ("", text, 128),
    "output": ("leds", one_of) + tuple(LIGHTS),
    "pins": ([], _pins),
    "inverted": (False, yes_or_no),
    "pixels": (8, whole, 1, 300),
    "brightness": (100, whole, 1, 100),
    "gpio": ([], _pins),
    "sensor": (None, _sensor),
    "dns": ("", text, 64),
}


class Settings:
    """Values by key.

    Args:
        vault: The chip's store for secrets: ``read(place)`` and ``write(place, data)``; ``None`` where there is none.
        chip: A ``chips.Chip``.
        file: Where the settings are.

    Attributes:
        problems: What was wrong with the file, one sentence each.
    """

    def __init__(self, vault, chip, file: str = "settings.json") -> None:
        self._vault = vault
        self._chip = chip
        self._file = file
        self._place = 0
        self._values = {key: row[0] for key, row in TABLE.items()}
        self.problems = []
        self._load()

    def __getitem__(self, key: str):
        return self._values[key]

    def change(self, changes: dict) -> None:
        """Check and store other values for some keys, all of them or none.

        Raises:
            RefusedError: If there is no such key or its value cannot be used.
            OSError: If they cannot be stored.
        """
        values = dict(self._values)
        for key, value in changes.items():
            if key not in TABLE:
                raise RefusedError(f"there is no setting '{key}'"[:80])
            values[key] = _checked(key, value)
        self._fit(values)
        self._save(values)

    def shown(self) -> dict:
        """Return all values; of secrets only whether there is one."""
        shown = dict(self._values)
        shown["token"] = bool(shown["token"])
        shown["networks"] = [
            {"ssid": one["ssid"], "password": bool(one["password"])} for one in self._values["networks"]
        ]
        return shown

    def light_pins(self) -> tuple:
        """Return the pins of the light, in the order of its channels."""
        return tuple(self._values["pins"]) or self._chip.light[: LIGHTS[self._values["output"]]]

    def _load(self) -> None:
        mine, backup = self._read(self._file), self._read(self._file + ".bak")
        mine = mine or backup
        for key in TABLE:
            if key in mine and not self._take(key, mine[key]) and key in backup:
                self._take(key, backup[key])
        try:
            self._fit(self._values)
        except RefusedError as exc:
            self.problems.append(str(exc))
            for key in ("output", "pins", "gpio", "sensor"):
                self._values[key] = TABLE[key][0]
        self._place = 1 if mine.get("vault", backup.get("vault")) == 1 else 0
        known = self._secrets()
        self._values["token"] = self._values["token"] or known.get("token", "")
        for one in self._values["networks"]:
            one["password"] = one["password"] or known.get("wifi", {}).get(one["ssid"], "")
        # A file with mistakes in it is left to the one who wrote it.
        if mine != backup and not self.problems:
            try:
                self._save(self._values)
            except OSError as exc:
                self.problems.append(f"the settings cannot be stored ({exc})")

    def _take(self, key: str, value) -> bool:
        try:
            self._values[key] = _checked(key, value)
            return True
        except RefusedError as exc:
            self.problems.append(str(exc))
            return False

    def _read(self, file: str) -> dict:
        try:
            with open(file) as stream:
                values = json.load(stream)
            if isinstance(values, dict):
                return values
            self.problems.append(f"{file} is not a JSON object")
        except ValueError:
            self.problems.append(f"{file} is not JSON")
        except OSError:
            pass
        return {}

    def _fit(self, values: dict) -> None:
        """Refuse pins that this chip does not have to spare, or that are used twice."""
        pins, sensor = values["pins"], values["sensor"]
        needed = LIGHTS[values["output"]]
        if pins and len(pins) != needed:
            raise RefusedError(f"output {values['output']} has {needed} pins")
        light = list(pins or self._chip.light[:needed])
        for pin in light + values["gpio"]:
            if pin not in self._chip.outputs and not (pin in values["gpio"] and pin in self._chip.inputs):
                raise RefusedError(f"pin {pin} of an {self._chip.name} cannot be used")
        if sensor and sensor["pin"] not in self._chip.outputs:
            raise RefusedError(f"pin {sensor['pin']} of an {self._chip.name} cannot be used")
        if any(pin in values["gpio"] for pin in light) or (sensor and sensor["pin"] in light):
            raise RefusedError("a pin of the light cannot be used for something else")

    def _save(self, values: dict) -> None:
        place = self._place
        kept = dict(values)
        if self._vault:
            place = 1 - place
            networks = values["networks"]
            secrets = {"token": values["token"], "wifi": {one["ssid"]: one["password"] for one in networks}}
            self._vault.write(place, json.dumps(secrets).encode())
            del kept["token"]
            kept["networks"] = [{"ssid": one["ssid"]} for one in networks]
            kept["vault"] = place
        for file in (self._file, self._file + ".bak"):
            with open(file + ".new", "w") as stream:
                json.dump(kept, stream)
            os.rename(file + ".new", file)
            # From the first rename on they hold, whatever becomes of the backup.
            self._values, self._place = values, place

    def _secrets(self) -> dict:
        try:
            secrets = json.loads(self._vault.read(self._place)) if self._vault else {}
            return secrets if isinstance(secrets, dict) else {}
        except ValueError:
            self.problems.append("the secrets of the lamp are lost")
            return {}


def _checked(key: str, value):
    row = TABLE[key]
    return row[1](value, key, *row[2:])
