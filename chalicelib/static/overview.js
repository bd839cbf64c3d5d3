/** What became of the pictures of the last hours, and the latest of them. */

import { request } from "./api.js";
import { histogram, shares, table } from "./chart.js";
import { announce, clear, element } from "./dom.js";
import { chip, percent, reasonName } from "./format.js";
import { Latest } from "./latest.js";

export const title = "Overview";

/** Hours that can be chosen, and what they are called. */
const PERIODS = [
  [1, "1 hour"],
  [24, "24 hours"],
  [168, "7 days"],
];

/** The period that is shown first, in hours. */
const FIRST_PERIOD = 24;

/** The endings, in the order of the charts. */
const ENDINGS = ["ACCEPTED", "REVIEW", "REVIEWED", "REJECTED", "FAILED", "PENDING"];

/**
 * Show the overview.
 *
 * @param {HTMLElement} root where it goes.
 * @returns {() => void} ends it.
 */
export function show(root) {
  const overview = new Overview(root);
  overview.load();
  return () => overview.end();
}

class Overview {
  #hours = FIRST_PERIOD;
  #turn = 0;

  constructor(root) {
    this.latest = new Latest();
    this.message = element("p", { class: "overview-message" }, "Counting …");
    this.figures = element("div", { class: "overview-figures" });
    const refresh = element("button", { type: "button", onclick: () => this.load() }, "Refresh");
    clear(root);
    root.append(
      element("div", { class: "overview-head" }, element("h1", {}, title), refresh, this.#periods()),
      this.message,
      this.figures,
      this.latest.node,
    );
  }

  end() {
    this.#turn += 1;
    this.latest.end();
  }

  /** The figures first: they push the list to where it stays, and thumbnails load only where they are seen. */
  async load() {
    await this.#count();
    this.latest.reload();
  }

  #periods() {
    const choices = PERIODS.map(([hours, text]) => {
      const choose = () => {
        this.#hours = hours;
        this.#count();
      };
      const checked = hours === this.#hours;
      const input = element("input", {
        type: "radio",
        name: "hours",
        id: `hours-${hours}`,
        value: hours,
        checked,
        onchange: choose,
      });
      return element("span", {}, input, element("label", { for: input.id }, text));
    });
    return element(
      "fieldset",
      { class: "periods" },
      element("legend", { class: "visually-hidden" }, "The last"),
      ...choices,
    );
  }

  async #count() {
    const turn = (this.#turn += 1);
    this.figures.setAttribute("aria-busy", "true");
    try {
      const { data } = await request("GET", `overview?hours=${this.#hours}`);
      if (turn === this.#turn) this.#show(data);
    } catch (error) {
      if (turn !== this.#turn) return;
      this.message.textContent = `The figures cannot be read: ${error.detail || error.message}`;
      announce(this.message.textContent);
    }
    this.figures.setAttribute("aria-busy", "false");
  }

  #show(data) {
    const { counts } = data;
    const total = sum(counts);
    const decided = (counts.ACCEPTED ?? 0) + heldBack(counts);
    this.message.textContent = data.complete
      ? ""
      : `There were more pictures than are counted at once: these figures are of the newest ${total}.`;
    clear(this.figures);
    this.figures.append(
      element(
        "dl",
        { class: "tiles" },
        tile("Pictures", total, "came in"),
        tile("Accepted", share(counts.ACCEPTED ?? 0, decided), `${counts.ACCEPTED ?? 0} of ${decided} classified`),
        tile("Held back", share(heldBack(counts), decided), `${heldBack(counts)} of ${decided} classified`),
        tile(
          "Wait for a person",
          data.waiting,
          data.waiting ? element("a", { href: "#/review" }, "Review them") : "all are decided",
        ),
      ),
    );
    if (total > 0) this.#showMore(data, total);
    else this.figures.append(element("p", { class: "overview-none" }, "No picture came in during this time."));
    announce(`${total} pictures, ${data.waiting} wait for a person.`);
  }

  #showMore({ counts, labels, reviewed, reasons, histogram: confidence }, total) {
    const endings = ENDINGS.filter((status) => counts[status]);
    const parts = endings.map((status) => ({ name: `ending-${status.toLowerCase()}`, count: counts[status] }));
    const rows = endings.map((status) => [chip(status), counts[status], percent(counts[status] / total)]);
    this.figures.append(
      card(
        "How they ended",
        shares(parts),
        table("How many ended how", ["Ending", "Pictures", "Share"], rows),
        byReason(reasons),
      ),
      card("How sure the model was", histogram(confidence)),
      card("What was accepted", byLabel("What was accepted as what", labels, "Nothing was accepted.")),
      card("What people said", byLabel("What was decided by people", reviewed, "Nobody decided a picture.")),
    );
  }
}

function heldBack(counts) {
  return (counts.REVIEW ?? 0) + (counts.REVIEWED ?? 0);
}

function byLabel(caption, counts, none) {
  const total = sum(counts);
  if (total === 0) return element("p", {}, none);
  const rows = Object.entries(counts).map(([label, count]) => [label, count, percent(count / total)]);
  return table(caption, ["Label", "Pictures", "Share"], rows);
}

/** Why pictures were held back; nothing where none was. */
function byReason(reasons) {
  const total = sum(reasons);
  if (total === 0) return "";
  const rows = Object.entries(reasons).map(([code, count]) => [reasonName(code), count, percent(count / total)]);
  return table("Why pictures were held back", ["Held back", "Pictures", "Share"], rows);
}

function card(heading, ...children) {
  return element("section", { class: "card" }, element("h2", {}, heading), ...children);
}

function tile(name, figure, text) {
  return element(
    "div",
    { class: "tile" },
    element("dt", {}, name),
    element("dd", { class: "figure" }, figure),
    element("dd", {}, text),
  );
}

function share(part, whole) {
  return whole === 0 ? "–" : percent(part / whole);
}

function sum(counts) {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}
