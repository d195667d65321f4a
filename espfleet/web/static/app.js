// Which page is shown, and what stays around it.

import { devicePage, devicesPage } from "./devices.js";
import { h } from "./dom.js";
import { eventsPage } from "./events.js";
import { call, connect, fleet, listen, load, may } from "./fleet.js";
import { addPage, loginPage } from "./forms.js";
import { forget } from "./lamps.js";
import { roomPage } from "./rooms.js";
import { targetPage, targetsPage } from "./targets.js";
import { wallPage } from "./wall.js";

const PAGES = {
  "": wallPage, targets: targetsPage, target: targetPage, devices: devicesPage, device: devicePage, room: roomPage,
  events: eventsPage, add: addPage, login: loginPage,
};
const view = document.getElementById("view");
const link = document.getElementById("link");
const spoken = document.getElementById("spoken");
let page = null;

function show() {
  const [, name = "", ...rest] = location.hash.split("/");
  const make = PAGES[name];
  page?.gone?.();
  page = make ? make(decodeURIComponent(rest.join("/"))) : { title: "Not found", element: h("p", {}, "There is no such page.") };
  view.replaceChildren(page.element);
  forget();
  document.title = `${page.title} · espfleet`;
  for (const item of document.querySelectorAll("nav a")) {
    const here = item.getAttribute("href").slice(2) === ({ target: "targets", device: "devices", room: "" }[name] ?? name);
    if (here) item.setAttribute("aria-current", "page"); else item.removeAttribute("aria-current");
    item.hidden = item.dataset.role ? !may(item.dataset.role) : false;
  }
}

addEventListener("hashchange", () => {
  if (location.hash.startsWith("#/") || !location.hash) { show(); view.focus({ preventScroll: true }); scrollTo(0, 0); }
});

// Another state than before is said aloud, once.
const words = new Map();
listen((what, detail) => {
  // What was not there a moment ago may be now.
  if (what === "fleet" && page?.missing) show();
  page?.changed?.(what, detail);
  if (what === "levels") {
    for (const group of detail) {
      const level = fleet.groups[group];
      const word = level.band ?? level.state;
      if (words.has(group) && words.get(group) !== word) spoken.textContent = `${group} is ${word}`;
      words.set(group, word);
    }
  }
  if (what === "connection") tellLink();
});

function tellLink() {
  const silent = performance.now() - fleet.heardMs > 3000;
  const text = silent && fleet.loaded ? "no connection" : fleet.connected ? "live" : "connecting";
  if (link.textContent !== text) link.textContent = text;
  link.classList.toggle("gone", silent && fleet.loaded);
}

setInterval(() => { tellLink(); page?.changed?.("second"); }, 500);

const theme = document.getElementById("theme");
const wish = localStorage.getItem("theme") ?? (matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark");
document.documentElement.dataset.theme = wish;
theme.addEventListener("click", () => {
  const next = document.documentElement.dataset.theme === "light" ? "dark" : "light";
  document.documentElement.dataset.theme = next;
  localStorage.setItem("theme", next);
  page?.changed?.("theme");
});

async function begin() {
  const session = await call("GET", "session");
  fleet.role = session.role;
  if (session.role === null) { location.hash = "#/login"; show(); return; }
  await load();
  show();
  connect();
}

begin().catch((error) => { view.replaceChildren(h("p.error", {}, `The fleet cannot be shown: ${error.message}`)); setTimeout(() => location.reload(), 5000); });
