/** What waits for a decision: the least sure first, what was skipped last. */

import { Problem, pictureUrl, request } from "./api.js";
import { decisions, read } from "./decisions.js";

/** Classifications that are asked for at once. */
const PAGE = 25;

/** So few left, the next page is asked for. */
const FEW = 5;

/** Pictures that are loaded ahead. */
const AHEAD = 2;

/** A picture that waits, with what is loaded of it. */
export class Item {
  /** What has been noted about it so far. */
  draft = "";
  #fresh = null;
  #picture = null;

  constructor(classification, etag = null) {
    this.classification = classification;
    this.etag = etag;
    if (etag) this.#fresh = Promise.resolve();
  }

  get id() {
    return this.classification.id;
  }

  /** Read it as it stands now, once. */
  load() {
    this.#fresh ??= read("GET", `classifications/${encodeURIComponent(this.id)}`).then(
      (now) => Object.assign(this, now),
      (error) => {
        this.#fresh = null;
        throw error;
      },
    );
    return this.#fresh;
  }

  /**
   * Its picture, whose loading is under way.
   *
   * @returns {{image: HTMLImageElement, loaded: Promise<void>}} `loaded` is rejected where it cannot be shown.
   */
  picture() {
    if (!this.#picture) {
      const image = new Image();
      const loaded = pictureUrl(this.id).then((url) => {
        image.src = url;
        return arrived(image);
      });
      loaded.catch(() => {}); // whoever shows it says so
      this.#picture = { image, loaded };
    }
    return this.#picture;
  }

  /** Let go of its picture: it is loaded anew when it is asked for. */
  forgetPicture() {
    this.#picture = null;
  }

  /** Let go of its picture, and of how it stood. */
  forget() {
    this.forgetPicture();
    this.#fresh = null;
  }
}

/** The queue, page after page. */
export class Queue {
  #coming = [];
  #skipped = [];
  #cursor = null;
  #filling = null;
  #round = false;
  #current = null;

  /**
   * The next one.
   *
   * @returns {Promise<Item | null>} null if nothing waits.
   * @throws {Problem | Error} the server cannot be asked.
   */
  async next() {
    this.#current = null;
    for (;;) {
      if (this.#coming.length === 0) await this.#begin();
      const item = this.#coming.shift();
      if (!item) return null;
      if (!(await this.#waits(item))) continue;
      this.#current = item;
      this.#preload();
      return item;
    }
  }

  /** Show this one again, before all others. */
  putBack(item) {
    this.#coming = [item, ...this.#coming.filter(({ id }) => id !== item.id)];
    this.#skipped = this.#skipped.filter(({ id }) => id !== item.id);
  }

  /** Show this one again, after all others. */
  skip(item) {
    item.forget();
    this.#skipped.push(item);
  }

  /** How many are known to wait, the one that is shown included. */
  get size() {
    return this.#coming.length + this.#skipped.length + (this.#current ? 1 : 0);
  }

  /** Go through the pages, from the first one on if all were seen; then what was skipped. */
  async #begin() {
    if (this.#round && this.#cursor === null) this.#round = false;
    do await this.#fill();
    while (this.#coming.length === 0 && this.#cursor !== null);
    if (this.#coming.length === 0) [this.#coming, this.#skipped] = [this.#skipped, []];
  }

  #fill() {
    this.#filling ??= this.#readPage().finally(() => (this.#filling = null));
    return this.#filling;
  }

  async #readPage() {
    const query = new URLSearchParams({ status: "REVIEW", limit: String(PAGE) });
    if (this.#round && this.#cursor !== null) query.set("after", this.#cursor);
    const { data } = await request("GET", `classifications?${query}`);
    this.#cursor = data.next;
    this.#round = true;
    const known = new Set([...this.#coming, ...this.#skipped, this.#current].map((item) => item?.id));
    const fresh = data.classifications.filter(({ id }) => !known.has(id) && !decisions.isOpen(id));
    this.#coming.push(...fresh.map((classification) => new Item(classification)));
  }

  /** Whether it still waits, as of now. */
  async #waits(item) {
    try {
      await item.load();
    } catch (error) {
      if (error instanceof Problem && error.status === 404) return false;
      this.#coming.unshift(item);
      throw error;
    }
    return item.classification.status === "REVIEW" && !decisions.isOpen(item.id);
  }

  #preload() {
    const more = this.#cursor !== null && this.#coming.length < FEW;
    const filled = more ? this.#fill() : Promise.resolve();
    filled
      .catch(() => {})
      .then(() => {
        for (const item of [...this.#coming, ...this.#skipped].slice(0, AHEAD)) {
          item.load().catch(() => {});
          item.picture();
        }
      });
  }
}

/** Wait until a picture is there. */
function arrived(image) {
  return new Promise((resolve, reject) => {
    image.addEventListener("load", () => resolve());
    image.addEventListener("error", () => reject(new Error("The picture cannot be shown.")));
  });
}
