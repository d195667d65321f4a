// Targets: the list, and the page of one with its smoke.

import { clock, h, ms, note, pill } from "./dom.js";
import { call, may, silent } from "./fleet.js";
import { field, form } from "./forms.js";
import { draw, LOSSES } from "./smoke.js";
import { unsaid, whyView } from "./why.js";

const links = (groups) => groups.map((group, place) => [place ? ", " : "", h("a", { href: `#/group/${group}` }, group)]);
const STALE = { state: "stale" };
const levelOf = (row) => ({ state: row.level == null ? "unknown" : "ok", band: row.band, level: row.level });
// What was measured in the last minutes is no present where nothing is known.
const percent = (row) => (row.level == null ? "–" : `${row.loss_percent.toFixed(1)} %`);
const present = (row, value) => (row.level == null ? "–" : ms(value));
const RANGES = [["3 min", 180], ["15 min", 900], ["3 h", 10800], ["24 h", 86400]];
const REFRESH_MS = 2000;
const BEATS = 60;

export function targetsPage() {
  const body = h("tbody");
  const search = h("input.search", { type: "search", placeholder: "Find by name or address", "aria-label": "Find a target", oninput: () => show() });
  let rows = [];
  let asked = 0;
  let old = false;
  function show() {
    const text = search.value.toLowerCase();
    const found = rows.filter((row) => `${row.name} ${row.address} ${row.groups.join(" ")}`.toLowerCase().includes(text));
    body.replaceChildren(...found.map((row) => h("tr", {}, h("td", {}, h("a", { href: `#/target/${row.name}` }, row.name), row.simulated ? h("span.sub", {}, " simulated") : ""),
      old || silent() ? [h("td", {}, pill(STALE)), ["num", "num.hide-small", "num.hide-small", "num"].map((kind) => h(`td.${kind}`, {}, "–"))]
        : [h("td", { title: row.unknown }, pill(levelOf(row))), h("td.num", {}, present(row, row.now_ms)), h("td.num.hide-small", {}, present(row, row.usual_ms)), h("td.num.hide-small", {}, present(row, row.jitter_ms)), h("td.num", {}, percent(row))], h("td.hide-small.quiet", {}, row.address), h("td.hide-small.quiet", {}, row.groups.length ? links(row.groups) : "no group"))));
    if (!found.length) body.replaceChildren(h("tr", {}, h("td.quiet", { colspan: 8 }, rows.length ? "No target looks like that." : "Nothing is measured yet.")));
  }
  async function read() {
    asked = performance.now();
    try {
      rows = (await call("GET", "targets?limit=1000")).items;
      old = false;
    } catch (error) {
      old = true;
      note(error.message, true);
    }
    show();
  }
  read();
  const columns = [["Name", ""], ["Level", ""], ["Now", "num"], ["Usual", "num.hide-small"], ["Jitter", "num.hide-small"], ["Loss", "num"], ["Address", "hide-small"], ["Groups", "hide-small"]];
  return {
    title: "Targets",
    element: h("div", {}, h("div.head", {}, h("h1", {}, "Targets"), search),
      h("div.card.table", {}, h("table", {}, h("thead", {}, h("tr", {}, columns.map(([name, kind]) => h(`th${kind ? `.${kind}` : ""}`, { scope: "col" }, name)))), body))),
    changed(what) {
      if (what === "connection") show();
      if (what === "second" && performance.now() - asked > REFRESH_MS && !document.hidden) read();
    },
  };
}

