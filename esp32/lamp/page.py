"""The lamp's page for people, in pieces: whole, it might not fit into memory that is in pieces itself. Borrowed.

It needs nothing from outside, and never writes markup of what it is told: names go in as text.
"""

_HEAD = b"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<link rel="icon" href="data:,">
<title>Lamp</title>
<style>
:root{color-scheme:dark}
body{margin:0 auto;max-width:30rem;padding:1rem;background:#16181d;color:#e8eaed;font:17px/1.45 system-ui,sans-serif}
h1{font-size:1.3rem;margin:0;text-align:center}
h2{font-size:1rem;margin:0 0 .5rem}
p{margin:.3rem 0}
section{margin:1rem 0;padding:.8rem;border-radius:.7rem;background:#22252c}
.middle{text-align:center}
.dim,small{color:#a8adb5}
#disc{width:8rem;height:8rem;margin:1rem auto;border-radius:50%;border:2px solid #555;background:#000}
button,input,select{font:inherit;padding:.5rem .7rem;border-radius:.5rem;border:1px solid #666;background:#111318;
color:inherit;box-sizing:border-box;min-height:2.75rem}
button{background:#35507a;cursor:pointer}
button[aria-pressed=true]{background:#3d7a46}
input[type=range]{width:100%;padding:0}
label{display:block;margin:.5rem 0}
[hidden]{display:none!important}
label input,label select{width:100%}
.row{display:flex;gap:.5rem;flex-wrap:wrap;align-items:center}
.row input,.row select{flex:1;min-width:5rem}
#pins button{min-width:4.2rem}
#told{position:sticky;bottom:0;margin:0;padding:.6rem;background:#16181d;min-height:1.5rem}
pre{font-size:.75rem;white-space:pre-wrap;margin:0}
:focus-visible{outline:3px solid #8ab4f8}
</style>
"""

_BODY = b"""<h1 id="name">Lamp</h1>
<div id="disc" role="img" aria-label="light"></div>
<p class="middle" id="look" aria-live="polite"></p>
<p class="middle dim" id="why"></p>
<section id="locked" hidden><h2>Token</h2>
<p>This lamp is registered: changing something takes its token.</p>
<label>Token <input id="token" type="password" autocomplete="off"></label></section>
<section><h2>Light</h2>
<label>Try a level: <span id="tried">50</span>
<input id="level" type="range" min="0" max="100" value="50"></label>
<p class="row"><button id="stop">Show the real one</button><button id="identify">Which lamp is it? Blink</button></p>
<small>A tried level goes away after 10 seconds.</small></section>
<section><h2>Pins</h2><div id="pins" class="row"></div>
<p><small>A touch turns a pin round. Pins of the light, and others that are not free, refuse.</small></p>
<p class="row"><input id="pin" type="number" min="0" max="48" aria-label="pin to measure" placeholder="pin">
<button id="adc">Voltage</button><button id="dht22">DHT22</button></p><p id="measured"></p></section>
<section><h2>Settings</h2><form id="form"></form>
<p><small>They hold from the next start on. A password that is left empty stays what it is.</small></p>
<p class="row"><button id="save">Save</button><button id="reboot">Start again</button></p></section>
<section><h2>Lamp</h2><p id="facts" class="dim"></p><pre id="log"></pre></section>
<p id="told" role="status"></p>
"""

_SCRIPT = b"""<script>
"use strict";
const at = id => document.getElementById(id);
const make = (tag, set, ...inside) => { const one = Object.assign(document.createElement(tag), set);
  one.append(...inside); return one; };
const tell = text => { at("told").textContent = text; };
at("token").value = sessionStorage.getItem("token") || "";
at("token").oninput = () => sessionStorage.setItem("token", at("token").value);

async function ask(path, body) {
  const how = {cache: "no-store"};
  if (!body) how.signal = AbortSignal.timeout(4000);
  else {
    how.method = "POST";
    how.body = JSON.stringify(body);
    how.headers = {"Content-Type": "application/json"};
    if (at("token").value) how.headers.Authorization = "Bearer " + at("token").value;
  }
  const answer = await fetch(path, how), values = await answer.json();
  if (!answer.ok) throw new Error(values.error);
  return values;
}
async function act(path, body, done) {
  try { const values = await ask(path, body); tell(done ? done(values) : ""); }
  catch (error) { tell(error instanceof TypeError ? "The lamp does not answer." : error.message); }
}

let trying = false, next = null;
async function attempt(level) {
  next = level;
  if (trying) return;
  trying = true;
  while (next !== null) { const now = next; next = null; await act("/level", {level: now, for_ms: 10000}); }
  trying = false;
}
at("level").oninput = () => { at("tried").textContent = at("level").value; attempt(+at("level").value); };
at("stop").onclick = () => act("/level", {off: true});
at("identify").onclick = () => act("/identify", {}, () => "It blinks for 10 seconds.");
const pin = () => ({read_pin: +at("pin").value});
const measured = text => { at("measured").textContent = text; return ""; };
at("adc").onclick = () => act("/adc", pin(), got => measured(`${got.data[0]} of 4095, ${got.millivolts[0]} mV`));
at("dht22").onclick = () => act("/dht22", pin(), got => measured(`${got.temp} \\u00b0C, ${got.humidity} %`));
at("reboot").onclick = () => act("/reboot", {}, () => "It starts again.");
"""

_SETTINGS = b"""
let known = {};
const outputs = ["leds", "rgb", "led", "strip"], texts = ["name", "gateway", "token", "dns", "address"];
const order = ["name", "networks", "gateway", "token", "output"];
function network(one) {
  return make("p", {className: "row"},
    make("input", {className: "ssid", value: one.ssid, placeholder: "Wi-Fi", ariaLabel: "Wi-Fi", maxLength: 32}),
    make("input", {className: "password", type: "password", autocomplete: "off", ariaLabel: "password",
      placeholder: one.password ? "unchanged" : "password", maxLength: 64}));
}
function field(key, value) {
  if (key === "networks") return make("div", {id: "networks"}, ...[...value, {ssid: ""}].slice(0, 4).map(network));
  const input = key === "output" ? make("select", {}, ...outputs.map(one => make("option", {value: one}, one)))
    : make("input", {autocomplete: "off", type: key === "token" ? "password" : "text"});
  input.id = "set-" + key;
  input.value = key === "token" ? "" : texts.includes(key) || key === "output" ? value : JSON.stringify(value);
  if (key === "token") input.placeholder = value ? "unchanged" : "of ./espcli register";
  return make("label", {}, key + " ", input);
}
async function settings() {
  known = await ask("/settings");
  const keys = [...order, ...Object.keys(known).filter(key => !order.includes(key)).sort()];
  at("form").replaceChildren(...keys.map(key => field(key, known[key])));
}
function changes() {
  const changed = {};
  for (const [key, old] of Object.entries(known)) {
    if (key === "networks") {
      const rows = [...at("networks").children].map(row => {
        const one = {ssid: row.children[0].value}, before = old.some(known => known.ssid === one.ssid);
        if (row.children[1].value || !before) one.password = row.children[1].value;
        return one; }).filter(one => one.ssid);
      if (rows.some(one => "password" in one) || rows.length !== old.length) changed[key] = rows;
      continue;
    }
    const text = at("set-" + key).value;
    if (key === "token") { if (text) changed[key] = text; continue; }
    let value = text;
    if (!texts.includes(key) && key !== "output") {
      try { value = JSON.parse(text); } catch { throw new Error(key + " must be JSON, as it was."); }
    }
    if (JSON.stringify(value) !== JSON.stringify(old)) changed[key] = value;
  }
  return changed;
}
at("save").onclick = async () => {
  try {
    const changed = changes();
    if (!Object.keys(changed).length) return tell("Nothing has changed.");
    await act("/settings", changed, () => "Saved. It holds from the next start on.");
    await settings();
  } catch (error) { tell(error.message); }
};
at("form").onsubmit = event => { event.preventDefault(); at("save").click(); };
"""

_LOOP = b"""
function pins(gpio) {
  for (const [pin, value] of Object.entries(gpio)) {
    let button = at("pin-" + pin);
    if (!button) {
      button = make("button", {id: "pin-" + pin});
      button.onclick = () => act("/gpio", {pin: +pin, value: 2}, got => { pins(got.gpio); return ""; });
      at("pins").append(button);
    }
    button.textContent = pin + (value ? " high" : " low");
    button.setAttribute("aria-pressed", value ? "true" : "false");
  }
}
let round = 0;
async function refresh() {
  try {
    const lamp = await ask("/state");
    at("disc").style.background = `rgb(${lamp.rgb})`;
    at("disc").style.boxShadow = `0 0 3rem rgb(${lamp.rgb})`;
    at("look").textContent = lamp.level === null ? lamp.look : `${lamp.look} ${lamp.level}`;
    at("why").textContent = lamp.why;
    at("name").textContent = document.title = lamp.name;
    at("locked").hidden = !lamp.registered;
    const up = Math.floor(lamp.uptime_ms / 60000);
    at("facts").textContent = [lamp.room && "room " + lamp.room, lamp.group && "group " + lamp.group, lamp.link,
      `${lamp.chip} ${lamp.id}`, "temperature_c" in lamp && lamp.temperature_c + " \\u00b0C",
      "firmware " + lamp.firmware, lamp.rssi_dbm && lamp.rssi_dbm + " dBm",
      `on for ${Math.floor(up / 60)} h ${up % 60} min`, `${lamp.heap_bytes} bytes free`].filter(Boolean).join(", ");
    at("log").textContent = lamp.log.join("\\n");
    if (round++ % 5 === 0) pins((await ask("/")).gpio);
    if (round === 1) await settings();
  } catch {
    round = 0;
    at("look").textContent = "The lamp does not answer.";
    at("disc").style.background = at("disc").style.boxShadow = "none";
  }
  setTimeout(refresh, 1000);
}
refresh();
</script>
</html>
"""

PARTS = (_HEAD, _BODY, _SCRIPT, _SETTINGS, _LOOP)
