// The page of the cameras. One picture is a stream; the others are asked for now and then: a browser keeps only a few
// connections to one server, and a stream never gives its own back.

import { h, note } from "./dom.js";

const PACES_MS = [500, 1000, 2000, 5000];
const STILL_MS = 12000;
const view = document.getElementById("view");
const state = document.getElementById("state");
document.documentElement.dataset.theme =
  localStorage.getItem("theme") ?? (matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark");

let role = null;
let shown = "";
let total = -1;
let movedAt = performance.now();

async function ask(path) {
  const answer = await fetch(path);
  if (answer.status === 401) { location.href = "./#/login"; throw new Error("a token is wanted"); }
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.detail ?? told.message ?? "it failed");
  return told;
}

const which = (name = shown) => `device=${encodeURIComponent(name)}`;

function begin(cameras) {
  if (!cameras.length) {
    view.replaceChildren(h("section.card", {}, h("h1", {}, "Video"), h("p", {}, "No camera is registered yet."),
      h("p.quiet", {}, "Register one with ", h("code", {}, "./espcli register IP NAME --dialect hub"),
        ", or try it without hardware: ", h("code", {}, "./espcli simulate --cameras 2"), ".")));
    state.textContent = "no camera";
    setTimeout(start, 3000);
    return;
  }
  const wished = new URLSearchParams(location.search).get("device");
  const first = cameras.find((one) => one.name === wished) ?? cameras.find((one) => one.presence !== "offline") ?? cameras[0];
  const may = role === "operator" || role === "admin";
  const pace = h("input", {
    id: "pace", type: "range", min: 100, max: 10000, step: 100, value: 1000, disabled: !may, "aria-label": "Time between two pictures in ms",
    oninput: (event) => tellPace(event.target.value), onchange: (event) => setPace(Number(event.target.value)),
  });
  view.replaceChildren(
    h("h1", {}, "Video"),
    h("ul.thumbs", { "aria-label": "Cameras", hidden: cameras.length < 2 }, cameras.map((one) => h("li", {},
      h("button", { type: "button", "data-camera": one.name, onclick: () => choose(one.name) },
        h("img", { alt: "", "data-thumb": one.name }), h("span", {}, one.name))))),
    h("div.stage", {},
      h("figure.screen", { id: "screen" }, h("img", { id: "picture", alt: "" }), h("figcaption", { id: "caption" }, "")),
      h("div.beside", {},
        h("section.card", {}, h("h2", {}, "How it arrives"), h("dl.figures", { id: "figures" })),
        h("section.card", {}, h("h2", {}, "Time between two pictures"),
          h("div.pace", {}, PACES_MS.map((ms) => h("button", { type: "button", disabled: !may, onclick: () => setPace(ms) }, `${ms} ms`)),
            pace, h("output", { id: "told", for: "pace" }, "")),
          may ? null : h("p.quiet", {}, "Setting it takes the role operator.")),
        h("section.card", {}, h("h2", {}, "When it was here before"), h("table.past", {},
          h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "from (UTC)"), h("th", { scope: "col" }, "for"))),
          h("tbody", { id: "past" }))))),
  );
  choose(first.name);
  look(cameras);
}

function choose(name) {
  shown = name;
  total = -1;
  movedAt = performance.now();
  for (const button of document.querySelectorAll("[data-camera]")) button.setAttribute("aria-pressed", String(button.dataset.camera === name));
  stream();
  figures();
  past();
}

// The stream begins anew when it has broken; the number keeps the browser from showing an old one.
function stream() {
  const picture = document.getElementById("picture");
  const mine = shown;
  picture.alt = `Picture of ${shown}`;
  picture.onerror = () => { if (mine === shown) setTimeout(() => { if (mine === shown) stream(); }, 2000); };
  picture.src = `video.mjpeg?${which()}&t=${Date.now()}`;
}

function tellPace(ms) { document.getElementById("told").textContent = `${ms} ms`; }

async function setPace(ms) {
  document.getElementById("pace").value = ms;
  tellPace(ms);
  try {
    const answer = await fetch(`set_video_interval?${which()}`, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ interval_ms: ms }),
    });
    const told = await answer.json();
    if (!answer.ok) throw new Error(told.detail ?? told.message);
    note(`${shown} sends a picture every ${ms} ms`);
  } catch (error) {
    note(error.message, true);
  }
}

const ROWS = [
  ["rate now", (told) => `${told.current_fps} fps`], ["aimed at", (told) => `${told.target_fps} fps`],
  ["jitter", (told) => `${told.jitter} s`], ["efficiency", (told) => `${told.efficiency} %`],
  ["picture", (told) => `${told.resolution}, ${Math.round(told.avg_size / 1000)} kB`],
  ["handled in", (told) => `${told.avg_processing} ms`],
  ["pictures", (told) => `${told.total_frames}, ${told.dropped_frames} dropped`],
  ["verdict", (told) => told.recommendation.replaceAll("_", " ").toLowerCase()],
];

async function figures() {
  const name = shown;
  const [told, up] = await Promise.all([ask(`video_stats?${which()}`), ask(`connection_uptime?${which()}`)]);
  if (name !== shown) return;
  if (told.total_frames !== total) { total = told.total_frames; movedAt = performance.now(); }
  const still = performance.now() - movedAt > STILL_MS || told.recommendation === "WAITING_FOR_DATA";
  document.getElementById("screen").classList.toggle("still", still);
  document.getElementById("caption").textContent = `${name} · ${up.connected ? (still ? "no pictures" : "live") : "not connected"}`;
  document.getElementById("figures").replaceChildren(
    ...[...ROWS, ["connected for", () => up.uptime_formatted]].flatMap(([what, text]) => [h("dt", {}, what), h("dd", {}, text(told))]));
  state.textContent = up.connected ? "live" : "not connected";
  state.classList.toggle("gone", !up.connected);
}

async function past() {
  const told = await ask(`connection_history?${which()}`);
  const rows = told.sessions.reverse().slice(0, 8).map((one) => h("tr", {}, h("td", {}, one.connect_time), h("td", {}, one.duration_formatted)));
  document.getElementById("past").replaceChildren(...(rows.length ? rows : [h("tr", {}, h("td.quiet", { colspan: 2 }, "This is the first time."))]));
}

function look(cameras) {
  const thumbs = () => {
    if (cameras.length < 2 || document.hidden) return;
    for (const one of document.querySelectorAll("[data-thumb]")) one.src = `photo?${which(one.dataset.thumb)}&t=${Date.now()}`;
  };
  for (const one of document.querySelectorAll("[data-thumb]")) one.addEventListener("error", () => one.removeAttribute("src"));
  thumbs();
  setInterval(thumbs, 2000);
  setInterval(() => { if (!document.hidden) figures().catch((error) => { state.textContent = error.message; state.classList.add("gone"); }); }, 1000);
  setInterval(() => { if (!document.hidden) past().catch(() => {}); }, 10000);
}

async function start() {
  role = (await ask("api/session")).role;
  if (role === null) { location.href = "./#/login"; return; }
  begin(await ask("api/cameras"));
}

start().catch((error) => {
  view.replaceChildren(h("p.error", { role: "alert" }, `The cameras cannot be shown: ${error.message}`));
  setTimeout(() => location.reload(), 5000);
});
