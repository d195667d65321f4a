"""Settings of the lamp: ``settings.json``, a backup beside it, and secrets in the chip's own store. Borrowed.

There is always a whole set of settings. What cannot be read comes from the backup, what cannot be used becomes the
default, and each such thing is told. A change is written beside and put in place by one rename, so that a power cut
leaves the old settings or the new ones.

Secrets (the token, passwords of networks) live in two places of the store by turns; the file says which one counts.
So the rename that puts the file in place switches the secrets too.
"""

import json
import os

from lamp import RefusedError, borrow

checks, urls = borrow("checks"), borrow("urls")

FILE = "settings.json"
_NETWORKS = 4
# How many pins each kind of light has.
_LIGHTS = {"leds": 3, "rgb": 3, "led": 1, "strip": 1}


def _name(value, key: str) -> str:
    plain = checks.text(value, key, 32).replace("-", "")
    if plain and not all(char.isalpha() or char.isdigit() for char in plain):
        raise RefusedError(f"{key} may have letters, digits and '-'")
    return value


def _gateway(value, key: str) -> str:
    if checks.text(value, key, 300):
        urls.split(value)
    return value


def _networks(value, key: str) -> list:
    if not isinstance(value, list) or len(value) > _NETWORKS or not all(isinstance(one, dict) for one in value):
        raise RefusedError(f"{key} must be a list of at most {_NETWORKS} objects with ssid and password")
    networks = []
    for one in value:
        ssid = checks.text(one.get("ssid"), "ssid", 32)
        password = checks.text(one.get("password", ""), "password", 64)
        if not ssid or 0 < len(password) < 8:
            raise RefusedError("a network has an ssid, and a password of at least 8 characters or none")
        networks.append({"ssid": ssid, "password": password})
    return networks


def _dns(value, key: str) -> str:
    address, colon, port = checks.text(value, key, 21).partition(":")
    if value and not (urls.is_address(address) and (not colon or checks.whole(port, key, 1, 65_535))):
        raise RefusedError(f"{key} must be an address")
    return value


def _address(value, key: str) -> str:
    if checks.text(value, key, 40):
        urls.fixed(value)
    return value


def _pins(value, key: str) -> list:
    pins = [checks.whole(pin, "a pin", 0, 48) for pin in value] if isinstance(value, list) else [0, 0]
    if len(set(pins)) < len(pins):
        raise RefusedError(f"{key} must be a list of different pins")
    return pins


def _sensor(value, key: str):
    if value is None:
        return None
    if not isinstance(value, dict):
        raise RefusedError(f"{key} must be an object with kind and pin")
    kind = checks.one_of(value.get("kind"), "kind", "dht11", "dht22")
    return {"kind": kind, "pin": checks.whole(value.get("pin"), "pin", 0, 48)}


# Key: its default, its check, and what else the check is told.
TABLE = {
    "name": ("", _name),
    "networks": ([], _networks),
    "gateway": ("", _gateway),
    "token": ("", checks.text, 128),
    "output": ("leds", checks.one_of) + tuple(_LIGHTS),
    "pins": ([], _pins),
    "inverted": (False, checks.yes_or_no),
    "pixels": (8, checks.whole, 1, 300),
    "brightness": (100, checks.whole, 1, 100),
    "gpio": ([], _pins),
    "sensor": (None, _sensor),
    "dns": ("", _dns),
    "address": ("", _address),
    "http_port": (80, checks.whole, 0, 65_535),
}


