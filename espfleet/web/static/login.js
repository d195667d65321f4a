// Logging in: a token goes in, a cookie that scripts cannot read comes back.

import { h } from "./dom.js";
import { call } from "./fleet.js";
import { field, form } from "./forms.js";

export function loginPage() {
  return {
    title: "Log in",
    element: h("div.narrow", {}, h("section.card", {}, h("h1", {}, "Log in"),
      h("p.quiet", {}, "This fleet asks for a token. ", h("code", {}, "./espcli token NAME add"), " makes one."),
      form("Log in", async (values) => {
        await call("POST", "session", values);
        location.hash = "#/";
        location.reload();
      }, field("token", "Token", { type: "password", required: true, autocomplete: "current-password" })))),
  };
}
