// What a device reports: the latest of each, as it comes, with the last day as a line.

import { ago, h, svg } from "./dom.js";
import { call, now } from "./fleet.js";

const MOST_LINES = 12;
const UNITS = [[/(^|\.)f$/, "°F"], [/temp$|_c$/, "°C"], [/humidity$|_percent$/, "%"], [/_dbm$/, "dBm"]];

function amount(name, value) {
  if (name.endsWith("_bytes")) return `${(value / 1024).toFixed(1)} KiB`;
  if (name === "uptime_ms") return span(value / 1000);
  if (name.endsWith("_ms")) return `${Math.round(value)} ms`;
  const unit = UNITS.find(([pattern]) => pattern.test(name))?.[1];
  return `${Number(value.toPrecision(5))}${unit ? ` ${unit}` : ""}`;
}

function span(seconds) {
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60]]) if (seconds >= 2 * size) return `${Math.floor(seconds / size)} ${unit}`;
  return `${Math.floor(seconds)} s`;
}

const word = (name) => name.replace(/_(ms|bytes|dbm|c|percent)$/, "").replaceAll("_", " ");

function line(past) {
  const [low, high] = [Math.min(...past.value), Math.max(...past.value)];
  const [from, to] = [past.at_ms[0], past.at_ms.at(-1)];
  const points = past.at_ms.map((at, place) => `${((100 * (at - from)) / (to - from || 1)).toFixed(1)},${(22 - (20 * (past.value[place] - low)) / (high - low || 1)).toFixed(1)}`);
  return svg("svg", { viewBox: "0 0 100 24", preserveAspectRatio: "none", class: "spark", "aria-hidden": "true" }, svg("polyline", { points: points.join(" ") }));
}

export function readingsCard(path) {
  const body = h("tbody");
  const empty = h("p.quiet", {}, "It has reported nothing in the last 24 hours.");
  const rows = new Map();
  

  function show(name, value, atMs) {
    let row = rows.get(name);
    if (!row) {
      row = { value: h("td.num"), age: h("td.num.quiet"), line: h("td.hide-small"), atMs: 0 };
      rows.set(name, row);
      body.append(h("tr", {}, h("th", { scope: "row" }, word(name)), row.value, row.line, row.age));
      empty.hidden = true;
      if (rows.size <= MOST_LINES) call("GET", `${path}/readings/${encodeURIComponent(name)}`).then((past) => { if (past.value.length > 1) row.line.replaceChildren(line(past)); }, () => {});
    }
    if (atMs < row.atMs) return;
    row.atMs = atMs;
    const text = amount(name, value);
    if (row.value.textContent !== text) row.value.textContent = text;
  }

  function tick() {
    for (const row of rows.values()) {
      const text = ago(row.atMs, now());
      if (row.age.textContent !== text) row.age.textContent = text;
    }
  }

  call("GET", `${path}/readings`).then((told) => {
    for (const [name, reading] of Object.entries(told).sort()) show(name, reading.value, reading.at_ms);
    tick();
  }, (error) => { empty.textContent = error.message; });
  return {
    element: h("div", {}, h("div.table.flat", {}, h("table", {}, body)), empty),
    told(report) { for (const [name, value] of Object.entries(report.values)) show(name, value, report.at_ms); tick(); },
    tick,
  };
}
