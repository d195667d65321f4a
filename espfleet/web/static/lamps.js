// Lamps on the screen: each element with a lamp gets, frame by frame, the colour its real lamp has at this moment.

import { fleet } from "./fleet.js";
import { DARK, Glow, aimsAt, dimmed, lookOf, onScreen } from "./light.js";

// The server beats once a second; a real lamp hears its gateway twice a second and has a lease of three periods.
const PERIOD_MS = 1000;
const LEASE_MS = 3000;
const FRAME_MS = 33;

const lights = new Map(); // element → {situation: () => situation or null when dark, glow, shown}
// What nobody sees needs no colour, frame by frame.
const eyes = new IntersectionObserver((changes) => {
  for (const { target, isIntersecting } of changes) {
    const lit = lights.get(target);
    if (lit) lit.seen = isIntersecting;
  }
}, { rootMargin: "300px" });
const still = matchMedia("(prefers-reduced-motion: reduce)");

export function groupSituation(group) {
  const level = fleet.groups[group];
  return {
    startedMs: -Infinity, link: "connected", periodMs: PERIOD_MS, updating: false,
    heard: level ? { level: level.level, state: level.state, atMs: fleet.heardMs, leaseMs: LEASE_MS } : null,
  };
}

// A device that is late gets no levels from its gateway, so its lamp is stale; one that is offline is dark here, and so
// is one that has no light.
export function deviceSituation(device) {
  if (device.presence === "offline" || !device.lamp) return null;
  const situation = groupSituation(device.group);
  if (device.presence === "late" && situation.heard) situation.heard.atMs = (device.changedAt ?? 0) - LEASE_MS;
  if (device.told) situation.identifyUntilMs = device.told;
  situation.override = device.override ?? null;
  return situation;
}

// Word for what a device's lamp shows now.
export function deviceWord(device, nowMs = performance.now()) {
  const situation = deviceSituation(device);
  if (situation === null) return device.lamp ? "offline" : "no light";
  const { word } = lookOf(situation, nowMs);
  return word;
}

export function light(element, situation, brightness = () => 100) {
  const before = lights.get(element);
  lights.set(element, { situation, brightness, glow: before?.glow ?? new Glow(undefined, performance.now()), css: "", seen: before?.seen ?? false });
  eyes.observe(element);
}

// The lamp of a device, as it is known at each moment.
export function lightDevice(element, device) {
  const known = () => fleet.devices.get(device.id) ?? device;
  light(element, () => deviceSituation(known()), () => known().brightness);
}

export function forget() {
  for (const element of lights.keys()) if (!element.isConnected) { lights.delete(element); eyes.unobserve(element); }
}

let drawnMs = 0;

function frame(nowMs) {
  requestAnimationFrame(frame);
  if (nowMs - drawnMs < FRAME_MS) return;
  drawnMs = nowMs;
  for (const [element, lit] of lights) {
    if (!lit.seen) continue;
    const situation = lit.situation();
    let target = DARK;
    let afterglow = true;
    let share = 1;
    if (situation !== null) {
      const look = lookOf(situation, nowMs);
      target = still.matches ? look.colours[0] : aimsAt(look, nowMs);
      afterglow = look.pattern === "steady";
      share = look.dimmable ? lit.brightness() / 100 : 1;
    }
    target = dimmed(target, share);
    if (lit.glow.isAt(target)) {
      // Nothing moves, as in most of a big wall at most times.
      if (lit.css) { lit.glow.atMs = nowMs; continue; }
    }
    lit.glow = lit.glow.toward(target, nowMs, afterglow);
    const colour = lit.glow.colour;
    const css = onScreen(colour).join(" ");
    if (css !== lit.css) {
      lit.css = css;
      element.style.setProperty("--c", `rgb(${css})`);
      element.style.setProperty("--lit", Math.max(...colour).toFixed(3));
    }
  }
}

requestAnimationFrame(frame);
