// A group's page: its level and why, the targets it judges, and how it judges them.

import { h, note, pill } from "./dom.js";
import { call, fleet, levelOf, may } from "./fleet.js";
import { choice, field, form } from "./forms.js";
import { unsaid, whyView } from "./why.js";

const REFRESH_MS = 3000;
const LIMITS = [
  ["latency_orange_ms", "Latency, orange at (ms)"], ["latency_red_ms", "Latency, red at (ms)"],
  ["loss_orange_percent", "Loss, orange at (%)"], ["loss_red_percent", "Loss, red at (%)"],
  ["jitter_orange_ms", "Jitter, orange at (ms)"], ["jitter_red_ms", "Jitter, red at (ms)"],
  ["jump_orange", "Times its baseline, orange"], ["jump_red", "Times its baseline, red"],
  ["jump_ms", "A jump is at least (ms)"], ["at_once_red_ms", "One answer is red at (ms)"],
];

export function groupPage(name) {
  if (!(name in fleet.groups)) return { title: name, element: h("p", {}, fleet.loaded ? `There is no group ${name}.` : "Loading …"), missing: true };
  const path = `groups/${encodeURIComponent(name)}`;
  const level = h("p");
  const why = h("div", {}, h("p.quiet", {}, "Asking the samples …"));
  const rest = h("div.row");
  const targets = h("ul.jobs");
  const arranging = h("div.columns");
  let asked = 0;

  const drawLevel = () => level.replaceChildren(pill(levelOf(name)));

  async function explain() {
    asked = performance.now();
    try {
      why.replaceChildren(whyView(await call("GET", `why/${encodeURIComponent(name)}?kind=group`)));
    } catch (error) {
      why.replaceChildren(h("p.quiet", {}, error.message));
    }
  }

  async function change(wish, said) {
    const row = await call("PATCH", path, wish);
    note(said);
    show(row);
  }

  const tried = (act) => act().catch((error) => note(error.message, true));

  function show(row) {
    rest.replaceChildren(...(may("operator") ? [h("button", { type: "button", onclick: () => tried(async () => {
      show(await call("POST", `${path}/${row.paused ? "resume" : "pause"}`));
      note(row.paused ? `The lamps of ${name} show its level again` : `The lamps of ${name} rest`);
    }) }, row.paused ? "Resume" : "Pause")] : []));
    targets.replaceChildren(...row.targets.map((target) => h("li", {}, h("div.row", {}, h("a", { href: `#/target/${target}` }, target),
      may("admin") ? h("button.small", { type: "button", "aria-label": `Leave ${target} out`, onclick: () => tried(() => change({ exclude: [target] }, `${target} is left out`)) }, "Leave out") : null))));
    if (!row.targets.length) targets.append(h("li.quiet", {}, "It judges no target: its level is unknown."));
    if (may("admin")) arranging.replaceChildren(...arrange(row));
  }

  function arrange(row) {
    const others = fleet.choices.targets.filter((target) => !row.targets.includes(target));
    const used = row.rooms.length > 0;
    return [
      h("section.card", { "aria-label": "Targets to add" }, h("h2", {}, "Judge another target"), others.length
        ? form("Add it", (values) => change({ include: [values.target] }, `${values.target} is judged too`), choice("target", "Target", others, others[0]))
        : h("p.quiet", {}, "It judges all there are. ", h("a", { href: "#/add" }, "Measure another.")),
      h("div.row", {}, h("button.danger", { type: "button", disabled: used, onclick: () => confirm(`Remove the group ${name}? Its targets are still measured.`) && tried(async () => { await call("DELETE", path); location.hash = "#/"; }) }, "Remove this group"),
        used ? h("span.hint", {}, `${row.rooms.join(", ")} ${row.rooms.length > 1 ? "watch" : "watches"} it.`) : null)),
      h("section.card", { "aria-label": "How it judges" }, h("h2", {}, "How it judges"),
        form("Save", (values) => change({ ...(values.preset === row.preset ? {} : { preset: values.preset }), combine: values.combine, quorum: Number(values.quorum) }, `${name} is changed`),
          choice("preset", "Kind of network", fleet.choices.presets, row.preset), choice("combine", "Its level is that of", fleet.choices.combine, row.combine),
          field("quorum", "How many it takes, for quorum", { type: "number", min: 1, value: row.quorum, required: true }))),
      h("section.card", { "aria-label": "Its limits" }, h("h2", {}, "Its limits"), h("p.hint", {}, "Of the preset, unless they are its own. An empty field is the preset's again."),
        form("Save limits", (values) => {
          const changed = LIMITS.filter(([limit]) => values[limit] !== String(row.thresholds[limit] ?? ""));
          return change({ thresholds: Object.fromEntries(changed.map(([limit]) => [limit, values[limit] === "" ? "preset" : Number(values[limit])])) }, `${changed.length} limits are changed`);
        }, h("div.pairs", {}, LIMITS.map(([limit, label]) => field(limit, row.overrides.includes(limit) ? `${label} – its own` : label, { type: "number", step: "any", min: 0, value: row.thresholds[limit] ?? "", placeholder: "not judged" }))))),
    ];
  }

  drawLevel();
  explain();
  tried(async () => show(await call("GET", path)));
  return {
    title: name,
    element: h("div", {}, h("div.head", {}, h("div", {}, h("h1", {}, name), level), rest), h("div.stack", {}, h("div.two", {},
      h("section.card", { "aria-label": "Why" }, h("h2", {}, "Why this level"), why),
      h("section.card", { "aria-label": "Targets" }, h("h2", {}, "What it judges"), targets)), arranging)),
    changed(what) {
      if (what === "levels" || what === "connection") drawLevel();
      if (what === "connection") unsaid(why);
      if (what === "second" && performance.now() - asked > REFRESH_MS && !document.hidden && !why.querySelector("details[open]")) explain();
    },
  };
}
