// Who may do what: tokens of people, programs and screens.

import { ago, h, note } from "./dom.js";
import { call, fleet, may, now } from "./fleet.js";
import { choice, field, form } from "./forms.js";

const ROLES = { viewer: "look", operator: "look, and tell devices to do things", admin: "everything" };

export function accessPage() {
  if (!may("admin")) return { title: "Access", element: h("p", {}, "Only an admin may give access.") };
  const body = h("tbody");
  const nobody = h("p.quiet", {}, "Nobody: whoever uses this machine may do everything, and nobody else can connect. As soon as an admin has a token, everybody needs one.");
  const table = h("div.table.flat", { hidden: true }, h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Name"), h("th", { scope: "col" }, "Role"), h("th.hide-small", { scope: "col" }, "Made"), h("th", { scope: "col" }, h("span.unseen", {}, "End")))), body));
  const made = h("div", { role: "status" });
  const screen = h("div", { role: "status" });

  async function read() {
    try {
      const holders = await call("GET", "tokens");
      body.replaceChildren(...holders.map((one) => h("tr", {}, h("td", {}, one.name), h("td", {}, one.role), h("td.hide-small.quiet", {}, ago(one.created_ms, now())),
        h("td.num", {}, h("button.danger", { type: "button", "aria-label": `End the token ${one.name}`, onclick: () => end(one.name) }, "End")))));
      nobody.hidden = holders.length > 0;
      table.hidden = !holders.length;
    } catch (error) {
      note(error.message, true);
    }
  }

  async function end(name) {
    if (!confirm(`End the token ${name}? Whoever uses it is sent away.`)) return;
    try {
      await call("DELETE", `tokens/${encodeURIComponent(name)}`);
      note(`The token ${name} has ended`);
    } catch (error) {
      note(error.message, true);
    }
    read();
  }

  const give = form("Make a token", async (values, element) => {
    const told = await call("POST", "tokens", values);
    // From now on a token is wanted, also from whoever made it.
    if (!fleet.token && told.role === "admin") {
      await call("POST", "session", { token: told.token });
      fleet.token = true;
    }
    made.replaceChildren(h("p", {}, "The token of ", h("b", {}, told.name), ", shown this once:"), h("p.secret", {}, told.token));
    element.reset();
    read();
  }, field("name", "Name", { required: true, maxlength: 64, placeholder: "laptop" }), choice("role", "May", Object.keys(ROLES), "viewer"),
  h("p.hint", {}, Object.entries(ROLES).map(([role, what]) => `${role}: ${what}`).join(" · ")));

  const link = form("Make a link", async (values, element) => {
    const told = await call("POST", "tokens", { name: values.name, role: "viewer" });
    const url = `${location.origin}/#/kiosk/${told.token}`;
    screen.replaceChildren(h("p", {}, "Open this on the screen; it is shown this once:"), h("p.secret", {}, url),
      h("button", { type: "button", onclick: () => navigator.clipboard.writeText(url).then(() => note("Copied"), () => note("It cannot be copied from here: mark it", true)) }, "Copy"));
    element.reset();
    read();
  }, field("name", "Name of the screen", { required: true, maxlength: 64, placeholder: "hall-tv" }));

  read();
  return {
    title: "Access",
    element: h("div", {}, h("div.head", {}, h("h1", {}, "Access")), h("div.two", {},
      h("section.card", { "aria-label": "Tokens" }, h("h2", {}, "Who has a token"), nobody, table),
      h("section.card", { "aria-label": "Make a token" }, h("h2", {}, "People and programs"), give, made),
      h("section.card", { "aria-label": "Make a link for a screen" }, h("h2", {}, "Screens"), h("p.quiet", {}, "A link that shows the wall and nothing else, for a television or tablet. Ending its token ends it at once."), link, screen))),
  };
}
