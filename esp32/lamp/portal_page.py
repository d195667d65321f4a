"""The page of set-up, on the lamp's own access point; in pieces, as ``page`` is. Borrowed.

The phone may lose the lamp for a moment while that joins a network on another channel: the page goes on asking.
"""

_BODY = b"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<link rel="icon" href="data:,">
<title>Set up this lamp</title>
<style>
:root{color-scheme:dark}
body{margin:0 auto;max-width:26rem;padding:1rem;background:#16181d;color:#e8eaed;font:17px/1.45 system-ui,sans-serif}
h1{font-size:1.3rem}
label{display:block;margin:.7rem 0}
[hidden]{display:none!important}
input,button{font:inherit;width:100%;padding:.5rem .7rem;border-radius:.5rem;border:1px solid #666;background:#111318;
color:inherit;box-sizing:border-box;min-height:2.75rem}
input[type=checkbox]{width:auto;min-height:0}
button{background:#35507a;margin:.3rem 0}
small,.dim{color:#a8adb5}
#told{padding:.7rem;border-radius:.5rem;background:#22252c;min-height:1.5rem}
:focus-visible{outline:3px solid #8ab4f8}
</style>
<h1>Set up this lamp</h1>
<p class="dim" id="who"></p>
<form id="form">
<label>Wi-Fi <input id="ssid" list="air" maxlength="32" required autocomplete="off"></label>
<datalist id="air"></datalist>
<button type="button" id="scan">Look for networks</button>
<label>Password <input id="password" type="password" maxlength="64" autocomplete="off"></label>
<label>Address of the fleet <input id="gateway" placeholder="ws://192.168.1.10:5678" autocomplete="off"></label>
<label>Name of the lamp <input id="lamp" maxlength="32" autocomplete="off"></label>
<label>Token <input id="token" type="password" autocomplete="off" maxlength="128"></label>
<p><small id="locked" hidden>This lamp is registered: changing something takes its token.</small></p>
<label><input id="anyway" type="checkbox"> Keep it even if the fleet does not answer now</label>
<button>Try and keep</button>
</form>
<p id="told" role="status">Nothing is kept unless it works.</p>
<p><small>This network has no password: what you enter here could be heard nearby. By cable nobody hears it:
./espcli provision.</small></p>
"""

_SCRIPT = b"""<script>
"use strict";
const at = id => document.getElementById(id);
const tell = text => { at("told").textContent = text; };
const rest = ms => new Promise(done => setTimeout(done, ms));
async function ask(path, body) {
  const how = {cache: "no-store", signal: AbortSignal.timeout(8000)};
  if (body) {
    how.method = "POST";
    how.body = JSON.stringify(body);
    how.headers = {"Content-Type": "application/json"};
    if (at("token").value) how.headers.Authorization = "Bearer " + at("token").value;
  }
  const answer = await fetch(path, how), values = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(values.error), {told: true});
  return values;
}
const WORDS = {joining: "Joining the Wi-Fi\\u2026", asking: "The Wi-Fi works. Asking the fleet\\u2026"};
async function follow() {
  for (let silent = 0; silent < 30; await rest(1000)) {
    try {
      const now = await ask("/setup/state");
      silent = 0;
      if (now.stage === "failed") return tell("Nothing is changed: " + now.why + ".");
      if (now.stage === "saved") return tell("It works and is kept. This network closes now; the lamp is at http://"
        + now.address + "/ui in your own.");
      tell(WORDS[now.stage] || "");
    } catch (error) {
      if (error.told) return tell("Set-up is over: the lamp has joined your network.");
      silent++;
    }
  }
  tell("The lamp is gone. If its light no longer breathes white, it has joined your network.");
}
at("form").onsubmit = async event => {
  event.preventDefault();
  const wish = {ssid: at("ssid").value, anyway: at("anyway").checked};
  for (const key of ["password", "gateway", "token"]) if (at(key).value) wish[key] = at(key).value;
  if (at("lamp").value) wish.name = at("lamp").value;
  try { await ask("/setup", wish); await follow(); }
  catch (error) { tell(error.told ? error.message : "The lamp does not answer."); }
};
at("scan").onclick = async () => {
  tell("Looking; the light stands still meanwhile.");
  try {
    const found = await ask("/setup/networks");
    at("air").replaceChildren(...found.networks.map(name => Object.assign(document.createElement("option"),
      {value: name})));
    tell(found.networks.join(", ") || "There is none in reach.");
  } catch (error) { tell(error.told ? error.message : "The lamp does not answer."); }
};
(async () => {
  const now = await ask("/setup/state");
  at("who").textContent = now.id + (now.ssids.length ? ", knows " + now.ssids.join(", ") : "");
  at("gateway").value = now.gateway;
  at("lamp").value = now.name;
  at("locked").hidden = !now.registered;
  if (!now.registered) at("token").placeholder = "of ./espcli register, if there is one";
})();
</script>
</html>
"""

PARTS = (_BODY, _SCRIPT)
