// What a lamp shows: the rules of espfleet/domain/light.py, light_glow.py and light_patterns.py, number for number.
// tests/web/test_light_rules.py holds both against each other. All times are ms on one clock that never jumps.

export const SELF_TEST_MS = 900;
export const LATE_PERIODS = 1.5;
export const LATE_POINTS = 5;
const FLASH_MS = 150;
const BREATH_LOW = 0.15;
const RISE_HALF_LIFE_MS = 40;
const FALL_HALF_LIFE_MS = 300;
const TURN_MS = 334;
const GAMMA = 2.2;

// A colour is how bright green, orange and red should look, each 0 to 1.
export const DARK = [0, 0, 0];
const GREEN = [1, 0, 0];
const ORANGE = [0, 1, 0];
const RED = [0, 0, 1];
const ALL = [1, 1, 1];
const ON_SCREEN = [[0, 255, 0], [255, 140, 0], [255, 0, 0]];

export const dimmed = (colour, share) => colour.map((channel) => channel * share);

export function colourOf(level) {
  const share = Math.min(Math.max(level, 0), 100) / 50;
  return share <= 1 ? [1 - share, share, 0] : [0, 2 - share, share - 1];
}

export function onScreen(colour) {
  return [0, 1, 2].map((part) =>
    Math.min(255, Math.round(colour.reduce((sum, share, led) => sum + share * ON_SCREEN[led][part], 0))));
}

export function moving(pattern, colours, cycleMs, atMs) {
  if (pattern === "steady") return colours[0];
  const phaseMs = atMs % cycleMs;
  const share = phaseMs / cycleMs;
  if (pattern === "in turn") return colours[Math.min(Math.floor(share * colours.length), colours.length - 1)];
  if (pattern === "breathe") {
    return dimmed(colours[0], BREATH_LOW + ((1 - BREATH_LOW) * (1 - Math.cos(2 * Math.PI * share))) / 2);
  }
  if (pattern === "chase") return dimmed(colours[0], share);
  const litMs = pattern === "flash" ? FLASH_MS : cycleMs / 2;
  return phaseMs < litMs ? colours[0] : DARK;
}

const look = (word, colours, pattern = "steady", cycleMs = 0, more = {}) =>
  ({ word, colours, pattern, cycleMs, beganMs: 0, level: null, dimmable: true, ...more });

const OF_LINK = {
  "no settings": look("no settings", [ALL], "breathe", 6000),
  "no Wi-Fi": look("no Wi-Fi", [RED], "flash", 2000),
  "no gateway": look("no gateway", [ORANGE], "flash", 2000),
  "connected": look("waiting", [ORANGE], "breathe", 4000),
};
const STALE = look("stale", [RED, ORANGE], "in turn", 2000);
const UPDATING = look("updating", [ORANGE], "chase", 1000);

export function lateBy(silenceMs, periodMs) {
  return Math.max(0, Math.trunc(silenceMs / periodMs - LATE_PERIODS + 1));
}

// situation: startedMs, link, heard {level, state, atMs, leaseMs} or null, periodMs, identifyUntilMs, override
// {level, untilMs}, updating.
export function lookOf(situation, nowMs) {
  if (nowMs < situation.startedMs + SELF_TEST_MS) {
    return look("self-test", [GREEN, ORANGE, RED], "in turn", SELF_TEST_MS,
      { beganMs: situation.startedMs, dimmable: false });
  }
  if (situation.identifyUntilMs != null && nowMs < situation.identifyUntilMs) {
    return look("identify", [ALL], "blink", 500, { dimmable: false });
  }
  if (situation.updating) return UPDATING;
  const override = situation.override;
  if (override != null && nowMs < override.untilMs) {
    const colour = override.level == null ? DARK : colourOf(override.level);
    return look("override", [colour], "steady", 0, { level: override.level });
  }
  const { heard, link } = situation;
  if (heard == null || link === "no settings") return OF_LINK[link];
  const silenceMs = nowMs - heard.atMs;
  if (silenceMs >= heard.leaseMs) return link === "connected" ? STALE : OF_LINK[link];
  if (heard.state !== "ok") return look(heard.state, [ORANGE], "breathe", 4000);
  const late = lateBy(silenceMs, situation.periodMs);
  const level = Math.min(100, heard.level + LATE_POINTS * late);
  return look(late ? "late" : "level", [colourOf(level)], "steady", 0, { level });
}

export const aimsAt = (shown, nowMs) =>
  moving(shown.pattern, shown.colours, shown.cycleMs, Math.max(0, nowMs - shown.beganMs));

function follow(channel, target, fromMs, toMs, halfLifeMs, limited, asLight) {
  if (target === channel.brightness) return channel;
  const heading = target > channel.brightness ? 1 : -1;
  let startMs = fromMs;
  let turnedMs = channel.turnedMs;
  if (heading === limited && channel.heading !== limited) {
    startMs = turnedMs = Math.max(fromMs, channel.turnedMs + TURN_MS);
    if (startMs >= toMs) return channel;
  }
  const way = 1 - 2 ** (-(toMs - startMs) / halfLifeMs);
  const exponent = asLight ? GAMMA : 1;
  const here = channel.brightness ** exponent;
  const there = target ** exponent;
  return { brightness: (here + (there - here) * way) ** (1 / exponent), heading, turnedMs };
}

// Afterglow: how a light follows what it aims at.
export class Glow {
  constructor(channels, atMs = 0) {
    this.channels = channels ?? [0, 1, 2].map(() => ({ brightness: 0, heading: 0, turnedMs: -Infinity }));
    this.atMs = atMs;
  }

  get colour() {
    return this.channels.map((channel) => channel.brightness);
  }

  isAt(target) {
    return this.channels.every((channel, led) => channel.brightness === target[led]);
  }

  toward(target, nowMs, afterglow = true) {
    if (nowMs <= this.atMs) return this;
    return new Glow(this.channels.map((channel, led) => {
      const warm = led > 0;
      const falls = afterglow && warm && target[led] < channel.brightness;
      return follow(channel, target[led], this.atMs, nowMs, falls ? FALL_HALF_LIFE_MS : RISE_HALF_LIFE_MS,
        warm ? -1 : 1, !afterglow);
    }), nowMs);
  }
}
