/**
 * Decisions of the one who reviews, on their way to the server. Each is kept until it is there, whatever the network
 * does, also when the view is left, and in a tab that was reloaded. None overwrites what somebody else has decided:
 * each names the state (the ETag) of the classification that it is about.
 *
 *     sending ──► saved ──► undoing ──► undone
 *        │ ▲──────────────────────── decided anyway
 *        ├─► waiting ──► sending      not reached: tried again
 *        ├─► conflict ──► settled     somebody was first: the view asks what shall stand
 *        └─► refused ───► settled     cannot be saved, and never will: the view says so
 */

import { Problem, request } from "./api.js";

/** Seconds until a decision that did not reach the server is sent again: first, and at most. */
const FIRST_WAIT = 2;
const MAX_WAIT = 30;

/** Where a reloaded tab finds what was not saved. */
const STORAGE = "unsaved-decisions";

/** HTTP: somebody else was first, or where it stands does not allow it. */
const CONFLICT = 409;
const CHANGED = 412;

/**
 * A decision.
 *
 * @typedef {object} Decision
 * @property {object} classification as it was seen.
 * @property {string} label one of its labels, or "neither".
 * @property {string} note what was noted; may be empty.
 * @property {string} etag the state that it is based on; once saved, the state that it led to.
 * @property {"sending" | "waiting" | "saved" | "conflict" | "settled" | "refused" | "undoing" | "undone"} state
 * @property {number} tries how often it was sent.
 * @property {Problem | Error | null} problem why it was not saved.
 * @property {{classification: object, etag: string} | null} theirs in a conflict, what stands instead.
 * @property {Promise<void>} sent ends with the latest try.
 */

/** All decisions of this tab, the latest last. Says "change" with the decision as its detail. */
class Decisions extends EventTarget {
  /** @type {Decision[]} */
  all = [];
  #timer = 0;
  #wait = FIRST_WAIT;

  constructor() {
    super();
    window.addEventListener("online", () => this.retry());
    window.addEventListener("beforeunload", (event) => {
      if (this.unsaved.length > 0) event.preventDefault();
    });
    for (const kept of stored()) this.all.push({ ...kept, state: "waiting", tries: 1, problem: null, theirs: null });
    if (this.waiting.length > 0) this.#timer = window.setTimeout(() => this.retry(), 0);
  }

  /** Those that would be lost with this tab. */
  get unsaved() {
    return this.all.filter(({ state }) => ["sending", "waiting", "conflict"].includes(state));
  }

  /** Those that did not reach the server, and are sent again. */
  get waiting() {
    return this.all.filter(({ state }) => state === "waiting");
  }

  /** Those that wait for somebody who sees why they were not saved, and says what shall stand. */
  get toSettle() {
    return this.all.filter(({ state }) => state === "conflict" || state === "refused");
  }

  /** Whether something about this picture is still to be settled. */
  isOpen(id) {
    const open = ["sending", "waiting", "conflict", "undoing"];
    return this.all.some(({ classification, state }) => classification.id === id && open.includes(state));
  }

  /** The latest that can be undone. */
  get last() {
    return this.all.findLast(({ state }) => ["sending", "waiting", "saved"].includes(state));
  }

  /**
   * Decide, and send it.
   *
   * @param {object} classification as it was seen.
   * @param {string} etag the state in which it was seen.
   * @param {string} label one of its labels, or "neither".
   * @param {string} note up to 1000 characters; may be empty.
   * @returns {Decision}
   */
  decide(classification, etag, label, note) {
    const decision = { classification, etag, label, note, state: "sending", tries: 0, problem: null, theirs: null };
    this.all.push(decision);
    decision.sent = this.#send(decision);
    return decision;
  }

