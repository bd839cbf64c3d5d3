/** Why: everything about one picture, and how it came to it. */

import { Problem, pictureUrl } from "./api.js";
import { scores } from "./chart.js";
import { read } from "./decisions.js";
import { diagram } from "./diagram.js";
import { announce, clear, element } from "./dom.js";
import { badge, chip, percent, pictureName, statusName, when } from "./format.js";
import { timeline } from "./timeline.js";

export const title = "Why";

/** Milliseconds between two looks at a picture that is on its way. */
const POLL = 1000;

/** The account of the embedded AWS: it has no console. */
const EMBEDDED_ACCOUNT = "123456789012";

/** Why a picture is not run again now. */
const NOT_AGAIN = {
  REVIEWED: "A person has decided this picture, and what a person has decided stays. Take the decision back first.",
  PENDING: "It is on its way.",
};

/**
 * Show one picture.
 *
 * @param {HTMLElement} root where it goes.
 * @param {{id: string}} parameters
 * @returns {() => void} ends it.
 */
export function show(root, { id }) {
  const detail = new Detail(root, id);
  detail.load();
  return () => detail.end();
}

class Detail {
  #etag = null;
  #classification = null;
  #timer = 0;
  #ended = false;

  constructor(root, id) {
    this.root = root;
    this.path = `classifications/${encodeURIComponent(id)}`;
    this.id = id;
    this.message = element("p", { class: "detail-message" }, "Looking it up …");
    clear(root);
    root.append(element("h1", {}, title), this.message);
  }

