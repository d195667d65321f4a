// Small pieces of page.

// h("a.name", {href: "#/"}, "text", child …): an element; text never becomes markup.
export function h(what, attributes, ...children) {
  const [tag, ...classes] = what.split(".");
  const element = document.createElement(tag || "div");
  if (classes.length) element.className = classes.join(" ");
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value == null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(3)) if (child != null && child !== false) element.append(child);
  return element;
}

export function svg(what, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", what);
  for (const [name, value] of Object.entries(attributes ?? {})) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const SHAPES = { green: "●", orange: "▲", red: "■", unknown: "◌", stale: "◌", paused: "❚❚", maintenance: "✚", live: "●", late: "▲", offline: "✕" };
export const shape = (word) => h("span.shape", { "aria-hidden": "true" }, SHAPES[word] ?? "◌");

export const bandWord = (level) => (level?.state === "ok" ? level.band : level?.state) ?? "unknown";

// A level in shape, word and number.
export function pill(level, number = true) {
  const word = bandWord(level);
  return h(`span.pill.is-${word}`, {}, shape(word), ` ${word}`, number && level?.state === "ok" ? h("b", {}, ` ${level.level}`) : "");
}

export const presencePill = (device) =>
  h(`span.pill.is-${device.presence}`, {}, shape(device.presence), ` ${presenceWord(device)}`);

export const presenceWord = (device) =>
  device.presence === "live" || !device.offline_reason ? device.presence : `${device.presence}: ${device.offline_reason}`;

export const ms = (value) => (value == null ? "–" : `${value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)} ms`);

export function ago(atMs, nowMs) {
  if (atMs == null) return "never";
  const seconds = Math.max(0, nowMs - atMs) / 1000;
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60]]) {
    if (seconds >= 2 * size) return `${Math.round(seconds / size)} ${unit} ago`;
  }
  return `${Math.round(seconds)} s ago`;
}

export const clock = (atMs) => new Date(atMs).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

// Time of day, with the day unless it is today.
export const moment = (atMs) => {
  const at = new Date(atMs);
  const today = at.toDateString() === new Date().toDateString();
  return today ? clock(atMs) : at.toLocaleString([], { weekday: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
};

export function fact(name, value) {
  return [h("dt", {}, name), h("dd", {}, value ?? "–")];
}

let noted = 0;
// Tells the person something, also to a screen reader.
export function note(text, bad = false) {
  const box = document.getElementById("note");
  box.textContent = text;
  box.className = bad ? "bad" : "";
  box.hidden = false;
  clearTimeout(noted);
  noted = setTimeout(() => { box.hidden = true; }, bad ? 9000 : 4500);
}
