/** The latest pictures as a list: newest first, a page at a time. */

import { pictureUrl, request } from "./api.js";
import { announce, clear, element } from "./dom.js";
import { badge, chip, percent, pictureName, statusName, when } from "./format.js";

/** Pictures on a page. */
const PAGE = 24;

const STATUSES = ["ACCEPTED", "REVIEW", "REVIEWED", "REJECTED", "FAILED", "PENDING"];

/** The list with its filter. */
export class Latest {
  #cursor = null;
  #turn = 0;
  #ended = false;
  #seen = new Set();

  /** Thumbnails are loaded once they come near. */
  #watcher = new IntersectionObserver((entries) => this.#come(entries), { rootMargin: "200px" });

  constructor() {
    this.filter = element("select", { id: "latest-filter" }, element("option", { value: "" }, "all"));
    for (const status of STATUSES) this.filter.append(element("option", { value: status }, statusName(status)));
    this.filter.addEventListener("change", () => this.reload());
    this.list = element("ul", { class: "latest-list" });
    this.message = element("p", {});
    this.more = element("button", { type: "button", hidden: true, onclick: () => this.#add() }, "More");
    this.node = element(
      "section",
      { class: "latest" },
      element(
        "div",
        { class: "latest-head" },
        element("h2", {}, "Latest pictures"),
        element("div", {}, element("label", { for: "latest-filter" }, "Show "), this.filter),
      ),
      this.list,
      this.message,
      this.more,
    );
  }

  end() {
    this.#ended = true;
    this.#watcher.disconnect();
  }

  /** Begin with the first page, and what is there by now. */
  reload() {
    this.#cursor = null;
    return this.#read(true);
  }

  async #add() {
    const first = this.list.children.length;
    await this.#read(false);
    this.list.children[first]?.querySelector("a").focus();
  }

  async #read(anew) {
    if (this.#ended) return;
    const turn = (this.#turn += 1);
    const query = new URLSearchParams({ limit: String(PAGE) });
    if (this.filter.value) query.set("status", this.filter.value);
    if (this.#cursor) query.set("after", this.#cursor);
    try {
      const { data } = await request("GET", `classifications?${query}`);
      if (turn === this.#turn && !this.#ended) this.#show(data, anew);
    } catch (error) {
      if (turn !== this.#turn) return;
      this.message.textContent = `The pictures cannot be read: ${error.detail || error.message}`;
      announce(this.message.textContent);
    }
  }

  #show({ classifications, next }, anew) {
    if (anew) {
      clear(this.list);
      this.#watcher.disconnect();
      this.#seen.clear();
    }
    const fresh = classifications.filter(({ id }) => !this.#seen.has(id));
    for (const { id } of fresh) this.#seen.add(id);
    this.list.append(...fresh.map((classification) => this.#row(classification)));
    this.#cursor = next;
    this.more.hidden = next === null;
    this.message.textContent = this.list.children.length === 0 ? "There is none." : "";
  }

  #row(classification) {
    const { id, status, label, confidence, review, updated_at: updated } = classification;
    const thumbnail = element("span", { class: "latest-thumbnail", "data-id": id });
    this.#watcher.observe(thumbnail);
    const said = review ? review.label : label && status !== "PENDING" ? `${label}, ${percent(confidence)}` : "";
    return element(
      "li",
      {},
      element(
        "a",
        { href: `#/classifications/${encodeURIComponent(id)}` },
        thumbnail,
        element("span", { class: "latest-name" }, pictureName(classification)),
        element("span", {}, chip(status), " ", badge(classification)),
        element("span", { class: "latest-said" }, said),
        element("span", { class: "small quiet-text" }, when(updated)),
      ),
    );
  }

  #come(entries) {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      this.#watcher.unobserve(target);
      pictureUrl(target.dataset.id).then(
        (url) => {
          const image = element("img", { src: url, alt: "", decoding: "async" });
          image.addEventListener("error", () => target.classList.add("missing"));
          image.addEventListener("error", () => image.remove());
          target.append(image);
        },
        () => target.classList.add("missing"),
      );
    }
  }
}
