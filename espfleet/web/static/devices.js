// Devices: the list, and the page of one.

import { ago, fact, h, note, pill, presencePill } from "./dom.js";
import { eventRow } from "./events.js";
import { call, fleet, may, now } from "./fleet.js";
import { choice, field, form } from "./forms.js";
import { deviceSituation, deviceWord, light } from "./lamps.js";
import { identify } from "./wall.js";

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
      h("td", {}, h("a", { href: `#/device/${device.name}` }, device.name), device.simulated ? h("span.sub", {}, " simulated") : ""),
      h("td", {}, device.room ? h("a", { href: `#/room/${device.room}` }, device.room) : "–"),
      h("td", {}, pill(fleet.groups[device.group])), h("td", {}, presencePill(device)), h("td.hide-small.quiet", {}, device.id))));
    more.textContent = found.length > PAGE ? `${PAGE} of ${found.length} are shown: search for the others.` : found.length ? "" : "No device looks like that.";
  }
  draw();
  return {
    title: "Devices",
    element: h("div", {}, h("div.head", {}, h("h1", {}, "Devices"), h("div.row", {}, state, search)),
      h("div.card.table", {}, h("table", {}, h("thead", {}, h("tr", {}, ["Name", "Room", "Level", "Presence"].map((name) => h("th", { scope: "col" }, name)), h("th.hide-small", { scope: "col" }, "Id"))), body)), more),
    changed(what) { if (["fleet", "levels", "presence"].includes(what)) draw(); },
  };
}

export function devicePage(name) {
  const device = () => [...fleet.devices.values()].find((one) => one.name === name);
  if (!device()) return { title: name, element: h("p", {}, fleet.loaded ? `There is no device ${name}.` : "Loading …"), missing: true };
  const bulb = h("span.bulb");
  const state = h("p");
  const shows = h("p.quiet");
  const facts = h("dl");
  const readings = h("dl");
  const history = h("ul.log");
  const page = h("a.button", { target: "_blank", rel: "noreferrer", hidden: true }, "Its own page");
  light(bulb, () => (device() ? deviceSituation(device()) : null), device().brightness);
  function draw() {
    const one = device();
    if (!one) return;
    state.replaceChildren(presencePill(one), " ", pill(fleet.groups[one.group]));
    const word = deviceWord(one);
    shows.textContent = { level: "It shows its level.", late: "Its level is late.", stale: "Its level is too old: red and orange take turns.",
      unknown: "It breathes orange: nothing is known.", identify: "It blinks so that you find it.", offline: "It is not connected." }[word] ?? `It shows: ${word}.`;
  }
  async function read() {
    try {
      const row = await call("GET", `devices/${encodeURIComponent(name)}`);
      facts.replaceChildren(...[fact("id", row.id), fact("room", row.room ? h("a", { href: `#/room/${row.room}` }, row.room) : "–"), fact("shows group", `${row.group ?? "–"}${row.own_group ? " (its own choice)" : ""}`),
        fact("heard", ago(row.last_seen_ms, now())), fact("session began", ago(row.session_since_ms, now())), fact("gateway", row.gateway || "–"), fact("address", row.address || "–"),
        fact("speaks", row.dialect), fact("firmware", [row.firmware, row.chip].filter(Boolean).join(" on ") || "–"), fact("labels", row.labels.join(", ") || "–")].flat());
      page.hidden = !row.address;
      page.href = row.address ? `http://${row.address}/ui` : "";
      const told = Object.entries(await call("GET", `devices/${encodeURIComponent(name)}/readings`));
      readings.replaceChildren(...told.map(([key, reading]) => fact(key.replaceAll("_", " "), `${Number(reading.value.toPrecision(6))} · ${ago(reading.at_ms, now())}`)).flat());
      if (!told.length) readings.replaceChildren(...fact("none", "It has reported nothing in the last 24 hours."));
    } catch (error) {
      facts.replaceChildren(...fact("error", error.message));
    }
  }
  async function readHistory() {
    const events = (await call("GET", "events?limit=1000")).filter((event) => event.device === device()?.id).slice(0, 30);
    history.replaceChildren(...events.map(eventRow));
    if (!events.length) history.append(h("li.quiet", {}, "Nothing yet."));
  }
  const tell = async (action, args, said) => {
    const told = await call("POST", `devices/${name}/commands`, { action, arguments: args });
    if (!told.ok) throw new Error(told.error);
    note(said);
  };
  draw();
  read();
  readHistory().catch(() => {});
  let asked = performance.now();
  const one = device();
  return {
    title: name,
    element: h("div", {}, h("div.head", {}, h("h1", {}, name), h("div.row", {}, may("operator") ? h("button.main", { type: "button", onclick: () => identify(name) }, "Let it blink") : null, page)),
      h("div.two", {},
        h("div.card.big", {}, bulb, state, shows),
        h("div.card", {}, h("h2", {}, "What is known"), facts),
        h("div.card", {}, h("h2", {}, "Readings"), readings),
        may("operator") ? h("div.card", {}, h("h2", {}, "Tell it"),
          form("Show this instead", async (values) => tell("override", { level: values.level === "dark" ? null : Number(values.level), for_ms: Number(values.seconds) * 1000 }, "It shows that for a while"),
            h("label", {}, "For a while, show", h("select", { name: "level" }, h("option", { value: "100" }, "red"), h("option", { value: "50" }, "orange"), h("option", { value: "dark" }, "darkness"))),
            field("seconds", "For how many seconds", { type: "number", min: 1, max: 3600, value: 60, required: true })),
          h("p.hint", {}, "Never green: that is kept for fresh levels.")) : null,
        may("admin") ? h("div.card", {}, h("h2", {}, "Arrange"),
          form("Save", async (values) => {
            const wish = { brightness: values.brightness === "" ? null : Number(values.brightness), group: values.group || null };
            if (values.room && values.room !== one.room) wish.room = values.room;
            if (values.name !== name) wish.name = values.name;
            const row = await call("PATCH", `devices/${name}`, wish);
            note(`${row.name} is arranged`);
            if (row.name !== name) location.hash = `#/device/${row.name}`; else read();
          }, field("name", "Name", { value: name, required: true, maxlength: 64 }), choice("room", "Room", fleet.rooms.map((room) => room.name), one.room),
          choice("group", "Shows the group", Object.keys(fleet.groups), "", "what its room watches"), field("brightness", "Own brightness, percent", { type: "number", min: 0, max: 100, placeholder: "as its room" })),
          h("div.row", {}, h("button.danger", { type: "button", onclick: async () => {
            if (!confirm(`Take ${name} out of the fleet? Its session is closed.`)) return;
            try { await call("DELETE", `devices/${name}`); location.hash = "#/devices"; } catch (error) { note(error.message, true); }
          } }, "Unregister"))) : null,
        h("div.card", {}, h("h2", {}, "Came and went"), history))),
    changed(what, detail) {
      draw();
      if (what === "presence" && detail === device()?.id) readHistory().catch(() => {});
      if (what === "second" && performance.now() - asked > 3000) { asked = performance.now(); read(); }
    },
  };
}
