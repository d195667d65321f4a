// Firmware of a lamp: put a new one onto it, and see how that goes.

import { h, note } from "./dom.js";
import { call } from "./fleet.js";

const LOOK_MS = 1000;
const GIVE_UP_MS = 180000;
const WORDS = { asked: "it has accepted", writing: "it writes", starting: "it starts", trial: "it runs on trial", running: "it runs", failed: "it failed", returned: "it went back" };

export function updateButton(name, path) {
  const state = h("span.hint", { role: "status" });
  const button = h("button.small", { type: "button", onclick: update }, "Update its firmware");

  async function update() {
    if (!confirm(`Put the firmware of this server onto ${name}? It starts anew, and goes back by itself if the new one is no good.`)) return;
    button.disabled = true;
    try {
      const { version } = await call("POST", `${path}/firmware`, {});
      await watch(version);
    } catch (error) {
      note(error.message, true);
    }
    button.disabled = false;
  }

  async function watch(version) {
    const end = performance.now() + GIVE_UP_MS;
    while (performance.now() < end && button.isConnected) {
      const told = (await call("GET", `${path}/firmware`)).update;
      const share = told?.state === "writing" && told.total_bytes ? ` ${Math.round((100 * told.done_bytes) / told.total_bytes)} %` : "";
      state.textContent = told ? `${version}: ${WORDS[told.state] ?? told.state}${share}${told.error ? `: ${told.error}` : ""}` : "";
      if (["running", "failed", "returned"].includes(told?.state)) return;
      await new Promise((then) => setTimeout(then, LOOK_MS));
    }
  }

  return h("div.row", {}, button, state);
}
