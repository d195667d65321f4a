// Forms that add to the fleet: devices, targets, rooms, groups.

import { h, note } from "./dom.js";
import { call, fleet } from "./fleet.js";
import { choice, field, form } from "./forms.js";

const filled = (values) => Object.fromEntries(Object.entries(values).filter(([, value]) => value !== ""));

export function addPage() {
  const done = h("div", { role: "status" });
  const rooms = () => fleet.rooms.map((room) => room.name);
  const register = form("Register", async (values, element) => {
    const told = await call("POST", "devices", filled(values));
    done.replaceChildren(h("p", {}, h("b", {}, told.name), ` (${told.id}) is ${told.new ? "registered" : "registered as before"} in room ${told.room}. `,
      told.handed_over ? "It has got its token and connects by itself." : "", " ", h("a", { href: `#/device/${told.name}` }, "Show it")));
    if (told.refusal) done.append(h("p.error", {}, told.refusal));
    if (told.token) done.append(h("p", {}, "Its token, shown this once:"), h("p.secret", {}, told.token));
    element.reset();
  }, field("name", "Name", { required: true, placeholder: "porch", maxlength: 64 }),
  field("address", "Address", { placeholder: "192.0.2.7" }, "It is asked there who it is. A device that cannot be reached yet needs its id instead."),
  field("id", "Hardware id (12 hex digits)", { placeholder: "asked at the address" }), choice("room", "Room", rooms(), "", "default"),
  choice("dialect", "Speaks", fleet.choices.dialects, "", "protocol 1"));
  const target = form("Measure", async (values, element) => {
    const told = await call("POST", "targets", { ...filled(values), interval_ms: Number(values.interval_ms) });
    note(`${told.name} is measured from now on`);
    element.reset();
  }, field("name", "Name", { required: true, placeholder: "router" }),
  field("address", "Address", { required: true, placeholder: "192.0.2.1, router.lan or tcp://HOST:PORT" }),
  choice("group", "Judged by the group", Object.keys(fleet.groups), "", "default"),
  field("interval_ms", "Every (ms)", { type: "number", min: 10, max: 3600000, value: 1000, required: true }));
  const room = form("Make the room", async (values, element) => {
    await call("POST", "rooms", filled(values));
    note(`Room ${values.name} is there`);
    element.reset();
  }, field("name", "Name", { required: true, placeholder: "office" }), choice("group", "Watches the group", Object.keys(fleet.groups), Object.keys(fleet.groups)[0] ?? ""));
  const group = form("Make the group", async (values, element) => {
    await call("POST", "groups", filled(values));
    note(`Group ${values.name} is there`);
    element.reset();
  }, field("name", "Name", { required: true, placeholder: "internet" }), choice("preset", "Kind of network", fleet.choices.presets, "broadband"),
  choice("combine", "Its level is that of", fleet.choices.combine, "worst"));
  return {
    title: "Add",
    element: h("div", {}, h("div.head", {}, h("h1", {}, "Add to the fleet")), h("div.columns", {},
      h("section.card", { "aria-label": "Register a device" }, h("h2", {}, "Register a lamp or board"), register, done),
      h("section.card", { "aria-label": "Add a target" }, h("h2", {}, "Measure a target"), target),
      h("section.card", { "aria-label": "Add a room" }, h("h2", {}, "Make a room"), room),
      h("section.card", { "aria-label": "Add a group" }, h("h2", {}, "Make a group"), group))),
  };
}
