// The fleet as this page knows it: one answer of /api/wall, kept up to date by /api/live.

import { whileSeen } from "./seen.js";

export const fleet = {
  rooms: [], groups: {}, devices: new Map(), events: [], choices: { presets: [], combine: [], dialects: [], targets: [] },
  targets: 0, version: 0, role: null, token: false, offsetMs: 0,
  heardMs: -Infinity, // by performance.now(): when the server was heard last
  loaded: false, connected: false,
};
// A server that is silent for so long is gone, and what it said last is worth nothing.
const SILENT_MS = 3000;
// What is only asked for comes within this time, or not at all.
const ANSWER_MS = 10000;
const STALE = { state: "stale", reason: "no connection to the server" };
const listeners = new Set();

export const silent = () => performance.now() - fleet.heardMs >= SILENT_MS;
// The level of a group, and whether a device is there, as far as it may be shown: never what was so some time ago.
export const levelOf = (group) => (silent() ? STALE : fleet.groups[group]);
export const presenceOf = (device) => (silent() ? { presence: "stale" } : device);

export const now = () => Date.now() + fleet.offsetMs;
export const may = (role) => ["viewer", "operator", "admin"].indexOf(fleet.role) >= ["viewer", "operator", "admin"].indexOf(role);

// Calls back with "fleet" (anything), "levels", "presence", "event", "connection" or "ended"; returns how to stop it.
export function listen(callback) {
  listeners.add(callback);
  return () => listeners.delete(callback);
}

const tell = (what, detail) => { for (const callback of [...listeners]) callback(what, detail); };

export async function call(method, path, body) {
  const options = { method, headers: {} };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  if (method === "POST") options.headers["Idempotency-Key"] = key();
  let answer = await ask(path, options);
  if (answer.status === 401 && path !== "session") {
    if (await mayStill()) answer = await ask(path, options);
    if (answer.status === 401) tell("ended");
  }
  const told = answer.status === 204 ? null : await answer.json();
  if (!answer.ok) throw Object.assign(new Error(told.detail ?? "it failed"), told);
  return told;
}

async function ask(path, options) {
  try {
    return await fetch(`/api/${path}`, options.method === "GET" ? { ...options, signal: AbortSignal.timeout(ANSWER_MS) } : options);
  } catch {
    throw new Error("the server cannot be reached");
  }
}

// The answer to a token that has ended takes the cookie away: without it, this may be a fleet that asks for none. A page
// goes on with what it could do before, no more: a screen whose link has ended does not become an admin's.
async function mayStill() {
  const told = await call("GET", "session");
  if (told.role === null || told.role !== fleet.role) return false;
  fleet.token = told.token;
  return true;
}

const key = () => Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");

// Asks who I am and, if I may look, for the fleet; index.html has the browser ask before this file is there.
export async function first() {
  let told = await call("GET", "first");
  if (told.session.role === null && told.session.token) told = await call("GET", "first");
  fleet.role = told.session.role;
  fleet.token = told.session.token;
  if (told.wall) take(told.wall);
}

async function load() {
  take(await call("GET", "wall"));
}

function take(wall) {
  fleet.offsetMs = wall.at_ms - Date.now();
  fleet.rooms = wall.rooms;
  fleet.groups = wall.groups;
  const before = fleet.devices;
  fleet.devices = new Map(wall.devices.map((device) => [device.id, { ...device, told: before.get(device.id)?.told, override: before.get(device.id)?.override }]));
  fleet.choices = wall.choices;
  fleet.targets = wall.targets;
  fleet.version = wall.version;
  fleet.live = wall.live;
  fleet.loaded = true;
  fleet.heardMs = performance.now();
  tell("fleet");
}

let source = null;
let reloading = 0;

function reload() {
  clearTimeout(reloading);
  reloading = setTimeout(() => load().catch(() => {}), 150);
}

// Readings are told on a page that shows them, by a feed of their own.
const KINDS = "levels,presence,event,registry,told";

export function connect() {
  whileSeen(() => { attend(); return rest; });
}

function rest() {
  source?.close();
  source = null;
  // What happens meanwhile is not made up for one by one.
  fleet.live = undefined;
}

function attend() {
  source?.close();
  source = new EventSource(`/api/live?kinds=${KINDS}&since=${fleet.live ?? ""}`);
  const on = (kind, act) => source.addEventListener(kind, (message) => {
    fleet.heardMs = performance.now();
    if (!fleet.connected) { fleet.connected = true; tell("connection"); }
    act(JSON.parse(message.data));
  });
  on("hello", (hello) => { if (!hello.resumed || !fleet.loaded) load().catch(() => {}); });
  on("beat", (beat) => { fleet.offsetMs = beat.at_ms - Date.now(); });
  on("levels", (told) => {
    Object.assign(fleet.groups, told.levels);
    tell("levels", Object.keys(told.levels));
  });
  on("registry", reload);
  on("presence", (event) => {
    const device = fleet.devices.get(event.device);
    if (device) {
      Object.assign(device, { presence: event.presence, offline_reason: event.reason ?? null, changed_ms: event.at_ms });
      device.changedAt = performance.now();
    }
    if (event.id) keep(event);
    tell("presence", event.device);
  });
  on("event", (event) => { keep(event); tell("event"); });
  on("told", (told) => {
    const device = [...fleet.devices.values()].find((one) => one.name === told.device);
    if (device && told.action === "identify") device.told = performance.now() + 10000;
    if (device && told.action === "override") {
      const { level = null, for_ms: forMs = 60000, off = false } = told.arguments;
      device.override = off ? null : { level, untilMs: performance.now() + forMs };
    }
    tell("presence", device?.id);
  });
  source.onerror = () => {
    if (fleet.connected) { fleet.connected = false; tell("connection"); }
    // A browser gives up on some failures; the page does not.
    if (source.readyState === EventSource.CLOSED) setTimeout(again, 2000);
  };
}

// The server said no, or is not there: a token that has ended leads to the page that says so.
async function again() {
  if (!source) return;
  try {
    // Asked with a token that has ended, it says no, and takes the cookie away.
    if (!(await mayStill()) && !(await mayStill())) { fleet.role = null; tell("ended"); return; }
    fleet.live = undefined;
    if (source) attend();
  } catch {
    setTimeout(again, 2000);
  }
}

// Calls back with what one device reports as it comes; returns how to stop it.
export function follow(id, callback) {
  return whileSeen(() => {
    const feed = new EventSource("/api/live?kinds=readings");
    feed.addEventListener("readings", (message) => {
      const told = JSON.parse(message.data).readings[id];
      if (told) callback(told);
    });
    return () => feed.close();
  });
}

function keep(event) {
  fleet.events.unshift(event);
  fleet.events.length = Math.min(fleet.events.length, 300);
}
