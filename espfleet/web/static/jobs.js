// Jobs of a device: what each wishes its pin to be, and why; paused, removed and added here.

import { h, note, shape } from "./dom.js";
import { call, may } from "./fleet.js";
import { choice, field, form } from "./forms.js";

export function jobsCard(path) {
  const list = h("ul.jobs");
  let shown = "";

  async function read() {
    let found;
    try {
      found = await call("GET", `${path}/jobs`);
    } catch {
      return;
    }
    // Drawn again only when something is different: nobody's focus shall be lost.
    const signature = JSON.stringify(found);
    if (signature === shown) return;
    shown = signature;
    list.replaceChildren(...found.map(row));
    if (!found.length) list.append(h("li.quiet", {}, "It has no jobs: nothing switches its pins by itself."));
  }

  async function act(method, job, verb, said) {
    try {
      await call(method, `${path}/jobs/${encodeURIComponent(job.name)}${verb}`);
      note(said);
    } catch (error) {
      note(error.message, true);
    }
    read();
  }

  function row(job) {
    const state = job.paused ? "paused" : job.wish === null ? "unknown" : job.wish ? "on" : "off";
    return h("li", {},
      h("div", {}, h("b", {}, job.name), " ", h(`span.pill.is-${{ on: "green", off: "offline" }[state] ?? state}`, {}, shape({ on: "live", off: "unknown" }[state] ?? state), ` ${state}`), h("span.quiet", {}, ` pin ${job.pin}`)),
      h("p.quiet", {}, when(job), job.why ? ` Now ${state}: ${job.why}.` : " Nobody has looked yet."),
      h("div.row.left", {},
        may("operator") ? h("button.small", { type: "button", "aria-label": `${job.paused ? "Resume" : "Pause"} ${job.name}`, onclick: () => act("POST", job, job.paused ? "/resume" : "/pause", job.paused ? `${job.name} goes on` : `${job.name} is paused`) }, job.paused ? "Resume" : "Pause") : null,
        may("admin") ? h("button.small.danger", { type: "button", "aria-label": `Remove ${job.name}`, onclick: () => confirm(`Remove the job ${job.name}? Its pin stays as it is.`) && act("DELETE", job, "", `${job.name} is removed`) }, "Remove") : null));
  }

  read();
  return { element: h("div", {}, list, may("admin") ? adding(path, read) : null), read };
}

function when(job) {
  const days = job.days.length === 7 ? "every day" : job.days.join() === "mon,tue,wed,thu,fri" ? "Monday to Friday" : job.days.join(", ");
  const time = job.duration_s === 86400 ? `all day, ${days}` : `from ${job.start.slice(0, 5)} for ${Number((job.duration_s / 3600).toFixed(2))} h, ${days} (${job.zone})`;
  return job.kind === "timer" ? `On ${time}.` : `On while ${job.source} is ${job.side} ${job.border} ${{ C: "°C", F: "°F" }[job.unit] ?? job.unit}, ${time}.`;
}

function adding(path, done) {
  const value = h("fieldset", { hidden: true, disabled: true },
    field("source", "Value", { required: true, placeholder: "porch/air.temp" }, "DEVICE/READING, or key:NAME of Redis"),
    choice("side", "The pin is on while it is", ["below", "above"]), field("border", "Border", { type: "number", step: "any", required: true }),
    field("hysteresis", "Goes off so far beyond it", { type: "number", step: "any", min: 0, value: 0 }), choice("unit", "Unit", ["C", "F", "%", "raw"]),
    field("least_s", "Shortest time between changes, seconds", { type: "number", min: 0, max: 86400, value: 60 }));
  const kind = choice("kind", "Goes by", ["the clock", "a value"]);
  kind.querySelector("select").addEventListener("change", (event) => { value.hidden = value.disabled = event.target.value === "the clock"; });
  return h("details", {}, h("summary", {}, "Add a job"), form("Add the job", async (values, element) => {
    const { kind: _, least_s: least, ...wish } = values;
    wish.pin = Number(wish.pin);
    wish.hours = Number(wish.hours);
    wish.zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
    if (wish.source) Object.assign(wish, { border: Number(wish.border), hysteresis: Number(wish.hysteresis), least_ms: Number(least) * 1000 });
    await call("POST", `${path}/jobs`, wish);
    note(`${wish.name} is added`);
    element.reset();
    value.hidden = value.disabled = true;
    done();
  }, field("name", "Name of the job", { required: true, maxlength: 64, placeholder: "lights" }), field("pin", "Pin", { type: "number", min: 0, max: 48, required: true }), kind, value,
  field("start", "Begins at", { type: "time", value: "18:00", required: true }), field("hours", "For how many hours", { type: "number", step: "any", min: 0.01, max: 24, value: 4, required: true }),
  field("days", "Days", { value: "all" }, "all, mon-fri, or sat,sun")));
}
