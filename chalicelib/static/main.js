/** The shell: which view is shown, by what stands behind the # of the address. */

import { announce, clear, element, problemBox } from "./dom.js";
import { configured, signedIn, signIn, signOut } from "./sign_in.js";

/** A view has a `title` and `show(root, parameters)`, which may return a function that cleans up. */
const ROUTES = [
  { pattern: /^\/$/, load: () => import("./classify.js") },
  { pattern: /^\/review$/, load: () => import("./review.js") },
  { pattern: /^\/overview$/, load: () => import("./overview.js") },
  { pattern: /^\/classifications\/(?<id>[^/]+)$/, load: () => import("./detail.js") },
];

const APP = "Scones Unlimited";

const main = document.getElementById("view");

let leave = () => {};

/** Show the view that the address names. Whichever was asked for last is shown, however long another takes. */
async function route() {
  const path = location.hash.slice(1) || "/";
  const root = element("div", { class: "view" });
  let current = true;
  let cleanUp;
  leave();
  leave = () => {
    current = false;
    cleanUp?.();
  };
  clear(main);
  main.append(root);
  mark(path);
  try {
    const found = ROUTES.map(({ pattern, load }) => ({ match: pattern.exec(path), load })).find(({ match }) => match);
    if (!found) {
      document.title = `Not found – ${APP}`;
      root.append(notFound());
      return;
    }
    const view = await found.load();
    if (!current) return;
    document.title = `${view.title} – ${APP}`;
    cleanUp = await view.show(root, { ...found.match.groups });
    if (!current) cleanUp?.();
  } catch (error) {
    if (!current) return;
    console.error(error);
    root.append(problemBox(error, element("button", { type: "button", onclick: () => location.reload() }, "Load the page again")));
  }
}

function mark(path) {
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${path}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function notFound() {
  return element(
    "div",
    {},
    element("h1", {}, "Not found"),
    element("p", {}, "There is no such view. ", element("a", { href: "#/" }, "Classify pictures")),
  );
}

async function navigate() {
  const shown = route();
  main.focus({ preventScroll: true });
  window.scrollTo(0, 0);
  await shown;
  announce(document.title);
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});

const out = document.getElementById("sign-out");
out.hidden = !configured;
out.addEventListener("click", signOut);

try {
  await signedIn();
  window.addEventListener("hashchange", navigate);
  await route();
} catch (error) {
  out.hidden = true;
  const again = element("button", { type: "button", class: "primary", onclick: signIn }, "Sign in");
  main.append(element("div", { class: "view" }, element("h1", {}, APP), problemBox(error, again)));
}
