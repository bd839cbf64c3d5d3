/** One picture that somebody has given to this page, from the file to the decision. */

import { request } from "./api.js";
import { Problem } from "./problem.js";
import { pause, Slots } from "./slots.js";
import { thumbnail } from "./thumbnail.js";
import { Upload } from "./upload.js";

/** How many pictures are sent, and how many asked about, at a time. */
const uploads = new Slots(6);
const questions = new Slots(4);

/** Milliseconds between two questions about a picture: at first, at last, and how they grow. */
const FIRST_WAIT = 300;
const LAST_WAIT = 2_000;
const GROWTH = 1.4;

/** How often a picture is sent until somebody has to ask for it, and milliseconds before the second time. */
const TRIES = 5;
const RETRY_WAIT = 1_000;

/** What a person can change on another view, or somebody else elsewhere. */
const REOPENED = ["REVIEW", "REVIEWED", "FAILED"];

/** Says "change" whenever it looks different. */
export class Picture extends EventTarget {
  /** @type {"waiting" | "sending" | "sent" | "refused"} */
  phase = "waiting";

  /** What the API knows of it; null until it is sent. */
  classification = null;

  /** @type {Error | null} why it was not sent, or what keeps it from being asked about. */
  problem = null;

  /** Whether `problem` may pass, and it is tried again without being asked. */
  trying = false;

  /** The blob: address of a small copy; null if there is none. */
  preview = null;

  #upload;
  #sending = Promise.resolve();
  #etag = null;

  /** @param {File} file */
  constructor(file) {
    super();
    this.name = file.name || "picture";
    this.#upload = new Upload(file);
    thumbnail(file).then((url) => {
      this.preview = url;
      this.#changed();
    });
  }

  /** One of the API's, or PENDING on the way there, or REFUSED if it never came there. */
  get status() {
    return this.phase === "refused" ? "REFUSED" : (this.classification?.status ?? "PENDING");
  }

  /** Whether it would be lost if the page was closed. */
  get unsent() {
    return this.phase === "waiting" || this.phase === "sending";
  }

  /** Send it, when it is its turn. What happens is told by "change". */
  send() {
    this.#set({ phase: "waiting", problem: null });
    this.#sending = uploads.run(async () => {
      try {
        await this.#upload.check();
        this.#set({ phase: "sending" });
        this.#take(await this.#persistently());
      } catch (error) {
        this.#set({ phase: "refused", problem: error, trying: false });
      }
    });
  }

  /**
   * See whether somebody has changed what had been decided.
   *
   * @param {AbortSignal} signal ends it.
   */
  async refresh(signal) {
    if (!REOPENED.includes(this.status)) return;
    try {
      await questions.run(() => this.#ask(signal));
    } catch {
      // What was known is shown.
    }
  }

  /**
   * Wait until it is sent, and ask what becomes of it until it has ended.
   *
   * @param {AbortSignal} signal ends it.
   */
  async watch(signal) {
    await this.#sending;
    let wait = FIRST_WAIT;
    while (this.phase === "sent" && this.status === "PENDING" && !signal.aborted) {
      try {
        await pause(wait, signal);
        wait = Math.min(GROWTH * wait, LAST_WAIT);
        await questions.run(() => this.#ask(signal));
      } catch (error) {
        if (signal.aborted) return;
        this.#set({ problem: error, trying: passes(error) });
        if (!passes(error)) return;
        wait = Math.max(error.retryAfter ?? 0, LAST_WAIT);
      }
    }
  }

  /** Let it be classified once more. */
  async runAgain() {
    try {
      this.#take(await request("POST", `classifications/${this.classification.id}/attempts`));
    } catch (error) {
      this.#set({ problem: error });
    }
  }

  /** Free what it holds. */
  discard() {
    if (this.preview) URL.revokeObjectURL(this.preview);
  }

  async #persistently() {
    let wait = RETRY_WAIT;
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.#upload.send();
      } catch (error) {
        if (!passes(error) || tries === TRIES) throw error;
        this.#set({ problem: error, trying: true });
        await pause(Math.max(error.retryAfter ?? 0, wait));
        wait *= 2;
      }
    }
  }

  async #ask(signal) {
    signal.throwIfAborted();
    const answer = await request("GET", `classifications/${this.classification.id}`, {
      headers: this.#etag ? { "If-None-Match": this.#etag } : {},
      signal,
    });
    if (answer.status !== 304) this.#take(answer);
    else if (this.problem) this.#set({ problem: null, trying: false });
  }

  #take({ data, headers }) {
    this.#etag = headers.get("ETag");
    this.#set({ phase: "sent", classification: data, problem: null, trying: false });
  }

  #set(changes) {
    Object.assign(this, changes);
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

function passes(error) {
  return error instanceof Problem && error.passes;
}
