// A wall for a screen that nobody touches: big, without forms, by a link that can be ended.

import { clock, h, shape, bandWord } from "./dom.js";
import { call, fleet, levelOf, now, silent } from "./fleet.js";
import { forget } from "./lamps.js";
import { roomCard } from "./wall.js";

// A room's card looks best so much wider than high.
const CARD_SHAPE = 1.35;
// More rooms than this do not fit on one screen so that anybody could read them: the worst are shown.
const MOST = 48;
const ORDER = ["red", "orange", "unknown", "maintenance", "paused", "green"];

// Turns a link's token into a cookie; returns why not, or "".
export async function enter(token) {
  try {
    const { role } = await call("POST", "session", { token });
    if (role === "viewer") return "";
    await call("DELETE", "session");
    return "A link for a screen needs the token of a viewer; this one may do more.";
  } catch (error) {
    return error.message;
  }
}

const rank = (room) => ORDER.indexOf(bandWord(levelOf(room.group)));

export function kioskPage() {
  if (fleet.role === null) {
    return { title: "Ended", element: h("div.card.empty", {}, h("h1", {}, "This link has ended"), h("p.quiet", {}, "Whoever looks after the fleet can make another: Access, Screens.")) };
  }
  const grid = h("div.wall");
  const time = h("span.time");
  const counts = h("div.row");
  const gone = h("p.banner", { role: "status", hidden: true }, "No connection: what is shown is old");
  let cards = [];

  function draw() {
    const inside = new Map(fleet.rooms.map((room) => [room.name, []]));
    for (const device of fleet.devices.values()) inside.get(device.room)?.push(device);
    const rooms = fleet.rooms.length > MOST ? [...fleet.rooms].sort((one, other) => rank(one) - rank(other)).slice(0, MOST) : fleet.rooms;
    cards = rooms.map((room) => roomCard(room, inside.get(room.name), { plain: true }));
    grid.replaceChildren(...cards.map((card) => card.element));
    if (!rooms.length) grid.append(h("div.card.empty", {}, h("h2", {}, "No rooms yet")));
    if (grid.isConnected) forget();
    size();
    count();
  }

  function size() {
    const columns = Math.max(1, Math.min(cards.length, Math.round(Math.sqrt((cards.length * innerWidth) / innerHeight / CARD_SHAPE))));
    grid.style.setProperty("--columns", columns);
    grid.style.setProperty("--rows", Math.ceil(cards.length / columns));
  }

  function count() {
    const found = silent() ? { stale: fleet.rooms.length } : {};
    if (!silent()) for (const room of fleet.rooms) found[bandWord(levelOf(room.group))] = (found[bandWord(levelOf(room.group))] ?? 0) + 1;
    if (!silent()) for (const device of fleet.devices.values()) if (device.presence !== "live") found[device.presence] = (found[device.presence] ?? 0) + 1;
    counts.replaceChildren(...[...ORDER, "stale", "late", "offline"].filter((word) => found[word]).map((word) => h(`span.pill.is-${word}`, {}, shape(word), ` ${found[word]} ${word}`)),
      fleet.rooms.length > MOST ? h("span.quiet", {}, `the worst ${MOST} of ${fleet.rooms.length} rooms`) : "");
  }

  draw();
  addEventListener("resize", size);
  // A tablet on a wall shall not go to sleep; where that is not to be had, it does.
  const wake = () => { if (!document.hidden) navigator.wakeLock?.request("screen").catch(() => {}); };
  wake();
  document.addEventListener("visibilitychange", wake);
  return {
    title: "Wall",
    element: h("div.kiosk", {}, h("div.head", {}, h("h1", {}, "espfleet"), counts, time), gone, grid),
    changed(what, detail) {
      if (what === "fleet") draw();
      else if (what === "levels") {
        if (fleet.rooms.length > MOST) draw();
        else for (const card of cards) if (detail.includes(card.group)) card.level();
        count();
      } else if (what === "presence") { for (const card of cards) card.presence(detail); count(); }
      else if (what === "second" || what === "connection") {
        time.textContent = clock(now()).slice(0, 5);
        gone.hidden = !silent();
        for (const card of cards) card.words();
        count();
      }
    },
    gone() { removeEventListener("resize", size); document.removeEventListener("visibilitychange", wake); },
  };
}