  /** Send what did not reach the server, now. */
  retry() {
    window.clearTimeout(this.#timer);
    for (const decision of this.waiting) decision.sent = this.#send(decision);
  }

  /** Let stand what stands, in a conflict or where it was refused. */
  settle(decision) {
    this.#set(decision, "settled");
  }

  /** Forget a decision that was not saved: the picture is decided anew. */
  withdraw(decision) {
    this.#set(decision, "undone");
  }

  /** In a conflict, decide anyway: over what was shown, and over nothing that came after it. */
  overrule(decision) {
    decision.etag = decision.theirs.etag;
    decision.theirs = null;
    decision.sent = this.#send(decision);
  }

  /**
   * Take a decision back.
   *
   * @param {Decision} decision
   * @returns {Promise<{classification: object, etag: string} | null>} what is to be decided again; null if somebody has
   *   changed it since, which stays.
   * @throws {Problem | Error} it could not be taken back, and can be tried again.
   */
  async undo(decision) {
    if (decision.state === "sending") await decision.sent;
    if (decision.state === "waiting") {
      this.#set(decision, "undone");
      return { classification: decision.classification, etag: decision.etag };
    }
    if (decision.state !== "saved") return null;
    this.#set(decision, "undoing");
    try {
      const undone = await read("DELETE", `${path(decision)}/review`, { headers: { "If-Match": decision.etag } });
      this.#set(decision, "undone");
      return undone;
    } catch (error) {
      if (!isConflict(error)) {
        this.#set(decision, "saved");
        throw error;
      }
    }
    return this.#compareUndone(decision);
  }

  async #compareUndone(decision) {
    try {
      const now = await read("GET", path(decision));
      decision.theirs = now;
      const waits = now.classification.status === "REVIEW"; // an answer was lost, or somebody else has undone it
      this.#set(decision, waits ? "undone" : "settled");
      return waits ? now : null;
    } catch (error) {
      this.#set(decision, "saved");
      throw error;
    }
  }

  async #send(decision) {
    decision.tries += 1;
    this.#set(decision, "sending");
    const { label, note, etag } = decision;
    const json = note ? { label, note } : { label };
    try {
      const saved = await read("PUT", `${path(decision)}/review`, { json, headers: { "If-Match": etag } });
      decision.etag = saved.etag;
      this.#wait = FIRST_WAIT;
      this.#set(decision, "saved");
    } catch (error) {
      decision.problem = error;
      if (isConflict(error)) await this.#compare(decision);
      else this.#keep(decision, error);
    }
  }

  /**
   * Somebody was first; or has taken a decision back, so that it waits as it did; or an earlier try did arrive, and
   * only its answer was lost.
   */
  async #compare(decision) {
    try {
      const theirs = await read("GET", path(decision));
      const { review, status, attempt } = theirs.classification;
      const waits = status === "REVIEW" && attempt === decision.classification.attempt;
      const arrived = decision.tries > 1 && review?.label === decision.label && (review.note ?? "") === decision.note;
      if (waits || arrived) decision.etag = theirs.etag;
      else decision.theirs = theirs;
      if (waits) await this.#send(decision);
      else this.#set(decision, arrived ? "saved" : "conflict");
    } catch (error) {
      decision.problem = error;
      this.#keep(decision, error);
    }
  }

  /** Keep a decision for another try, if another try may help. */
  #keep(decision, error) {
    if (!passes(error)) {
      this.#set(decision, "refused");
      return;
    }
    this.#set(decision, "waiting");
    window.clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => this.retry(), 1000 * this.#wait);
    this.#wait = Math.min(2 * this.#wait, MAX_WAIT);
  }

  #set(decision, state) {
    decision.state = state;
    if (state === "saved" || state === "undone") decision.problem = null;
    store(this.unsaved);
    this.dispatchEvent(new CustomEvent("change", { detail: decision }));
  }
}

/** All decisions of this tab. */
export const decisions = new Decisions();

/**
 * Whether trying again may help: the network, a server that is busy, or a sign-in that has run out.
 *
 * @param {Problem | Error} error
 */
export function passes(error) {
  return !(error instanceof Problem) || error.passes || [401, 403].includes(error.status);
}

/**
 * Ask for one classification.
 *
 * @param {string} method
 * @param {string} where
 * @param {object} options as for `request`.
 * @returns {Promise<{classification: object, etag: string}>}
 * @throws {Problem | Error}
 */
export async function read(method, where, options = {}) {
  const { data, headers } = await request(method, where, options);
  return { classification: data, etag: headers.get("ETag") };
}

function path({ classification }) {
  return `classifications/${encodeURIComponent(classification.id)}`;
}

function isConflict(error) {
  return error instanceof Problem && (error.status === CONFLICT || error.status === CHANGED);
}

function store(unsaved) {
  const kept = unsaved.map(({ classification, label, note, etag }) => ({ classification, label, note, etag }));
  try {
    if (kept.length > 0) sessionStorage.setItem(STORAGE, JSON.stringify(kept));
    else sessionStorage.removeItem(STORAGE);
  } catch {
    // No storage: what is not sent is kept as long as the page is open.
  }
}

function stored() {
  try {
    return JSON.parse(sessionStorage.getItem(STORAGE) ?? "[]");
  } catch {
    return [];
  }
}
