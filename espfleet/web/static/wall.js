// The wall: every room, lit by what its lamps show.

import { h, note, pill, presenceWord, shape, bandWord } from "./dom.js";
import { call, fleet, levelOf, may, silent } from "./fleet.js";
import { deviceWord, forget, groupSituation, light, lightDevice } from "./lamps.js";

// More lamps than this become small: a wall of a thousand must stay a wall.
const MANY = 18;
const FEW = 4;
const chosen = { text: "", state: "" };

export function wallPage() {
  const summary = h("div.row", { role: "group", "aria-label": "Show only" });
  const grid = h("div.wall");
  const search = h("input.search", {
    type: "search", placeholder: "Find a room or lamp", "aria-label": "Find a room or lamp", value: chosen.text,
    oninput: () => { chosen.text = search.value; draw(); },
  });
  const page = h("div", {}, h("div.head", {}, h("h1", {}, "Rooms"), summary, search), grid);
  let cards = new Map();

  function draw() {
    const inside = new Map(fleet.rooms.map((room) => [room.name, []]));
    const homeless = [];
    for (const device of fleet.devices.values()) (inside.get(device.room) ?? homeless).push(device);
    const rooms = [...fleet.rooms];
    if (homeless.length) rooms.push({ name: "", group: null, brightness: 100 });
    inside.set("", homeless);
    const shown = rooms.filter((room) => wanted(room, inside.get(room.name)));
    cards = new Map(shown.map((room) => [room.name, roomCard(room, inside.get(room.name).filter(wantedLamp), { all: inside.get(room.name) })]));
    grid.replaceChildren(...[...cards.values()].map((card) => card.element));
    if (!shown.length) grid.append(empty());
    if (page.isConnected) forget();
    count();
  }

  function wanted(room, devices) {
    const text = chosen.text.toLowerCase();
    if (chosen.state && !devices.some((device) => device.presence === chosen.state)
      && bandWord(levelOf(room.group)) !== chosen.state) return false;
    return !text || room.name.toLowerCase().includes(text) || devices.some((device) => device.name.toLowerCase().includes(text));
  }

  function wantedLamp(device) {
    if (["live", "late", "offline"].includes(chosen.state) && device.presence !== chosen.state) return false;
    const text = chosen.text.toLowerCase();
    return !text || device.name.toLowerCase().includes(text) || (device.room ?? "").toLowerCase().includes(text);
  }

  function count() {
    // Of old levels and presences only that they are old is worth a word.
    const counts = silent() ? { stale: fleet.rooms.length } : {};
    if (!silent()) for (const room of fleet.rooms) counts[bandWord(levelOf(room.group))] = (counts[bandWord(levelOf(room.group))] ?? 0) + 1;
    if (!silent()) for (const device of fleet.devices.values()) counts[device.presence] = (counts[device.presence] ?? 0) + 1;
    const chips = ["green", "orange", "red", "unknown", "paused", "maintenance", "stale", "live", "late", "offline"].filter((word) => counts[word] || chosen.state === word);
    const signature = chips.map((word) => `${word}${counts[word]}${chosen.state}`).join();
    if (summary.dataset.was === signature) return;
    const focused = document.activeElement?.dataset?.state;
    summary.dataset.was = signature;
    summary.replaceChildren(...chips.map((word) => h(`button.pill.is-${word}`, {
      type: "button", "data-state": word, "aria-pressed": String(chosen.state === word),
      onclick: () => { chosen.state = chosen.state === word ? "" : word; draw(); },
    }, shape(word), ` ${counts[word] ?? 0} ${word}`)));
    summary.querySelector(`[data-state="${focused}"]`)?.focus();
  }

  draw();
  return {
    title: "Rooms", element: page,
    changed(what, detail) {
      if (what === "fleet") draw();
      else if (what === "levels") { for (const card of cards.values()) if (detail.includes(card.group)) card.level(); count(); }
      else if (what === "presence") { if (chosen.state) draw(); else { for (const card of cards.values()) card.presence(detail); count(); } }
      else if (what === "second" || what === "connection") { for (const card of cards.values()) card.words(); count(); }
    },
  };
}

