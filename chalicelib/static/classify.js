/** The first view: pictures are dropped, chosen, taken or pasted, and what becomes of them is seen. */

import { arrivals } from "./arrivals.js";
import { card } from "./card.js";
import { diagram } from "./diagram.js";
import { announce, clear, element, part, svg } from "./dom.js";
import { chip, percent, statusName } from "./format.js";
import { Picture } from "./picture.js";

export const title = "Classify";

/** What was given to this tab, the latest first. It stays when another view is looked at. */
let pictures = [];

/** What each ending means; in the order in which the state machine shows them. */
const MEANINGS = {
  ACCEPTED: "The model is sure enough. Nobody needs to look.",
  REVIEW: "The model is not sure enough, or it may be neither. A person decides.",
  FAILED: "Our fault, not the picture's. It can be run again.",
  REJECTED: "The picture's fault: it is broken, too large, or no picture at all.",
};

/** The order in which the summary counts. */
const COUNTED = ["ACCEPTED", "REVIEW", "REVIEWED", "REJECTED", "FAILED", "REFUSED", "PENDING"];

window.addEventListener("beforeunload", (event) => {
  if (pictures.some((picture) => picture.unsent)) event.preventDefault();
});

/**
 * Show the view.
 *
 * @param {HTMLElement} root
 * @returns {Promise<() => void>} stops asking; what is being sent goes on.
 */
export async function show(root) {
  const leaving = new AbortController();
  const { signal } = leaving;
  const summary = element("div", { class: "summary" });
  const list = element("ul", { class: "pictures" });
  const section = element("section", { "aria-label": "Your pictures" }, summary, list);
  const intro = introduction();

  const summarize = part(summary, () => section.querySelector("h3")?.focus());
  const changed = () => {
    const counted = count(pictures);
    section.hidden = pictures.length === 0;
    intro.hidden = !section.hidden;
    summarize(JSON.stringify(counted), () => [...counts(counted), !counted.PENDING && clearButton()]);
  };
  const clearButton = () => element("button", { type: "button", class: "quiet", onclick: forget }, "Clear the list");
  const forget = () => {
    for (const picture of pictures) picture.discard();
    pictures = [];
    clear(list);
    changed();
    announce("The list is empty. What was decided is kept.");
    root.querySelector("button").focus();
  };
  const follow = async (picture) => {
    await picture.watch(signal);
    if (!signal.aborted) tell(picture, pictures);
  };
  const add = (picture) => {
    const send = () => {
      picture.send();
      follow(picture);
    };
    const runAgain = async () => {
      await picture.runAgain();
      follow(picture);
    };
    const { node, update } = card(picture, { send, runAgain });
    const refresh = () => {
      update();
      changed();
    };
    picture.addEventListener("change", refresh, { signal });
    return { node, send };
  };
  const resume = async (picture) => {
    await picture.refresh(signal);
    if (picture.status === "PENDING") follow(picture);
  };
  const take = (files) => {
    if (files.length === 0) return;
    const added = files.map((file) => new Picture(file));
    pictures = [...added, ...pictures];
    const made = added.map(add);
    list.prepend(...made.map(({ node }) => node));
    announce(added.length === 1 ? `${added[0].name} is being classified.` : `${added.length} pictures are being classified.`);
    for (const { send } of made) send();
  };

  arrivals(take, signal);
  root.append(
    element("h1", {}, "Bicycle or motorcycle?"),
    choosers(take),
    section,
    intro,
    element("div", { class: "drop-here", "aria-hidden": "true" }, element("p", {}, "Drop to classify")),
  );
  list.append(...pictures.map((picture) => add(picture).node));
  changed();
  for (const picture of pictures) resume(picture);
  return () => leaving.abort();
}

function choosers(take) {
  const chooser = (options) =>
    element("input", {
      type: "file",
      accept: "image/*",
      hidden: true,
      onchange: ({ target }) => {
        const files = [...target.files];
        target.value = "";
        take(files);
      },
      ...options,
    });
  const files = chooser({ multiple: true, "data-chooser": "files" });
  const camera = chooser({ capture: "environment", "data-chooser": "camera" });
  return element(
    "section",
    { class: "chooser", "aria-label": "Add pictures" },
    icon(),
    element(
      "p",
      {},
      element("strong", { class: "for-mouse" }, "Drop pictures anywhere on this page. "),
      element("span", { class: "quiet-text" }, "JPEG, PNG, WebP, GIF or TIFF, up to 25 MiB each, as many as you like."),
    ),
    element(
      "div",
      { class: "buttons" },
      element("button", { type: "button", class: "primary", onclick: () => files.click() }, "Choose pictures"),
      element("button", { type: "button", class: "camera", onclick: () => camera.click() }, "Take a picture"),
    ),
    files,
    camera,
  );
}

function introduction() {
  return element(
    "section",
    { class: "card endings", "aria-label": "How it is decided" },
    element("h2", {}, "What becomes of a picture"),
    diagram(null, { large: true }),
    element(
      "dl",
      {},
      Object.entries(MEANINGS).map(([status, meaning]) =>
        element("div", {}, element("dt", {}, chip(status)), element("dd", { class: "small quiet-text" }, meaning)),
      ),
    ),
  );
}

function icon() {
  const stroke = { fill: "none", stroke: "currentColor", "stroke-width": 2, "stroke-linecap": "round", "stroke-linejoin": "round" };
  return svg(
    "svg",
    { class: "chooser-icon", viewBox: "0 0 48 48", "aria-hidden": "true", focusable: "false", ...stroke },
    svg("rect", { x: 5, y: 9, width: 38, height: 30, rx: 5 }),
    svg("circle", { cx: 16, cy: 19, r: 3.5 }),
    svg("path", { d: "M6 34l11-9 7 6 8-9 10 9" }),
  );
}

/** How many there are of each status, in the order in which they are shown. */
function count(all) {
  const found = COUNTED.map((status) => [status, all.filter((picture) => picture.status === status).length]);
  return Object.fromEntries(found.filter(([, number]) => number > 0));
}

function counts(counted) {
  const all = Object.values(counted).reduce((sum, number) => sum + number, 0);
  return [
    element("h2", {}, all === 1 ? "1 picture" : `${all} pictures`),
    element("ul", { class: "counts" }, Object.entries(counted).map((pair) => element("li", {}, countOf(...pair)))),
  ];
}

function countOf(status, number) {
  const attributes = { class: "chip", "data-status": status === "REFUSED" ? "REJECTED" : status };
  const text = `${number} ${word(status)}`;
  if (status !== "REVIEW") return element("span", attributes, text);
  return element("a", { ...attributes, href: "#/review" }, `${text}: decide`);
}

function word(status) {
  return status === "REFUSED" ? "not sent" : statusName(status).toLowerCase();
}

/** One picture's end is told at once; that of many, when all have ended. */
function tell(picture, all) {
  const { classification: it, name, problem } = picture;
  const counted = count(all);
  if (all.length === 1) {
    const label = it?.label ? `, ${it.label}, ${percent(it.confidence)} sure` : "";
    announce(problem ? `${name}: ${problem.message}` : `${name}: ${statusName(it.status)}${label}.`);
  } else if (!counted.PENDING) {
    announce(`Done: ${Object.entries(counted).map(([status, number]) => `${number} ${word(status)}`).join(", ")}.`);
  }
}
