"""A whole fleet by one setting over TLS, open to others."""

from __future__ import annotations

import stat
from pathlib import Path

import requests

from tests.whole.fleet import Fleet, wait_for


def test_one_setting_makes_everything_speak_tls_and_the_first_admin_finds_a_token(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, TLS="on", WEB_HOST="0.0.0.0")
    with fleet.up() as up:

        def live() -> bool:
            devices = fleet.devices()
            return len(devices) == 3 and all(one["presence"] == "live" for one in devices.values())

        wait_for(live, 40, up.said)
        certs = tmp_path / ".espfleet" / "certs"
        web = f"https://127.0.0.1:{fleet.web_port}"

        def asked(**headers: str) -> requests.Response:
            return requests.get(f"{web}/api/levels", verify=str(certs / "ca.pem"), headers=headers, timeout=30)

        def answers() -> bool:
            try:
                return asked().status_code == 401
            except requests.ConnectionError:
                return False

        wait_for(answers, 20, up.said)
        file = tmp_path / ".espfleet" / "admin-token"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert str(file) in up.said()
        token = file.read_text().strip()
        assert asked(Authorization=f"Bearer {token}").status_code == 200
        plain = requests.get(f"http://127.0.0.1:{fleet.port}/lamp", timeout=30)
        assert (plain.status_code, plain.text.split(":")[0]) == (426, "this gateway speaks TLS only")
        assert fleet.type("certs", "renew").returncode == 0
        wait_for(lambda: up.said().count("the certificate was renewed") >= 2, 20, up.said)
        assert live()
    assert token not in up.said()
    assert "Traceback" not in up.said()
    assert fleet.processes() == {}