function empty() {
  return h("div.card.empty", {}, h("h2", {}, fleet.rooms.length ? "Nothing looks like that" : "No rooms yet"),
    fleet.rooms.length ? h("p.quiet", {}, "Change the search or the filter.")
      : h("p.quiet", {}, "A room holds the lamps of a place and watches a group of targets. ", h("a", { href: "#/add" }, "Make the first one.")));
}

// plain: for a screen that nobody touches, without links; all: the devices of the room, also those that are not shown.
export function roomCard(room, devices, { plain = false, all = devices } = {}) {
  const number = h("span.number");
  const word = h("span");
  const why = h("p.why");
  const size = devices.length > MANY ? ".many" : devices.length <= FEW ? ".few" : "";
  const lamps = devices.map((device) => lamp(device, room, plain));
  const list = h(`ul.lamps${size}`, { "aria-label": `Lamps of ${room.name || "no room"}` }, lamps.map((one) => h("li", {}, one.element)));
  const element = h("section.card.room", { "aria-label": `Room ${room.name || "none"}`, "data-room": room.name },
    h("div.top", {},
      h("div", {}, h("h2", {}, !room.name ? "In no room" : plain ? room.name : h("a", { href: `#/room/${room.name}` }, room.name)), word),
      h("div.level", {}, number), why),
    devices.length ? list : h("p.none", {}, "No lamp here"));
  // Where every lamp is dark, so is the room, whatever its level.
  const glowing = all.filter((device) => device.lamp);
  const isDark = () => glowing.length > 0 && glowing.every((device) => (fleet.devices.get(device.id) ?? device).presence === "offline");
  let dark = isDark();
  light(element, () => (room.group && !dark ? groupSituation(room.group) : null), () => room.brightness);

  let old = false;
  function level() {
    old = silent();
    const now = levelOf(room.group);
    word.replaceChildren(pill(now, false));
    number.className = `number is-${bandWord(now)}`;
    number.textContent = now?.state === "ok" ? now.level : "–";
    const reason = now?.reason ?? "it watches no group";
    why.textContent = now?.state === "ok" ? (now.level > 0 && reason ? `because of ${reason}` : "all is calm") : reason;
    why.title = why.textContent;
  }
  level();
  return {
    element, group: room.group, level,
    presence(id) {
      for (const one of lamps) if (one.id === id) one.refresh();
      dark = isDark();
    },
    words() {
      dark = isDark();
      for (const one of lamps) one.refresh();
      if (silent() !== old) level();
    },
  };
}

// A wall has thousands: copying one is quicker than making each.
const mould = (tag) => h(`${tag}.lamp`, {}, h("span.bulb"), h("span.name"), h("span.state"));
const LINK = mould("a");
const PLAIN = mould("span");

function lamp(device, room, plain) {
  const element = (plain ? PLAIN : LINK).cloneNode(true);
  const [bulb, name, state] = element.children;
  name.textContent = device.name;
  element.dataset.device = device.name;
  if (!plain) element.href = `#/device/${device.name}`;
  function refresh() {
    const now = fleet.devices.get(device.id) ?? device;
    const shows = deviceWord(now);
    const text = !now.lamp && silent() ? "stale" : !now.lamp || now.presence === "offline" ? presenceWord(now) : now.presence === "late" ? "late" : shows === "level" ? "live" : shows;
    if (state.textContent !== text) {
      state.textContent = text;
      element.title = `${device.name}: ${text}${now.lamp ? "" : "; it has no light"}`;
    }
    element.classList.toggle("gone", now.presence === "offline");
    element.classList.toggle("unlit", !now.lamp);
    // The colour of the room is inherited; what differs from it gets its own.
    const own = now.presence === "late" || now.told > performance.now() || now.override || now.group !== room.group || now.brightness !== room.brightness;
    if (own && now.lamp && !element.lit) { element.lit = true; lightDevice(bulb, device); }
  }
  refresh();
  return { element, id: device.id, refresh };
}

export async function identify(name, path = "devices") {
  if (!may("operator")) return;
  try {
    const told = [await call("POST", `${path}/${name}/commands`, { action: "identify" })].flat();
    const refused = told.filter((one) => !one.ok);
    note(refused.length ? refused.map((one) => one.error).join("; ") : `${name} blinks for 10 seconds`, refused.length > 0);
  } catch (error) {
    note(error.message, true);
  }
}