def load(vault, chip) -> tuple:
    """Return the settings by key, and what is wrong with them, one sentence each.

    Beside the keys of ``TABLE`` there are ``light``, the pins of the light, and ``vault``, where its secrets are.

    Args:
        vault: The chip's store for secrets, or ``None`` where there is none.
        chip: What has ``CHIP``, ``OUTPUTS``, ``INPUTS`` and ``LIGHT``: the ``board``.
    """
    problems = []
    mine, backup = _read(FILE, problems), _read(FILE + ".bak", problems)
    mine = mine or backup
    values = {}
    for key, row in TABLE.items():
        values[key] = row[0]
        for source in (mine, backup):
            if key not in mine or key not in source:
                continue
            try:
                values[key] = row[1](source[key], key, *row[2:])
                break
            except RefusedError as exc:
                problems.append(str(exc))
    try:
        _fit(values, chip)
    except RefusedError as exc:
        problems.append(str(exc))
        for key in ("output", "pins", "gpio", "sensor"):
            values[key] = TABLE[key][0]
        _fit(values, chip)
    values["vault"] = 1 if mine.get("vault", backup.get("vault")) == 1 else 0
    known = {}
    try:
        known = json.loads(vault.read(values["vault"])) if vault else {}
    except ValueError:
        problems.append("the secrets of the lamp are lost")
    values["token"] = values["token"] or known.get("token", "")
    for one in values["networks"]:
        one["password"] = one["password"] or known.get("wifi", {}).get(one["ssid"], "")
    # A file with mistakes in it is left to the one who wrote it.
    if mine != backup and not problems:
        try:
            _save(values, vault)
        except OSError as exc:
            problems.append(f"the settings cannot be stored ({exc})")
    return values, problems


def change(values: dict, changes: dict, vault, chip) -> None:
    """Check and store other values for some keys, all of them or none.

    Raises:
        RefusedError: If there is no such key or its value cannot be used.
        OSError: If they cannot be stored.
    """
    changed = checked(values, changes, chip)
    _save(changed, vault)
    values.update(changed)


def checked(values: dict, changes: dict, chip) -> dict:
    """Return all settings with other values for some keys. A secret that is told as ``true`` stays what it is.

    Raises:
        RefusedError: If there is no such key or its value cannot be used.
    """
    changed = dict(values)
    for key, value in changes.items():
        if key not in TABLE:
            raise RefusedError(f"there is no setting {key[:32]}")
        if key == "token" and value is True:
            continue
        if key == "networks" and isinstance(value, list):
            value = [_with_password(one, values["networks"]) for one in value]
        row = TABLE[key]
        changed[key] = row[1](value, key, *row[2:])
    _fit(changed, chip)
    return changed


def shown(values: dict) -> dict:
    """Return all settings; of secrets only whether there is one."""
    told = {key: values[key] for key in TABLE}
    told["token"] = bool(values["token"])
    told["networks"] = [{"ssid": one["ssid"], "password": bool(one["password"])} for one in values["networks"]]
    return told


def _with_password(network, known: list):
    """Return a network with the password that is known of it, unless it comes with one."""
    if isinstance(network, dict) and network.get("password", True) is True:
        for one in known:
            if one["ssid"] == network.get("ssid"):
                return one
    return network


def _read(file: str, problems: list) -> dict:
    try:
        with open(file) as stream:
            values = json.load(stream)
        if isinstance(values, dict):
            return values
        problems.append(f"{file} is not a JSON object")
    except ValueError:
        problems.append(f"{file} is not JSON")
    except OSError:
        pass
    return {}


def _fit(values: dict, chip) -> None:
    """Note the pins of the light; refuse pins that this chip does not have to spare, or that are used twice."""
    pins, gpio, sensor = values["pins"], values["gpio"], values["sensor"]
    needed = _LIGHTS[values["output"]]
    if pins and len(pins) != needed:
        raise RefusedError(f"output {values['output']} has {needed} pins")
    light = bytes(pins) or chip.LIGHT[:needed]
    others = gpio + ([sensor["pin"]] if sensor else [])
    for pin in list(light) + others:
        if pin not in chip.OUTPUTS and not (pin in gpio and pin in chip.INPUTS):
            raise RefusedError(f"pin {pin} of an {chip.CHIP} cannot be used")
    if any(pin in light for pin in others):
        raise RefusedError("a pin of the light cannot be used for something else")
    values["light"] = light


def _save(values: dict, vault) -> None:
    kept = {key: values[key] for key in TABLE}
    if vault:
        networks = kept["networks"]
        secrets = {"token": kept.pop("token"), "wifi": {one["ssid"]: one["password"] for one in networks}}
        kept["networks"] = [{"ssid": one["ssid"]} for one in networks]
        kept["vault"] = 1 - values["vault"]
        vault.write(kept["vault"], json.dumps(secrets).encode())
    for file in (FILE, FILE + ".bak"):
        with open(file + ".new", "w") as stream:
            json.dump(kept, stream)
        os.rename(file + ".new", file)
        # From the first rename on they hold, whatever becomes of the backup.
        values["vault"] = kept.get("vault", 0)
