// A level in words: what decided it, and what every other contribution would have made of it.

import { h, pill, shape } from "./dom.js";
import { silent } from "./fleet.js";

const NAMES = {
  loss: "loss over the last minute", now: "latency now (median of the last seconds)", usual: "usual latency (median of three minutes)",
  jitter: "jitter", jump: "latency now against its own baseline", "at once": "a single slow answer",
};
const amount = (value, unit) => (value == null ? "no answer" : `${Number(value.toPrecision(3))} ${unit}`);
const band = (level) => (level >= 90 ? "red" : level >= 50 ? "orange" : "green");

export function whyView(why) {
  const { explanation } = why;
  const count = explanation.targets.length;
  const rule = { worst: `the worst of its ${count} targets decides`, median: `the middle one of its ${count} targets decides`,
    quorum: `it takes ${explanation.group.quorum} of its ${count} targets` }[explanation.group.combine];
  return h("div", {},
    h("ol.steps", {}, why.way.map((step) => h("li", {}, step)),
      h("li", {}, count ? `group '${explanation.group.name}' judges by preset '${explanation.group.preset}': ${rule}` : `group '${explanation.group.name}' has no targets`)),
    explanation.targets.map(targetView));
}

// Takes an explanation away that is old.
export function unsaid(why) {
  if (silent()) why.replaceChildren(h("p.quiet", {}, "No connection to the server."));
}

function targetView(target) {
  const word = target.level == null ? "unknown" : band(target.level);
  const deciding = target.contributions.find((part) => part.name === target.decided_by);
  return h(`section.said.is-${word}`, { "aria-label": `Target ${target.target}` },
    h("p", {}, h("a", { href: `#/target/${target.target}` }, h("b", {}, target.target)), " ",
      pill({ state: target.level == null ? "unknown" : "ok", band: word, level: target.level })),
    h("p", {}, sentence(target, deciding)),
    target.contributions.length ? h("details", {}, h("summary", {}, "All contributions"), h("div.table", {}, contributions(target))) : null);
}

function sentence(target, part) {
  if (target.level == null) return `Unknown: ${target.unknown || "there are no samples yet"}.`;
  const held = target.band.clears_in_ms != null && target.computed < target.level
    ? ` It is already better, and stays ${target.band.held} for ${(target.band.clears_in_ms / 1000).toFixed(1)} s more so that nothing flickers.` : "";
  if (!part || part.level < 1) return `All is calm: the last answer took ${amount(target.last_ms, "ms")}.${held}`;
  const limits = part.orange == null ? "" : ` (orange at ${amount(part.orange, part.unit)}, red at ${amount(part.red, part.unit)})`;
  return `${NAMES[part.name] ?? part.name} is ${amount(part.value, part.unit)}${limits}: that makes ${Math.round(part.level)}.${held}`;
}

function contributions(target) {
  return h("table", {}, h("thead", {}, h("tr", {}, ["What", "Value", "Orange at", "Red at", "Makes"].map((name, place) => h(place ? "th.num" : "th", { scope: "col" }, name)), h("th", { scope: "col" }, h("span.unseen", {}, "Bar")))),
    h("tbody", {}, target.contributions.map((part) => {
      const bar = h("i");
      bar.style.width = `${part.level}%`;
      return h("tr", {}, h("td", {}, part.name === target.decided_by ? h("b", {}, NAMES[part.name] ?? part.name) : NAMES[part.name] ?? part.name),
        h("td.num", {}, amount(part.value, part.unit)), h("td.num", {}, part.orange == null ? "–" : amount(part.orange, part.unit)),
        h("td.num", {}, part.red == null ? "–" : amount(part.red, part.unit)), h("td.num", {}, shape(band(part.level)), ` ${Math.round(part.level)}`),
        h("td", {}, h(`div.bar.is-${band(part.level)}`, {}, bar)));
    })));
}
