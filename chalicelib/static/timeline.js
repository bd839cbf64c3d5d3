/** When a picture was where on its way: a table with a bar in each row. */

import { span } from "./chart.js";
import { element } from "./dom.js";
import { seconds } from "./format.js";

/** What is done in a step. */
const DONE = {
  Serialize: "read and shrunk",
  Classify: "shown to the model",
  Filter: "decided, and recorded",
};

/**
 * The steps of the latest attempt with their times.
 *
 * @param {object} classification as the API gives it.
 * @returns {HTMLElement} the table, or a sentence where no step has begun.
 */
export function timeline(classification) {
  const rows = phases(classification);
  if (rows.length === 0) return element("p", {}, "No step has begun yet.");
  const running = classification.status === "PENDING";
  const [first, latest] = [rows[0].from, rows.at(-1)];
  const last = latest.to ?? (running ? Date.now() : latest.from);
  const all = Math.max(1, last - first);
  const share = (at) => Math.min(1, Math.max(0, (at - first) / all));
  const body = rows.map(({ name, what, from, to }) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, name, element("span", { class: "small quiet-text" }, what)),
      element("td", { class: "number" }, element("time", { datetime: new Date(from).toISOString() }, clock(from))),
      element("td", { class: "number" }, to === null ? (running ? "…" : "–") : seconds(to - from)),
      element("td", { class: "bar", "aria-hidden": "true" }, span(share(from), share(to ?? last))),
    ),
  );
  const heads = ["Step", "Began", "Took"].map((text) => element("th", { scope: "col" }, text));
  return element(
    "table",
    { class: "timeline" },
    element("caption", { class: "visually-hidden" }, "The steps and their times"),
    element("thead", {}, element("tr", {}, ...heads, element("td", { class: "bar" }))),
    element("tbody", {}, ...body),
  );
}

/**
 * What came after what.
 *
 * @param {object} classification as the API gives it.
 * @returns {{name: string, what: string, from: number, to: number | null}[]} times in ms since 1970; `to` is null
 *   where nobody has written down when it ended.
 */
export function phases({ status, attempt, created_at: created, ended_at: ended, steps }) {
  const starts = steps.map(({ step, at }, place) => {
    const earlier = steps.slice(0, place).filter((other) => other.step === step).length;
    return { name: earlier ? `${step}, try ${earlier + 1}` : step, what: DONE[step] ?? "", from: Date.parse(at) };
  });
  if (attempt === 1) starts.unshift({ name: "Waited", what: "for its turn", from: Date.parse(created) });
  const end = status === "PENDING" || !ended ? null : Date.parse(ended);
  return starts.map((start, place) => ({ ...start, to: starts[place + 1]?.from ?? end }));
}

function clock(at) {
  const time = new Date(at);
  const text = time.toLocaleTimeString("en-GB");
  return `${text}.${String(time.getMilliseconds()).padStart(3, "0")}`;
}
