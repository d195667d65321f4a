// A room's page: its light, why it has that colour, and how it is arranged.

import { h, note, pill } from "./dom.js";
import { call, fleet, levelOf, may } from "./fleet.js";
import { choice, field, form } from "./forms.js";
import { groupSituation, light } from "./lamps.js";
import { identify } from "./wall.js";
import { unsaid, whyView } from "./why.js";

export function roomPage(name) {
  const room = fleet.rooms.find((one) => one.name === name);
  if (!room) return { title: name, element: h("p", {}, fleet.loaded ? `There is no room ${name}.` : "Loading …"), missing: true };
  const bulb = h("span.bulb");
  const level = h("p");
  const why = h("div", {}, h("p.quiet", {}, "Asking the samples …"));
  light(bulb, () => groupSituation(room.group), () => room.brightness);
  const inside = [...fleet.devices.values()].filter((device) => device.room === name);
  const drawLevel = () => level.replaceChildren(pill(levelOf(room.group)));
  const read = () => call("GET", `why/${encodeURIComponent(name)}?kind=room`).then((told) => why.replaceChildren(whyView(told)), (error) => why.replaceChildren(h("p.quiet", {}, error.message)));
  let asked = performance.now();
  drawLevel();
  read();
  const element = h("div", {}, h("div.head", {}, h("h1", {}, name), h("div.row", {},
    may("operator") && inside.some((device) => device.lamp) ? h("button", { type: "button", onclick: () => identify(name, "rooms") }, "Let all blink") : null)),
    h("div.two", {},
      h("div.card.big", {}, bulb, level, h("p.quiet", {}, "watches ", room.group ? h("a", { href: `#/group/${room.group}` }, room.group) : "no group"),
        h("p", {}, inside.map((device, place) => [place ? ", " : "", h("a", { href: `#/device/${device.name}` }, device.name)]))),
      h("div.card", {}, h("h2", {}, "Why this colour"), why),
      may("admin") ? h("div.card", {}, h("h2", {}, "Arrange"),
        form("Save", async (values) => {
          await call("PATCH", `rooms/${name}`, { group: values.group, brightness: Number(values.brightness) });
          note(`${name} is arranged`);
        }, choice("group", "Watches the group", Object.keys(fleet.groups), room.group), field("brightness", "Brightness, percent", { type: "number", min: 0, max: 100, value: room.brightness, required: true })),
        h("div.row", {}, h("button.danger", { type: "button", disabled: inside.length > 0, onclick: () => remove(name) }, "Remove this room"),
          inside.length ? h("span.hint", {}, "Move its devices away first.") : null)) : null));
  return {
    title: name, element,
    changed(what) {
      if (what === "levels" || what === "connection") drawLevel();
      if (what === "connection") unsaid(why);
      if (what === "second" && performance.now() - asked > 3000 && !why.querySelector("details[open]")) { asked = performance.now(); read(); }
    },
  };
}

async function remove(name) {
  if (!confirm(`Remove the room ${name}?`)) return;
  try {
    await call("DELETE", `rooms/${name}`);
    location.hash = "#/";
  } catch (error) {
    note(error.message, true);
  }
}
