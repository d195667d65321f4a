// Fields, choices, and forms that say what is wrong beside what is wrong.

import { h } from "./dom.js";

export function field(name, label, more = {}, hint = "") {
  return h("label", {}, label, h("input", { name, autocomplete: "off", ...more }), hint ? h("span.hint", {}, hint) : null);
}

export function choice(name, label, options, value = "", none = null) {
  const select = h("select", { name }, none === null ? null : h("option", { value: "" }, none), options.map((one) => h("option", { value: one }, one)));
  select.value = value ?? "";
  return h("label", {}, label, select);
}

// A form that says what went wrong beside what is wrong.
export function form(button, send, ...fields) {
  const error = h("p.error", { role: "alert" });
  const submit = h("button.main", { type: "submit" }, button);
  const element = h("form", {
    onsubmit: async (event) => {
      event.preventDefault();
      error.textContent = "";
      submit.disabled = true;
      for (const one of element.elements) one.removeAttribute("aria-invalid");
      try {
        await send(Object.fromEntries(new FormData(element)), element);
      } catch (failure) {
        error.textContent = failure.message;
        const wrong = element.elements.namedItem(failure.field ?? (failure.code === "name_taken" ? "name" : ""));
        wrong?.setAttribute?.("aria-invalid", "true");
        wrong?.focus?.();
      }
      submit.disabled = false;
    },
  }, fields, error, h("div", {}, submit));
  return element;
}
