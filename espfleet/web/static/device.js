// A device's page: its light, what it reports, when it was there, its jobs, and how it is arranged.

import { ago, fact, h, note, pill, presencePill } from "./dom.js";
import { call, fleet, follow, levelOf, may, now, presenceOf } from "./fleet.js";
import { choice, field, form } from "./forms.js";
import { updateButton } from "./firmware.js";
import { jobsCard } from "./jobs.js";
import { deviceWord, lightDevice } from "./lamps.js";
import { readingsCard } from "./readings.js";
import { sessionsCard } from "./sessions.js";
import { identify } from "./wall.js";

const REFRESH_MS = 5000;
const SHOWS = {
  level: "It shows its level.", late: "Its level is late.", stale: "Its level is too old: red and orange take turns.",
  unknown: "It breathes orange: nothing is known.", paused: "It rests: its group is paused.",
  identify: "It blinks so that you find it.", offline: "It is not connected.", "no light": "It has no light.", override: "It shows what it was told, not its level.",
};

export function devicePage(name) {
  const device = () => [...fleet.devices.values()].find((one) => one.name === name);
  const one = device();
  if (!one) return { title: name, element: h("p", {}, fleet.loaded ? `There is no device ${name}.` : "Loading …"), missing: true };
  const path = `devices/${encodeURIComponent(name)}`;
  const bulb = h("span.bulb");
  const state = h("p");
  const shows = h("p.quiet");
  const facts = h("dl");
  const page = h("a.button", { target: "_blank", rel: "noreferrer", hidden: true }, "Its own page");
  const video = h("a.button", { href: `video?device=${encodeURIComponent(name)}`, hidden: true }, "Its picture");
  const readings = readingsCard(path);
  const sessions = sessionsCard(path);
  const jobs = jobsCard(path);
  const arranging = may("admin") ? arrange() : null;
  let asked = performance.now();
  lightDevice(bulb, one);

  function draw() {
    const known = device();
    if (!known) return;
    state.replaceChildren(presencePill(presenceOf(known)), " ", known.lamp ? pill(levelOf(known.group)) : "");
    const word = deviceWord(known);
    shows.textContent = SHOWS[word] ?? `It shows: ${word}.`;
  }

  async function read() {
    asked = performance.now();
    try {
      const row = await call("GET", path);
      facts.replaceChildren(...[fact("id", row.id), fact("room", row.room ? h("a", { href: `#/room/${row.room}` }, row.room) : "–"), fact("shows group", row.group ? h("span", {}, h("a", { href: `#/group/${row.group}` }, row.group), row.own_group ? " (its own choice)" : "") : "–"),
        fact("heard", ago(row.last_seen_ms, now())), fact("gateway", row.gateway || "–"), fact("address", row.address || "–"),
        fact("speaks", row.dialect === "v1" ? "protocol 1" : row.dialect), fact("firmware", [row.firmware, row.chip].filter(Boolean).join(" on ") || "–"), fact("labels", row.labels.join(", ") || "–")].flat());
      video.hidden = !row.kinds.includes("camera") && row.dialect !== "hub";
      page.hidden = !row.address || row.dialect !== "v1";
      page.href = row.address ? `http://${row.address}/ui` : "";
    } catch (error) {
      facts.replaceChildren(...fact("error", error.message));
    }
  }

  function arrange() {
    return h("section.card", { "aria-label": "Arrange" }, h("h2", {}, "Arrange"),
      form("Save", async (values) => {
        const wish = { group: values.group || null };
        if (values.room && values.room !== one.room) wish.room = values.room;
        if (values.name !== name) wish.name = values.name;
        const row = await call("PATCH", path, wish);
        note(`${row.name} is arranged`);
        if (row.name !== name) location.hash = `#/device/${row.name}`; else read();
      }, field("name", "Name", { value: name, required: true, maxlength: 64 }), choice("room", "Room", fleet.rooms.map((room) => room.name), one.room),
      choice("group", "Shows the group", Object.keys(fleet.groups), "", "what its room watches")),
      h("div.row", {}, h("button.danger", { type: "button", onclick: async () => {
        if (!confirm(`Take ${name} out of the fleet? Its session is closed.`)) return;
        try { await call("DELETE", path); location.hash = "#/devices"; } catch (error) { note(error.message, true); }
      } }, "Unregister")));
  }

  draw();
  read();
  return {
    title: name,
    element: h("div", {}, h("div.head", {}, h("h1", {}, name), h("div.row", {}, may("operator") && one.lamp ? h("button.main", { type: "button", onclick: () => identify(name) }, "Let it blink") : null, video, page)),
      h("div.columns", {},
        h("section.card.big", { "aria-label": one.lamp ? "Its light" : "Presence" }, one.lamp ? bulb : null, state, shows, may("operator") && one.lamp ? lightControls(name, path, device) : null),
        h("section.card", { "aria-label": "Readings" }, h("h2", {}, "Readings"), readings.element),
        h("section.card", { "aria-label": "Came and went" }, h("h2", {}, "Came and went"), sessions.element),
        h("section.card", { "aria-label": "Jobs" }, h("h2", {}, "Jobs"), jobs.element),
        h("section.card", { "aria-label": "What is known" }, h("h2", {}, "What is known"), facts, may("admin") && one.lamp ? updateButton(name, path) : null),
        arranging)),
    changed(what, detail) {
      draw();
      readings.tick();
      if (what === "presence" && detail === device()?.id) { read(); sessions.read(); }
      if (what === "second" && performance.now() - asked > REFRESH_MS && !document.hidden) { read(); jobs.read(); sessions.read(); }
    },
    gone: follow(one.id, readings.told),
  };
}

