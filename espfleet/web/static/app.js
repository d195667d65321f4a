// Which page is shown, and what stays around it.

import { h } from "./dom.js";
import { call, connect, first, fleet, listen, may, silent } from "./fleet.js";
import { forget } from "./lamps.js";
import { wallPage } from "./wall.js";

// The wall comes at once, the others when the browser has nothing else to do, or when they are wanted.
const PAGES = {
  "": { make: wallPage }, targets: { file: "targets", name: "targetsPage" }, target: { file: "targets", name: "targetPage" },
  devices: { file: "devices", name: "devicesPage" }, device: { file: "device", name: "devicePage" },
  room: { file: "rooms", name: "roomPage" }, events: { file: "events", name: "eventsPage" },
  group: { file: "group", name: "groupPage" }, add: { file: "add", name: "addPage" }, access: { file: "access", name: "accessPage" },
  login: { file: "login", name: "loginPage" }, kiosk: { file: "kiosk", name: "kioskPage" },
};
const PREFETCH_MS = 2000;
const view = document.getElementById("view");
const link = document.getElementById("link");
const spoken = document.getElementById("spoken");
const leave = document.getElementById("leave");
let page = null;
let showing = 0;

async function show() {
  const [, name = "", ...rest] = location.hash.split("/");
  const kind = Object.hasOwn(PAGES, name) ? PAGES[name] : null;
  const mine = (showing += 1);
  const make = kind?.make ?? (kind && (await import(`./${kind.file}.js`))[kind.name]);
  // Another page may have been asked for meanwhile.
  if (mine !== showing) return;
  page?.gone?.();
  page = make ? make(decodeURIComponent(rest.join("/"))) : { title: "Not found", element: h("div.card.empty", {}, h("h1", {}, "There is no such page"), h("p", {}, h("a", { href: "#/" }, "To the wall"))) };
  document.documentElement.toggleAttribute("data-kiosk", name === "kiosk" && fleet.role !== null);
  view.replaceChildren(page.element);
  forget();
  document.title = `${page.title} · espfleet`;
  for (const item of document.querySelectorAll("nav a")) {
    const here = item.getAttribute("href").slice(2) === ({ target: "targets", device: "devices", room: "", group: "" }[name] ?? name);
    if (here) item.setAttribute("aria-current", "page"); else item.removeAttribute("aria-current");
    // On a phone the row of pages is wider than the screen.
    if (here) item.parentElement.scrollLeft = item.offsetLeft - item.parentElement.offsetLeft - (item.parentElement.clientWidth - item.offsetWidth) / 2;
    item.hidden = fleet.role === null || (item.dataset.role ? !may(item.dataset.role) : false);
  }
  leave.hidden = !fleet.token || fleet.role === null;
}

const trouble = (error) => view.replaceChildren(h("div.card.empty", {}, h("h1", {}, "The fleet cannot be shown"),
  h("p.error", { role: "alert" }, `${error.message[0].toUpperCase()}${error.message.slice(1)}.`), h("p.quiet", {}, "This page tries again by itself.")));

addEventListener("hashchange", () => {
  if (!location.hash.startsWith("#/") && location.hash) return;
  show().then(() => { view.focus({ preventScroll: true }); scrollTo(0, 0); }, trouble);
});

// Another state than before is said aloud, once.
const words = new Map();
listen((what, detail) => {
  // What was not there a moment ago may be now.
  if (what === "fleet" && page?.missing) show().catch(trouble);
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
  if (what === "ended") {
    fleet.role = null;
    if (location.hash !== "#/kiosk") location.hash = "#/login";
    show().catch(trouble);
  }
});

function tellLink() {
  const gone = silent() && fleet.loaded;
  const text = gone ? "no connection" : fleet.connected ? "live" : "connecting";
  if (link.textContent !== text) link.textContent = text;
  link.classList.toggle("gone", gone);
}

let quiet = false;
setInterval(() => {
  tellLink();
  // Nobody says that what was said last has become old.
  if (quiet !== silent()) { quiet = silent(); page?.changed?.("connection"); }
  page?.changed?.("second");
}, 500);

const theme = document.getElementById("theme");
const wish = localStorage.getItem("theme") ?? (matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark");
document.documentElement.dataset.theme = wish;
theme.addEventListener("click", () => {
  const next = document.documentElement.dataset.theme === "light" ? "dark" : "light";
  document.documentElement.dataset.theme = next;
  localStorage.setItem("theme", next);
  page?.changed?.("theme");
});
leave.addEventListener("click", async () => {
  await call("DELETE", "session").catch(() => {});
  location.hash = "#/";
  location.reload();
});

async function begin() {
  const secret = /^#\/kiosk\/([\w-]+)$/.exec(location.hash)?.[1];
  if (secret) {
    // Out of the address bar and the history, before anything else.
    history.replaceState(null, "", "#/kiosk");
    const refusal = await (await import("./kiosk.js")).enter(secret);
    if (!refusal) location.reload();
    else view.replaceChildren(h("div.card.empty", {}, h("h1", {}, "This link opens nothing"), h("p.quiet", { role: "alert" }, refusal)));
    return;
  }
  await first();
  if (fleet.role === null) {
    if (location.hash !== "#/kiosk") location.hash = "#/login";
  } else {
    connect();
  }
  await show();
  setTimeout(() => { for (const { file } of Object.values(PAGES)) if (file) import(`./${file}.js`).catch(() => {}); }, PREFETCH_MS);
}

begin().catch((error) => { trouble(error); setTimeout(() => location.reload(), 4000); });
