/** The review queue: one picture at a time, decided by keys or big buttons. */

import { request } from "./api.js";
import { scores } from "./chart.js";
import { ask } from "./conflict.js";
import { decisions } from "./decisions.js";
import { announce, clear, element } from "./dom.js";
import { badge, percent, pictureName, reasonName } from "./format.js";
import { Legend, keysOf, listen } from "./keys.js";
import { Item, Queue } from "./queue.js";
import { Stage } from "./stage.js";

export const title = "Review";

/** Seconds between two looks for new pictures, where none is left. */
const LOOK = 15;

/** Seconds until the queue is asked for again, where it could not be. */
const AGAIN = 5;

/** Decisions that are listed, and whose pictures are kept. */
const RECENT = 5;

/** Characters of a note, as the API takes it. */
const MAX_NOTE = 1000;

/** Milliseconds in which a second click belongs to the first one, not to the picture that has just come. */
const DOUBLE_CLICK = 400;

const SAID = {
  sending: "saving …",
  waiting: "not sent yet",
  saved: "saved",
  conflict: "somebody was first",
  settled: "left as it is",
  refused: "not saved",
  undoing: "undoing …",
};

/**
 * Show the queue.
 *
 * @param {HTMLElement} root where it goes.
 * @returns {() => void} ends it. What is not saved yet is still sent.
 */
export function show(root) {
  const review = new Review(root);
  review.begin();
  return () => review.end();
}

class Review {
  #queue = new Queue();
  #item = null;
  #turn = 0;
  #shownAt = 0;
  #left = null;

  /** By how much this tab has changed what is left, whether or not that was counted by then. */
  #change = 0;
  #timer = 0;
  #asking = false;
  #ended = new AbortController();

  /** The latest decisions with their pictures, the latest last: {decision, item, row}. */
  #recent = [];

