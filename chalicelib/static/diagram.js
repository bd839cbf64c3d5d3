/** The state machine, and where a picture is in it. It is drawn from its definition by `python -m local diagram`. */

import { element, svg } from "./dom.js";
import { statusName } from "./format.js";

const PENDING = "PENDING";

/** Where a person has decided, the state machine had ended by holding back. */
const REVIEWED = "REVIEWED";
const HELD_BACK = "REVIEW";

let drawing;

/**
 * Draw where a classification is.
 *
 * @param {object | null} classification as the API gives it; null before there is one.
 * @param {object} [options]
 * @param {boolean} [options.large] with the names of the endings, where there is room for them.
 * @returns {HTMLElement} a figure as wide as its container. The drawing comes as soon as it is loaded.
 */
export function diagram(classification, { large = false } = {}) {
  const figure = element("figure", {
    class: large ? "diagram large" : "diagram",
    role: "img",
    "aria-label": told(classification),
  });
  drawing ??= load();
  drawing
    .then((drawn) => figure.append(marked(drawn.cloneNode(true), classification, large)))
    .catch(() => {
      drawing = undefined;
      figure.append(element("p", { class: "small" }, told(classification)));
    });
  return figure;
}

/**
 * The same in words.
 *
 * @param {object | null} classification
 * @returns {string}
 */
export function told(classification) {
  const { steps, ending } = way(classification);
  if (ending) return ["The workflow:", ...(steps.length ? [`${steps.join(", then ")}, then`] : []), `${statusName(ending)}.`].join(" ");
  if (!classification) return "The workflow: not begun.";
  if (steps.length === 0) return "The workflow: about to begin.";
  return `The workflow: in ${steps.at(-1)}${steps.length > 1 ? `, after ${steps.slice(0, -1).join(" and ")}` : ""}.`;
}

/** What a classification has been through: each step once, and the ending that stands in the state machine. */
function way(classification) {
  const status = classification?.status ?? PENDING;
  const steps = (classification?.steps ?? []).map(({ step }) => step);
  return {
    steps: steps.filter((step, place) => step !== steps[place - 1]),
    ending: status === PENDING ? null : status === REVIEWED ? HELD_BACK : status,
  };
}

function marked(drawn, classification, large) {
  const { steps, ending } = way(classification);
  for (const state of drawn.querySelectorAll(".state")) {
    const { state: name, status } = state.dataset;
    if (status) {
      state.querySelector(".word").textContent = statusName(status);
      if (status === ending) state.classList.add("reached");
      if (large) label(state, name);
    } else if (steps.includes(name)) {
      state.classList.add(!ending && name === steps.at(-1) ? "now" : "passed");
    }
  }
  const last = drawn.querySelector(`.state[data-status="${ending}"]`)?.dataset.state;
  const passed = [...steps, ...(last ? [last] : [])];
  const pairs = passed.slice(1).map((name, place) => `${passed[place]} ${name}`);
  const ways = drawn.querySelector(".ways");
  for (const line of [...ways.children]) {
    if (!pairs.includes(`${line.dataset.from} ${line.dataset.to}`)) continue;
    line.classList.add("passed");
    if (line.dataset.to === last) line.dataset.status = ending;
    ways.append(line);
  }
  return drawn;
}

/** A second line, below the word of a state. */
function label(state, text) {
  const word = state.querySelector(".word");
  const attributes = Object.fromEntries(["x", "y", "text-anchor"].map((name) => [name, word.getAttribute(name)]));
  word.after(svg("text", { class: "label", ...attributes, dy: "1.5em" }, text));
}

async function load() {
  const answer = await fetch(new URL("assets/workflow.svg", document.baseURI));
  if (!answer.ok) throw new Error(`workflow.svg: ${answer.status}`);
  const drawn = new DOMParser().parseFromString(await answer.text(), "image/svg+xml").documentElement;
  drawn.setAttribute("aria-hidden", "true");
  return document.importNode(drawn, true);
}