  end() {
    this.#ended = true;
    window.clearTimeout(this.#timer);
  }

  async load() {
    try {
      this.#take(await read("GET", this.path));
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Show how it stands, and look again as long as it is on its way. */
  #take({ classification, etag }) {
    if (this.#ended) return;
    const before = this.#classification;
    const changed = etag !== this.#etag || classification.steps.length !== before?.steps.length;
    [this.#classification, this.#etag] = [classification, etag];
    if (!before) this.#build();
    if (changed) this.#render();
    this.message.textContent = "";
    if (before && before.status !== classification.status) announce(this.#headline());
    window.clearTimeout(this.#timer);
    if (classification.status === "PENDING") this.#timer = window.setTimeout(() => this.load(), POLL);
  }

  #fail(error) {
    if (this.#ended) return;
    if (error instanceof Problem && error.status === 404) {
      this.#showUnknown();
      return;
    }
    this.message.textContent = `It cannot be read: ${explain(error)} It is tried again.`;
    this.#timer = window.setTimeout(() => this.load(), 5 * POLL);
  }

  #showUnknown() {
    clear(this.root);
    this.root.append(
      element("h1", {}, "There is no such picture"),
      element(
        "p",
        { role: "alert" },
        ["No classification has the id ", element("code", {}, this.id), ". "],
        "It may have been deleted, or the address is incomplete.",
      ),
      element("p", {}, element("a", { href: "#/overview" }, "See the latest pictures")),
    );
  }

  /** What stays while the picture changes. */
  #build() {
    this.heading = element("h1", { class: "detail-name" }, pictureName(this.#classification));
    this.outcome = element("div", { class: "detail-outcome" });
    this.decision = section("What the model thinks");
    this.steps = section("What happened");
    this.way = section("The way through the workflow");
    this.review = section("What people say");
    this.facts = section("Details");
    this.again = element(
      "button",
      { type: "button", "aria-describedby": "again-why", onclick: () => this.#runAgain() },
      "Run it again",
    );
    this.againWhy = element("span", { id: "again-why", class: "small quiet-text" });
    clear(this.root);
    this.root.append(
      element("div", { class: "detail-head" }, this.heading, this.outcome),
      this.message,
      element(
        "div",
        { class: "detail-top" },
        element(
          "div",
          { class: "detail-left" },
          this.#picture(),
          element("div", { class: "detail-again" }, this.again, this.againWhy),
        ),
        element("div", { class: "detail-right" }, this.decision.node, this.review.node, this.steps.node),
      ),
      this.way.node,
      this.facts.node,
    );
  }

  #picture() {
    const name = pictureName(this.#classification);
    const frame = element("div", { class: "detail-picture" });
    const missing = (why) => {
      clear(frame);
      frame.append(element("p", {}, `The picture cannot be shown. ${why}`));
    };
    pictureUrl(this.id).then(
      (url) => {
        const image = element("img", { src: url, alt: name });
        image.addEventListener("error", () =>
          missing("It may be gone, broken, or of a kind that browsers do not show, such as TIFF."),
        );
        frame.append(image);
      },
      (error) => missing(explain(error)),
    );
    return frame;
  }

  #headline() {
    const { status, label, confidence } = this.#classification;
    return label && status !== "PENDING"
      ? `${statusName(status)}: ${label}, ${percent(confidence)}`
      : statusName(status);
  }

  #render() {
    const it = this.#classification;
    fill(this.outcome, ...this.#outcome(it));
    this.decision.fill(...thought(it));
    this.steps.fill(timeline(it));
    this.review.fill(...this.#reviewed(it));
    this.way.fill(diagram(it, { large: true }));
    this.facts.fill(facts(it));
    const not = NOT_AGAIN[it.status] ?? "";
    this.again.setAttribute("aria-disabled", String(Boolean(not)));
    this.againWhy.textContent = not;
  }

  #outcome(it) {
    const { status, label, confidence, review, reason } = it;
    const said = review
      ? `${review.label}, says ${review.by}`
      : label && status !== "PENDING"
        ? `${label}, ${percent(confidence)}`
        : "";
    return [
      element("p", { class: "detail-said" }, chip(status), " ", said, " ", badge(it)),
      reason ? element("p", { class: "detail-reason" }, reason) : "",
    ];
  }

  #reviewed({ status, review }) {
    if (!review) {
      if (status !== "REVIEW") return [];
      return [
        element("p", {}, "It waits for somebody to decide. ", element("a", { href: "#/review" }, "Go to the queue")),
      ];
    }
    const back = element("button", { type: "button", onclick: () => this.#takeBack() }, "Take it back");
    return [
      element("p", {}, element("strong", {}, review.label), `, says ${review.by}, `, when(review.at), "."),
      review.note ? element("blockquote", {}, review.note) : "",
      element("p", {}, back),
    ];
  }

  async #runAgain() {
    const not = NOT_AGAIN[this.#classification.status];
    if (not) {
      announce(not);
      return;
    }
    await this.#change(() => read("POST", `${this.path}/attempts`), "It could not be run again");
  }

  async #takeBack() {
    const headers = { "If-Match": this.#etag };
    await this.#change(() => read("DELETE", `${this.path}/review`, { headers }), "It could not be taken back");
    this.again.focus();
  }

  /** Ask for a change, and show how it stands then; if it was refused, say why and show how it stands now. */
  async #change(ask, failed) {
    try {
      this.#take(await ask());
    } catch (error) {
      await this.load();
      if (this.#ended) return;
      this.message.textContent = `${failed}: ${explain(error)}`;
      announce(this.message.textContent);
    }
  }
}

/** What the model thinks, against what was asked of it. */
function thought(it) {
  const table = scores(it);
  if (!table) return [];
  const { label, confidence, threshold, known, min_known: minKnown } = it;
  const only = confidence >= threshold ? "" : "only ";
  const sentences = [`${label} has ${percent(confidence)}; accepted ${only}from ${percent(threshold)} on.`];
  if (known !== null) {
    const enough = minKnown === null || known >= minKnown;
    const needed = minKnown === null ? "" : `; accepted ${enough ? "" : "only "}from ${percent(minKnown)} on`;
    sentences.push(`That it is any of these at all has ${percent(known)}${needed}.`);
  }
  return [table, ...sentences.map((sentence) => element("p", {}, sentence))];
}

function facts(it) {
  const rows = [
    ["Id", element("code", {}, it.id)],
    ["Bucket", element("code", {}, it.s3_bucket)],
    ["Key", element("code", {}, it.s3_key)],
    ["Version", it.version_id ? element("code", {}, it.version_id) : "the bucket keeps none"],
    ["Model", it.model ? element("code", {}, it.model) : "not told"],
    ["Attempt", String(it.attempt)],
    ["Came in", when(it.created_at)],
    ["Came to where it stands", when(it.updated_at)],
    ["Execution", execution(it.execution)],
  ];
  return element(
    "dl",
    { class: "facts" },
    ...rows.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))),
  );
}

/** The execution: a link to the console of Step Functions, where there is one. */
function execution(arn) {
  const [, , , region, account] = arn.split(":");
  const text = element("code", {}, arn);
  if (account === EMBEDDED_ACCOUNT) return text;
  const href = `https://${region}.console.aws.amazon.com/states/home?region=${region}#/v2/executions/details/${arn}`;
  return element("a", { href, target: "_blank", rel: "noopener noreferrer" }, text);
}

/** A part of the page with a heading; hidden while there is nothing in it. */
function section(heading) {
  const body = element("div", {});
  const node = element("section", {}, element("h2", {}, heading), body);
  return {
    node,
    fill(...children) {
      fill(body, ...children);
      node.hidden = children.length === 0;
    },
  };
}

function fill(node, ...children) {
  clear(node);
  node.append(...children);
}

function explain(error) {
  return error.detail || error.message || "The server cannot be reached.";
}