  constructor(root) {
    this.root = root;
    this.left = element("p", { class: "review-left" });
    this.notice = element("p", { class: "review-notice", hidden: true });
    this.unsent = element("p", { class: "review-unsent", hidden: true });
    this.stage = new Stage();
    this.thought = element("section", { class: "review-thought", "aria-label": "What the model thinks" });
    this.choices = element("div", {
      class: "review-choices",
      role: "group",
      "aria-label": "What does the picture show?",
      tabindex: "-1",
    });
    this.skip = button("Skip", "s", "S ArrowRight", () => this.#skip());
    this.undo = button("Undo", "u", "U", () => this.#undo(decisions.last));
    this.note = element("textarea", { id: "review-note", rows: "2", maxlength: String(MAX_NOTE) });
    this.legend = new Legend();
    this.list = element("ol", { class: "review-recent" });
    this.recent = element(
      "section",
      { class: "review-decided", hidden: true },
      element("h2", {}, "Just decided"),
      this.list,
    );
    this.work = element(
      "div",
      { class: "review-work", hidden: true },
      this.stage.node,
      element(
        "div",
        { class: "review-side" },
        element(
          "div",
          { class: "review-decide" },
          this.choices,
          element("div", { class: "review-more" }, this.skip, this.undo),
        ),
        this.thought,
        element(
          "div",
          { class: "review-note" },
          element("label", { for: "review-note" }, "Note, if you like ", key("w")),
          this.note,
        ),
        this.legend.node,
      ),
    );
    this.message = element("section", { class: "review-message" });
    clear(root);
    root.append(
      element("div", { class: "review-head" }, element("h1", {}, title), this.left, this.notice, this.unsent),
      this.message,
      this.work,
      this.recent,
    );
  }

  begin() {
    const { signal } = this.#ended;
    listen({
      signal,
      ready: () => this.legend.on && !this.#asking,
      labels: () => this.#labels(),
      decide: (label) => this.#decide(label),
      keys: {
        s: () => this.#skip(),
        ArrowRight: () => this.#skip(),
        u: () => this.#undo(decisions.last),
        z: () => this.stage.zoom(),
        w: () => this.note.focus(),
        "?": () => this.legend.toggle(),
      },
    });
    this.note.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.choices.focus();
    });
    this.note.addEventListener("input", () => {
      if (this.#item) this.#item.draft = this.note.value;
    });
    decisions.addEventListener("change", ({ detail }) => this.#changed(detail), { signal });
    document.addEventListener("visibilitychange", () => this.#look(), { signal });
    this.#say("Looking for pictures …");
    this.#count();
    this.#showUnsent();
    this.#next();
    this.#settle();
  }

  end() {
    this.#ended.abort();
    this.#turn += 1;
    window.clearTimeout(this.#timer);
  }

  /** The labels of the picture that is shown, and what always can be said. */
  #labels() {
    return this.#item ? [...(this.#item.classification.labels ?? []), "neither"] : [];
  }

  async #next(before = "") {
    const turn = (this.#turn += 1);
    window.clearTimeout(this.#timer);
    this.#item = null;
    try {
      const item = await this.#queue.next();
      if (turn !== this.#turn) {
        if (item) this.#queue.putBack(item);
      } else if (item) this.#show(item, before);
      else this.#showEmpty(before);
    } catch (error) {
      if (turn === this.#turn) this.#showProblem(error);
    }
  }

  #show(item, before) {
    const { classification } = item;
    this.#item = item;
    this.#shownAt = performance.now();
    this.#notice("");
    this.work.hidden = false;
    this.message.hidden = true;
    this.stage.show(item);
    this.note.value = item.draft;
    clear(this.thought);
    this.thought.append(
      element("h2", {}, `The model says ${classification.label}`),
      badge(classification),
      element("p", {}, classification.reason ?? ""),
      scores(classification) ?? "",
    );
    this.#showChoices();
    this.#showLeft();
    announce(`${before} ${this.#described()}`.trim());
  }

  /** Say something until the next picture comes. */
  #notice(text) {
    this.notice.hidden = !text;
    this.notice.textContent = text;
    if (text) announce(text);
  }

  #described() {
    if (!this.#item) return "";
    const { classification } = this.#item;
    const { label, confidence, reason_code: code } = classification;
    const why = code === null ? "" : ` ${reasonName(code)}.`;
    return `${pictureName(classification)}: the model says ${label}, ${percent(confidence)}.${why}`;
  }

  /** A button for each label; those that are there already stay, and keep the focus. */
  #showChoices() {
    const labels = this.#labels();
    const shown = [...this.choices.children].map(({ value }) => value);
    if (labels.length === shown.length && labels.every((label, place) => label === shown[place])) return;
    const keys = keysOf(labels);
    clear(this.choices);
    for (const label of labels) {
      const choice = button(label, keys.get(label)[0], keys.get(label).join(" ").toUpperCase(), (event) => {
        const second = event.detail > 1 && performance.now() - this.#shownAt < DOUBLE_CLICK;
        if (!second) this.#decide(label);
      });
      choice.value = label;
      choice.classList.add(label === "neither" ? "choice-neither" : "choice");
      this.choices.append(choice);
    }
    this.legend.describe(keys);
  }

  #decide(label) {
    const item = this.#item;
    if (!item) return;
    const decision = decisions.decide(item.classification, item.etag, label, this.note.value.trim());
    this.#remember(decision, item);
    this.#countBy(-1);
    this.#next();
  }

  #skip() {
    if (!this.#item) return;
    this.#queue.skip(this.#item);
    this.#next("Skipped.");
  }

  async #undo(decision) {
    if (!decision) {
      this.#notice("There is nothing to undo.");
      return;
    }
    const name = pictureName(decision.classification);
    let undone;
    try {
      undone = await decisions.undo(decision);
    } catch (error) {
      this.#notice(`${name} could not be undone: ${explain(error)}`);
      return;
    }
    if (this.#ended.signal.aborted) return;
    if (!undone) {
      this.#notice(`${name} was changed by somebody else since, and is left as it is.`);
      return;
    }
    const item = this.#itemOf(decision, undone);
    if (this.#item) this.#queue.putBack(this.#item);
    this.#queue.putBack(item);
    this.#countBy(1);
    await this.#next("Undone.");
    if (document.activeElement === document.body) this.choices.focus();
  }

  /** The picture of a decision as it stands now, and with its note. */
  #itemOf(decision, { classification, etag }) {
    const kept = this.#recent.find((one) => one.decision === decision);
    const item = Object.assign(kept?.item ?? new Item(classification, etag), { classification, etag });
    item.draft = decision.note;
    return item;
  }

  #remember(decision, item) {
    const state = element("span", { class: "review-state" });
    const name = pictureName(decision.classification);
    const undo = element(
      "button",
      {
        type: "button",
        class: "quiet",
        "aria-label": `Undo ${decision.label} for ${name}`,
        onclick: () => this.#undo(decision),
      },
      "Undo",
    );
    const link = element("a", { href: why(decision.classification) }, name);
    const row = element("li", {}, link, element("strong", {}, decision.label), state, undo);
    this.#recent.push({ decision, item, row, state, undo });
    this.list.prepend(row);
    for (const { row: old } of this.#recent.splice(0, this.#recent.length - RECENT)) old.remove();
    this.#showState(decision);
  }

  #changed(decision) {
    this.#showState(decision);
    this.#showUnsent();
    if (decision.state === "saved") announce(`Saved: ${decision.label}. ${this.#described()}`);
    if (decision.state === "waiting")
      announce(`Not sent yet: ${explain(decision.problem)} It is kept, and sent again.`);
    this.#settle();
  }

