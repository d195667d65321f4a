"""The page on which a simulated lamp shows itself: one file, nothing from outside, always up to date."""

from __future__ import annotations

from html import escape
from string import Template

from espfleet.simulator.lamp import LampView

_PAGE = Template(
    """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,">
<title>$name</title>
<style>
body { margin: 0; min-height: 100vh; display: flex; flex-direction: column; align-items: center;
  justify-content: center; gap: 1rem; background: #16181d; color: #e8eaed; font: 18px/1.4 system-ui, sans-serif }
#light { width: 12rem; height: 12rem; border-radius: 50%; border: 2px solid #444; transition: background .12s }
h1 { margin: 0; font-size: 1.4rem }
p { margin: 0; max-width: 32rem; text-align: center }
#why, small { color: #9aa0a6 }
</style>
<h1 id="name">$name</h1>
<div id="light" style="background: rgb$rgb; box-shadow: 0 0 4rem rgb$rgb"></div>
<p id="look" aria-live="polite">$look</p>
<p id="why">$why</p>
<small>simulated lamp $id</small>
<script>
const at = id => document.getElementById(id);
async function refresh() {
  try {
    const lamp = await (await fetch("/state", {cache: "no-store", signal: AbortSignal.timeout(3000)})).json();
    const colour = `rgb($${lamp.rgb})`;
    at("light").style.background = colour;
    at("light").style.boxShadow = `0 0 4rem $${colour}`;
    at("look").textContent = lamp.level === null ? lamp.look : `$${lamp.look} $${lamp.level}`;
    at("why").textContent = lamp.why;
    at("name").textContent = document.title = lamp.name;
  } catch {
    at("look").textContent = "switched off";
    at("light").style.background = at("light").style.boxShadow = "none";
  }
  setTimeout(refresh, 120);
}
refresh();
</script>
</html>
"""
)


def page(view: LampView) -> str:
    """Return the page of a lamp as it is now."""
    return _PAGE.substitute(
        name=escape(view.name),
        id=escape(view.id),
        look=escape(view.word if view.level is None else f"{view.word} {view.level}"),
        why=escape(view.why),
        rgb=str(view.rgb),
    )