export function targetPage(name) {
  const tiles = h("div.tiles");
  const state = h("p");
  const canvas = h("canvas", { role: "img", "aria-label": `Latency of ${name}; the numbers are in the table below` });
  const beats = h("div.beats", { role: "img", "aria-label": "Heartbeat; nothing is known yet" });
  const uptime = h("p.quiet");
  const numbers = h("div.table");
  const why = h("div");
  const ranges = h("div.row", { role: "group", "aria-label": "Time shown" });
  const graph = h("p.error", { role: "alert" });
  const edit = h("div");
  let seconds = 180;
  let chart = null;
  let asked = 0;
  let told = null;

  function choose() {
    ranges.replaceChildren(...RANGES.map(([label, span]) => h("button", { type: "button", "aria-pressed": String(span === seconds), onclick: () => { seconds = span; choose(); read(); ranges.querySelector('[aria-pressed="true"]').focus(); } }, label)));
  }

  async function read() {
    asked = performance.now();
    try {
      const path = `targets/${encodeURIComponent(name)}`;
      const [row, samples] = await Promise.all([call("GET", path), call("GET", `${path}/samples?seconds=${seconds}`)]);
      told = samples;
      state.replaceChildren(pill(levelOf(row)), ` ${row.unknown} `, h("span.quiet", {}, row.address, ` every ${row.interval_ms} ms, judged by `, row.groups.length ? links(row.groups) : "no group"));
      tiles.replaceChildren(...[["now", present(row, row.now_ms)], ["usual", present(row, row.usual_ms)], ["jitter", present(row, row.jitter_ms)], ["loss", percent(row)], ["last answer", row.last === "answered" ? ms(row.last_ms) : row.last || "–"]]
        .map(([label, value]) => h("div.card.tile", {}, h("b", {}, value), h("span", {}, label))));
      if (may("admin") && !edit.childElementCount) arrange(row);
      heartbeat(samples);
      table(samples);
      chart = await draw(canvas, samples);
      graph.textContent = "";
    } catch (error) {
      graph.textContent = error.message;
      age();
    }
  }

  function age() {
    state.replaceChildren(pill(STALE));
    tiles.replaceChildren();
  }

  // What somebody has opened to read stays.
  async function explain() {
    if (why.querySelector("details[open]")) return;
    why.replaceChildren(await call("GET", `why/${encodeURIComponent(name)}?kind=target`).then(whyView, (error) => h("p.quiet", {}, error.message)));
  }

  function arrange(row) {
    edit.replaceChildren(form("Save", async (values) => {
      await call("PATCH", `targets/${name}`, { address: values.address, interval_ms: Number(values.interval_ms), timeout_ms: Number(values.timeout_ms) });
      note(`${name} is changed`);
    }, field("address", "Address", { value: row.address, required: true }), field("interval_ms", "Every (ms)", { type: "number", min: 10, max: 3600000, value: row.interval_ms, required: true }),
    field("timeout_ms", "An answer may take (ms)", { type: "number", min: 10, max: 10000, value: row.timeout_ms, required: true })),
    h("div.row", {}, h("button.danger", { type: "button", onclick: async () => {
      if (!confirm(`Stop measuring ${name}?`)) return;
      try { await call("DELETE", `targets/${name}`); location.hash = "#/targets"; } catch (error) { note(error.message, true); }
    } }, "Stop measuring it")));
  }

  function heartbeat(samples) {
    const width = (samples.to_ms - samples.from_ms) / BEATS;
    const slots = Array.from({ length: BEATS }, () => ({ count: 0, lost: 0 }));
    let up = 0;
    let known = 0;
    samples.at_ms.forEach((at, place) => {
      const slot = slots[Math.min(BEATS - 1, Math.max(0, Math.floor((at - samples.from_ms) / width)))];
      slot.count += samples.count[place];
      slot.lost += samples.lost[place];
      known += 1;
      if (samples.lost[place] < samples.count[place]) up += 1;
    });
    beats.replaceChildren(...slots.map((slot, place) => {
      const kind = !slot.count ? "" : slot.lost === 0 ? "ok" : slot.lost < slot.count ? "some" : "all";
      const text = !slot.count ? "nothing measured" : `${slot.lost} of ${slot.count} lost`;
      return h(`i${kind ? `.${kind}` : ""}`, { title: `${clock(samples.from_ms + place * width)}: ${text}` });
    }));
    const percent = known ? `${((100 * up) / known).toFixed(up === known ? 0 : 2)} %` : "–";
    const lost = slots.reduce((sum, slot) => sum + slot.lost, 0);
    uptime.replaceChildren(h("b", {}, percent), ` up; ${lost} of ${slots.reduce((sum, slot) => sum + slot.count, 0)} samples lost`);
    beats.setAttribute("aria-label", uptime.textContent);
  }

  function table(samples) {
    if (!numbers.parentElement?.open) return;
    const last = samples.at_ms.map((at, place) => place).slice(-60).reverse();
    numbers.replaceChildren(h("table", {}, h("thead", {}, h("tr", {}, ["Time", "Samples", "Lost", "Least", "Median", "Most"].map((label) => h("th", { scope: "col" }, label)))),
      h("tbody", {}, last.map((place) => h("tr", {}, h("td", {}, clock(samples.at_ms[place])), h("td", {}, String(samples.count[place])), h("td", {}, String(samples.lost[place])),
        ...["least_ms", "median_ms", "most_ms"].map((column) => h("td", {}, ms(samples[column][place]))))))));
  }

  choose();
  read();
  explain();
  return {
    title: name,
    element: h("div", {}, h("div.head", {}, h("div", {}, h("h1", {}, name), state), ranges),
      tiles,
      h("div.stack", {},
        h("section.card", { "aria-label": "Latency" }, graph, h("div.graph", {}, canvas),
          h("ul.legend", {}, LOSSES.map(([, label, colour]) => { const key = h("i"); key.style.setProperty("--k", colour); return h("li", {}, key, label); }), h("li", {}, "▲ samples lost"), h("li", {}, "shade: all answers, darker: the middle half"))),
        h("section.card", { "aria-label": "Heartbeat" }, h("h2", {}, "Heartbeat"), beats, uptime),
        h("div.two", {}, h("section.card", { "aria-label": "Why" }, h("h2", {}, "Why this level"), why),
          may("admin") ? h("section.card", { "aria-label": "Arrange" }, h("h2", {}, "How it is measured"), edit) : null),
        h("details.card", { ontoggle: () => told && table(told) }, h("summary", {}, "The latest numbers"), numbers))),
    changed(what) {
      if (what === "second" && performance.now() - asked > (seconds > 900 ? 15000 : REFRESH_MS) && !document.hidden) { read(); explain(); }
      if (what === "connection" && silent()) { age(); unsaid(why); }
      if (what === "theme") read();
    },
    gone() { chart?.destroy(); },
  };
}
