/** Charts, drawn as SVG. Each stands beside the same figures as text, for those who cannot see it. */

import { element, svg } from "./dom.js";
import { percent } from "./format.js";

/** The size of the histogram in units of its own. It grows and shrinks with the page, and stays legible. */
const WIDE = { width: 600, height: 240, left: 36, right: 8, top: 12, bottom: 32 };
const NARROW = { ...WIDE, width: 340, height: 200 };
const IS_NARROW = "(max-width: 34rem)";

/** Units between two columns of the histogram. */
const GAP = 3;

/** At most this many lines across the histogram. */
const MAX_LINES = 4;

/**
 * How sure the model is of each label, and that the picture shows one of them at all: a table with a bar in each row,
 * and in each bar a line where acceptance begins.
 *
 * @param {object} classification as the API gives it.
 * @returns {HTMLTableElement | null} null where nothing was classified.
 */
export function scores(classification) {
  const { labels, inferences, known, threshold, min_known: minKnown, label } = classification;
  if (!labels || !inferences) return null;
  const rows = labels.map((name, place) => {
    const first = name === label;
    return scoreRow(name, inferences[place], threshold, { first, tells: first });
  });
  if (known !== null) rows.push(scoreRow("any of these", known, minKnown, { first: false, tells: true }));
  return element(
    "table",
    { class: "scores" },
    element("caption", { class: "visually-hidden" }, "How sure the model is"),
    element(
      "thead",
      { class: "visually-hidden" },
      element(
        "tr",
        {},
        ...["What", "How sure", "", "Needed"].map((text) =>
          text ? element("th", { scope: "col" }, text) : element("td"),
        ),
      ),
    ),
    element("tbody", {}, ...rows),
  );
}