  #showState(decision) {
    const kept = this.#recent.find((one) => one.decision === decision);
    if (!kept) return;
    if (decision.state === "undone") {
      this.#recent.splice(this.#recent.indexOf(kept), 1);
      kept.row.remove();
    }
    kept.state.textContent = SAID[decision.state] ?? "";
    kept.row.dataset.state = decision.state;
    kept.undo.hidden = !["sending", "waiting", "saved"].includes(decision.state);
    this.recent.hidden = this.#recent.length === 0;
  }

  #showUnsent() {
    const { waiting } = decisions;
    this.unsent.hidden = waiting.length === 0;
    if (waiting.length === 0) return;
    const count = waiting.length === 1 ? "1 decision" : `${waiting.length} decisions`;
    clear(this.unsent);
    this.unsent.append(
      `${count} not sent yet `,
      element("button", { type: "button", class: "quiet", onclick: () => decisions.retry() }, "Send now"),
    );
  }

  /** Ask about each decision that met another one, one after the other. */
  async #settle() {
    if (this.#asking || this.#ended.signal.aborted) return;
    const [decision] = decisions.toSettle;
    if (!decision) return;
    this.#asking = true;
    const item = this.#itemOf(decision, decision.theirs ?? decision);
    const choice = await ask(this.root, decision, item.picture());
    this.#asking = false;
    if (choice === "overrule") decisions.overrule(decision);
    else if (choice === "keep") decisions.settle(decision);
    else {
      decisions.withdraw(decision);
      item.forget();
      if (this.#item) this.#queue.putBack(this.#item);
      this.#queue.putBack(item);
      this.#countBy(1);
      this.#next();
    }
    this.#settle();
  }

  async #count() {
    const before = this.#change;
    try {
      const { data } = await request("GET", "overview?hours=1");
      this.#left = Math.max(0, data.waiting + this.#change - before);
      this.#showLeft();
    } catch {
      // The queue itself says that the server cannot be asked.
    }
  }

  #countBy(change) {
    this.#change += change;
    if (this.#left !== null) this.#left = Math.max(0, this.#left + change);
  }

  #showLeft() {
    if (this.#left === null) return;
    const left = Math.max(this.#left, this.#queue.size);
    clear(this.left);
    this.left.append(element("strong", {}, String(left)), " left");
  }

  #showEmpty(before) {
    this.#left = 0;
    this.#showLeft();
    this.#say(
      "Nothing waits for you.",
      "All pictures that were held back are decided. New ones appear here by themselves.",
      "Look now",
    );
    if (before) announce(`${before} Nothing waits for you.`);
    this.#timer = window.setTimeout(() => this.#look(), 1000 * LOOK);
  }

  #showProblem(error) {
    this.#say("The queue cannot be read.", `${explain(error)} It is tried again every few seconds.`, "Try now");
    this.#timer = window.setTimeout(() => this.#next(), 1000 * AGAIN);
  }

  /** Look for new pictures, if none is shown and somebody is there to see them. */
  #look() {
    if (this.message.hidden || document.hidden) return;
    this.#count();
    this.#next();
  }

  #say(headline, text = "", action = "") {
    if (!this.message.hidden && this.message.firstChild?.textContent === headline) return;
    this.work.hidden = true;
    this.message.hidden = false;
    clear(this.message);
    this.message.append(element("h2", {}, headline));
    if (text) this.message.append(element("p", {}, text));
    if (!action) return;
    this.message.append(element("button", { type: "button", onclick: () => this.#look() }, action));
    announce(`${headline} ${text}`);
  }
}

function button(text, shortcut, shortcuts, act) {
  return element("button", { type: "button", "aria-keyshortcuts": shortcuts, onclick: act }, key(shortcut), text);
}

function key(name) {
  return element("kbd", { "aria-hidden": "true" }, name.toUpperCase());
}

function why({ id }) {
  return `#/classifications/${encodeURIComponent(id)}`;
}

function explain(error) {
  return error.detail || error.message || "The server cannot be reached.";
}
