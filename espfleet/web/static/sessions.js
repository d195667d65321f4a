// When a device was there: the last day as a strip, and each time it came.

import { h, moment } from "./dom.js";
import { call, now } from "./fleet.js";

const DAY_MS = 86400000;
const SHOWN = 8;

function lasted(ms) {
  const minutes = Math.floor(ms / 60000);
  if (minutes < 1) return `${Math.floor(ms / 1000)} s`;
  return minutes < 60 ? `${minutes} min` : minutes < 2880 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${Math.floor(minutes / 1440)} d`;
}

export function sessionsCard(path) {
  const strip = h("div.strip", { role: "img" });
  const list = h("ul.log.tight");

  async function read() {
    let found;
    try {
      found = await call("GET", `${path}/sessions`);
    } catch {
      return;
    }
    const at = now();
    let thereMs = 0;
    strip.replaceChildren(...found.filter((one) => (one.went_ms ?? at) > at - DAY_MS).map((one) => {
      const from = Math.max(one.came_ms, at - DAY_MS);
      const to = Math.min(one.went_ms ?? at, at);
      thereMs += to - from;
      const part = h("i");
      part.style.left = `${(100 * (from - at + DAY_MS)) / DAY_MS}%`;
      part.style.width = `${(100 * (to - from)) / DAY_MS}%`;
      return part;
    }));
    strip.setAttribute("aria-label", `Connected for ${lasted(thereMs)} of the last 24 hours`);
    list.replaceChildren(...found.slice(0, SHOWN).map((one) => h("li", {}, h("span", {}, moment(one.came_ms)), h("span.quiet", {}, one.went_ms ? `until ${moment(one.went_ms)}` : "until now"), h("span.num", {}, lasted((one.went_ms ?? at) - one.came_ms)))));
    if (!found.length) list.append(h("li.quiet", {}, "It was never here."));
  }

  read();
  return { element: h("div", {}, strip, h("p.ends.hint", { "aria-hidden": "true" }, h("span", {}, "24 h ago"), h("span", {}, "now")), list), read };
}
