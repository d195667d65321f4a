// What happened, newest first.

import { h, moment, note, shape } from "./dom.js";
import { call, fleet } from "./fleet.js";

const WORDS = {
  outage: (event) => event.sentence,
  presence: (event) => `${event.reason ? `${event.presence}: ${event.reason}` : event.presence}`,
};

export function eventRow(event) {
  const device = fleet.devices.get(event.device);
  const name = device ? h("a", { href: `#/device/${device.name}` }, device.name) : event.device ?? event.name ?? "";
  const what = WORDS[event.kind]?.(event) ?? event.event ?? event.kind;
  const band = event.kind === "presence" ? event.presence : event.kind === "outage" ? "red" : "unknown";
  return h("li", {}, h("time.quiet", { datetime: new Date(event.at_ms).toISOString() }, moment(event.at_ms)), h("span", {}, name),
    h("span", {}, h(`span.pill.wrap.is-${band}`, {}, shape(band), ` ${what}`)));
}

export function eventsPage() {
  const list = h("ul.log");
  const search = h("input.search", { type: "search", placeholder: "Find a device or word", "aria-label": "Find in events", oninput: draw });
  let found = [];
  function draw() {
    const text = search.value.toLowerCase();
    const shown = found.filter((event) => `${fleet.devices.get(event.device)?.name ?? ""} ${JSON.stringify(event)}`.toLowerCase().includes(text));
    list.replaceChildren(...shown.slice(0, 200).map(eventRow));
    if (!shown.length) list.append(h("li.quiet", {}, "Nothing yet."));
  }
  const read = () => call("GET", "events?limit=200").then((events) => { found = events; draw(); }, (error) => note(error.message, true));
  read();
  return {
    title: "Events", element: h("div", {}, h("div.head", {}, h("h1", {}, "Events"), search), h("div.card", {}, list)),
    changed(what) { if (what === "presence" || what === "event") { const known = new Set(found.map((event) => event.id)); found = [...fleet.events.filter((event) => !known.has(event.id)), ...found]; draw(); } },
  };
}