// Brightness as it is moved, and what to show instead for a while.
function lightControls(name, path, device) {
  const tell = (action, args) => call("POST", `${path}/commands`, { action, arguments: args });
  const percent = h("output", {}, `${device().brightness} %`);
  const slider = h("input", { type: "range", min: 0, max: 100, value: device().brightness, "aria-label": "Brightness, percent" });
  let telling = false;
  // Told at once while it moves, a step at a time; kept, by whoever may, when it is let go.
  slider.addEventListener("input", async () => {
    const wish = Number(slider.value);
    percent.textContent = `${wish} %`;
    const known = device();
    if (known) known.brightness = wish;
    if (telling) return;
    telling = true;
    await tell("brightness", { percent: wish }).catch(() => {});
    telling = false;
    if (Number(slider.value) !== wish && device()?.presence === "live") slider.dispatchEvent(new Event("input"));
  });
  slider.addEventListener("change", () => { if (may("admin")) keep(Number(slider.value)); });
  async function keep(brightness) {
    try {
      await call("PATCH", path, { brightness });
      note(brightness === null ? `${name} is as bright as its room again` : `${name} stays at ${brightness} percent`);
    } catch (error) {
      note(error.message, true);
    }
  }
  async function instead(args, said) {
    try {
      const told = await tell("override", args);
      note(told.ok ? said : told.error, !told.ok);
    } catch (error) {
      note(error.message, true);
    }
  }
  const minutes = h("select", { "aria-label": "For how long" }, [["1 min", 1], ["10 min", 10], ["1 h", 60]].map(([label, value]) => h("option", { value }, label)));
  const show = (label, level) => h("button", { type: "button", onclick: () => instead({ ...(level === null ? {} : { level }), for_ms: Number(minutes.value) * 60000 }, `${name} shows ${label.toLowerCase()} for a while`) }, label);
  return h("div.controls", {},
    h("label.slide", {}, h("span", {}, "Brightness ", percent), slider),
    may("admin") ? h("button.small", { type: "button", onclick: () => keep(null) }, "As its room") : null,
    h("div.row", { role: "group", "aria-label": "Show something else for a while" }, h("span.quiet", {}, "Show"), show("Red", 100), show("Orange", 50), show("Dark", null), minutes,
      h("button", { type: "button", onclick: () => instead({ off: true }, `${name} shows its level again`) }, "Its level")),
    h("p.hint", {}, "Never green: that is kept for fresh levels."));
}
