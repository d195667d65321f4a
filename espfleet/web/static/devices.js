// Devices: the list.

import { h, pill, presencePill } from "./dom.js";
import { fleet, levelOf, presenceOf } from "./fleet.js";

const PAGE = 200;

export function devicesPage() {
  const body = h("tbody");
  const more = h("p.quiet");
  const search = h("input.search", { type: "search", placeholder: "Find by name, id or room", "aria-label": "Find a device", oninput: draw });
  const state = h("select", { "aria-label": "Presence", onchange: draw }, ["any presence", "live", "late", "offline"].map((word) => h("option", { value: word.startsWith("any") ? "" : word }, word)));
  function draw() {
    const text = search.value.toLowerCase();
    const found = [...fleet.devices.values()].filter((device) => (!state.value || device.presence === state.value)
      && (!text || `${device.name} ${device.id} ${device.room ?? ""}`.toLowerCase().includes(text)));
    body.replaceChildren(...found.slice(0, PAGE).map((device) => h("tr", {},
      h("td", {}, h("a", { href: `#/device/${device.name}` }, device.name), device.simulated ? h("span.sub.hide-small", {}, " simulated") : "", h("div.sub.small-only", {}, device.room ?? "")),
      h("td.hide-small", {}, device.room ? h("a", { href: `#/room/${device.room}` }, device.room) : "–"),
      h("td", {}, device.lamp ? pill(levelOf(device.group)) : h("span.quiet", { title: "It has no light" }, "–")), h("td", {}, presencePill(presenceOf(device))), h("td.hide-small.quiet", {}, device.id))));
    more.textContent = found.length > PAGE ? `${PAGE} of ${found.length} are shown: search for the others.` : found.length ? "" : "No device looks like that.";
  }
  draw();
  return {
    title: "Devices",
    element: h("div", {}, h("div.head", {}, h("h1", {}, "Devices"), h("div.row", {}, state, search)),
      h("div.card.table", {}, h("table", {}, h("thead", {}, h("tr", {}, [["Name"], ["Room", ".hide-small"], ["Level"], ["Presence"], ["Id", ".hide-small"]].map(([name, kind = ""]) => h(`th${kind}`, { scope: "col" }, name)))), body)), more),
    changed(what) { if (["fleet", "levels", "presence", "connection"].includes(what)) draw(); },
  };
}