/** A row; `first` is the likeliest label, and only what decides `tells` what is needed. */
function scoreRow(name, score, needed, { first, tells }) {
  const bar = svg(
    "svg",
    { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true", focusable: "false" },
    svg("rect", { class: "chart-track", width: 100, height: 10 }),
    svg("rect", { class: first ? "chart-first" : "chart-other", width: 100 * score, height: 10 }),
    needed === null ? null : svg("line", { class: "chart-limit", x1: 100 * needed, x2: 100 * needed, y1: 0, y2: 10 }),
  );
  const text = needed === null || !tells ? "" : `needs ${percent(needed)}`;
  return element(
    "tr",
    { class: first ? "first" : "" },
    element("th", { scope: "row" }, name),
    element("td", { class: "number" }, percent(score)),
    element("td", { class: "bar", "aria-hidden": "true" }, bar),
    element("td", { class: "needed" }, text),
  );
}

/**
 * How often the model was how sure: columns, what was accepted below, what was held back on top of it.
 *
 * @param {{bins: number, accepted: number[], held_back: number[]}} histogram bin i counts the confidences from i / bins
 *   to (i + 1) / bins.
 * @returns {HTMLElement} the chart, what its colours mean, and the same as a table.
 */
export function histogram({ bins, accepted, held_back: heldBack }) {
  const most = Math.max(1, ...accepted.map((count, bin) => count + heldBack[bin]));
  const step = niceStep(most);
  const top = Math.ceil(most / step) * step;
  const from = (bin) => Math.round((100 * bin) / bins);
  const size = window.matchMedia(IS_NARROW).matches ? NARROW : WIDE;
  const x = (bin) => size.left + ((size.width - size.left - size.right) * bin) / bins;
  const y = (count) => size.height - size.bottom - ((size.height - size.top - size.bottom) * count) / top;

  const lines = [];
  for (let count = 0; count <= top; count += step) {
    lines.push(
      svg("line", { class: "chart-grid", x1: size.left, x2: size.width - size.right, y1: y(count), y2: y(count) }),
      svg("text", { class: "chart-text", x: size.left - 6, y: y(count) + 4, "text-anchor": "end" }, String(count)),
    );
  }
  const columns = [];
  for (let bin = 0; bin < bins; bin += 1) {
    const parts = [
      { name: "chart-accepted", low: 0, high: accepted[bin] },
      { name: "chart-held-back", low: accepted[bin], high: accepted[bin] + heldBack[bin] },
    ];
    for (const { name, low, high } of parts.filter((part) => part.high > part.low)) {
      const title = `${from(bin)} to ${from(bin + 1)} %: ${accepted[bin]} accepted, ${heldBack[bin]} held back`;
      const place = { x: x(bin) + GAP / 2, width: x(1) - x(0) - GAP, y: y(high), height: y(low) - y(high) };
      columns.push(svg("rect", { class: name, ...place }, svg("title", {}, title)));
    }
  }
  const marks = [0, 0.25, 0.5, 0.75, 1].map((share) =>
    svg(
      "text",
      { class: "chart-text", x: x(share * bins), y: size.height - 10, "text-anchor": share === 1 ? "end" : "middle" },
      `${100 * share} %`,
    ),
  );
  const sum = (counts) => counts.reduce((total, count) => total + count, 0);
  const chart = svg(
    "svg",
    {
      viewBox: `0 0 ${size.width} ${size.height}`,
      class: "histogram",
      role: "img",
      "aria-label": `Confidence of ${sum(accepted)} accepted and ${sum(heldBack)} held back pictures; see the table.`,
    },
    ...lines,
    ...columns,
    ...marks,
  );
  return element("figure", { class: "chart" }, chart, legend(), histogramTable(bins, accepted, heldBack, from));
}

function legend() {
  const mark = (name, text) =>
    element(
      "li",
      {},
      svg(
        "svg",
        { viewBox: "0 0 10 10", class: "chart-mark", "aria-hidden": "true" },
        svg("rect", { class: name, width: 10, height: 10 }),
      ),
      text,
    );
  return element(
    "ul",
    { class: "chart-legend" },
    mark("chart-accepted", "accepted"),
    mark("chart-held-back", "held back"),
  );
}

function histogramTable(bins, accepted, heldBack, from) {
  const rows = [];
  for (let bin = bins - 1; bin >= 0; bin -= 1) {
    if (!accepted[bin] && !heldBack[bin]) continue;
    rows.push([`${from(bin)} to ${from(bin + 1)} %`, accepted[bin], heldBack[bin]]);
  }
  return element(
    "details",
    {},
    element("summary", {}, "As a table"),
    table("Confidence of the pictures; what is left out is empty", ["Confidence", "Accepted", "Held back"], rows),
  );
}

/**
 * A share of a whole as one bar, part after part.
 *
 * @param {{name: string, count: number}[]} parts `name` is the class name of the part.
 * @returns {SVGElement} hidden from screen readers: the figures have to stand beside it.
 */
export function shares(parts) {
  const total = parts.reduce((sum, part) => sum + part.count, 0);
  const bar = svg("svg", {
    viewBox: "0 0 100 10",
    preserveAspectRatio: "none",
    class: "shares",
    "aria-hidden": "true",
  });
  let before = 0;
  for (const { name, count } of parts.filter((part) => part.count > 0)) {
    const width = (100 * count) / total;
    bar.append(svg("rect", { class: name, x: before, width, height: 10 }));
    before += width;
  }
  return bar;
}

/**
 * When something happened within a span of time: a bar.
 *
 * @param {number} begin 0 to 1, of the span.
 * @param {number} end 0 to 1, of the span.
 * @returns {SVGElement} hidden from screen readers.
 */
export function span(begin, end) {
  const width = Math.max(0.6, 100 * (end - begin));
  return svg(
    "svg",
    { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true", focusable: "false" },
    svg("rect", { class: "chart-track", width: 100, height: 10 }),
    svg("rect", { class: "chart-first", x: Math.min(100 * begin, 100 - width), width, height: 10 }),
  );
}

/**
 * A plain table.
 *
 * @param {string} caption what it holds, for screen readers.
 * @param {string[]} heads the head of each column.
 * @param {(Node | string | number)[][]} rows the first cell of a row is its head, the others are numbers.
 * @returns {HTMLTableElement}
 */
export function table(caption, heads, rows) {
  const head = element("tr", {}, ...heads.map((text) => element("th", { scope: "col" }, text)));
  const body = rows.map(([first, ...others]) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, first),
      ...others.map((cell) => element("td", { class: "number" }, cell)),
    ),
  );
  return element(
    "table",
    { class: "figures" },
    element("caption", { class: "visually-hidden" }, caption),
    element("thead", {}, head),
    element("tbody", {}, ...body),
  );
}

/** A step of 1, 2 or 5 times a power of ten, with at most MAX_LINES steps up to the most. */
function niceStep(most) {
  const least = most / MAX_LINES;
  const power = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= least);
  return Math.max(1, step);
}
