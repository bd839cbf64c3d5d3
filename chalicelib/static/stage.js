/** The picture that is decided on, large, and larger. */

import { clear, element } from "./dom.js";
import { pictureName } from "./format.js";

/** Where a picture stands in its frame. */
export class Stage {
  #item = null;

  constructor() {
    this.frame = element("div", { class: "stage-frame" });
    this.name = element("h2", { class: "stage-name" });
    this.link = element("a", {}, "Why?");
    this.magnifier = element(
      "button",
      { type: "button", class: "quiet", "aria-pressed": "false", "aria-keyshortcuts": "Z", onclick: () => this.zoom() },
      element("kbd", { "aria-hidden": "true" }, "Z"),
      "Zoom",
    );
    this.frame.addEventListener("click", (event) => {
      if (event.target instanceof HTMLImageElement) this.zoom(event);
    });
    this.node = element(
      "div",
      { class: "stage" },
      this.frame,
      element("div", { class: "stage-foot" }, this.name, this.link, this.magnifier),
    );
  }

  /**
   * Show a picture, or say that it cannot be shown.
   *
   * @param {import("./queue.js").Item} item
   */
  async show(item) {
    this.#item = item;
    this.#setZoom(false);
    this.name.textContent = pictureName(item.classification);
    this.link.setAttribute("href", `#/classifications/${encodeURIComponent(item.id)}`);
    this.link.setAttribute("aria-label", `Why? ${pictureName(item.classification)}`);
    const { image, loaded } = item.picture();
    image.alt = `The picture to decide on, ${pictureName(item.classification)}`;
    clear(this.frame);
    this.frame.append(image);
    this.frame.dataset.state = "loading";
    let state = "shown";
    try {
      await loaded;
    } catch (error) {
      state = "missing";
      if (this.#item === item) this.#showMissing(item, image, error);
    }
    if (this.#item === item) this.frame.dataset.state = state;
  }

  /**
   * Larger, or whole again.
   *
   * @param {MouseEvent} [event] where somebody clicked stays in view.
   */
  zoom(event) {
    if (this.frame.dataset.state !== "shown") return;
    const { left, top, width, height } = this.frame.getBoundingClientRect();
    const [x, y] = event ? [(event.clientX - left) / width, (event.clientY - top) / height] : [0.5, 0.5];
    this.#setZoom(!("scrolls" in this.frame.dataset));
    this.frame.scrollTo(
      x * (this.frame.scrollWidth - this.frame.clientWidth),
      y * (this.frame.scrollHeight - this.frame.clientHeight),
    );
  }

  /** Arrow keys move a picture that is larger than its frame, so it takes the focus. */
  #setZoom(on) {
    this.magnifier.setAttribute("aria-pressed", String(on));
    if (on) {
      this.frame.dataset.scrolls = "";
      for (const [name, value] of [
        ["tabindex", "0"],
        ["role", "region"],
        ["aria-label", "The picture, enlarged"],
      ]) {
        this.frame.setAttribute(name, value);
      }
    } else {
      delete this.frame.dataset.scrolls;
      for (const name of ["tabindex", "role", "aria-label"]) this.frame.removeAttribute(name);
    }
  }

  #showMissing(item, image, error) {
    const why = error.detail ?? "It may be gone, or of a kind that browsers do not show, such as TIFF.";
    const retry = () => {
      item.forgetPicture();
      this.show(item);
    };
    const again = element("button", { type: "button", onclick: retry }, "Try again");
    const file =
      image.src &&
      element("a", { class: "button", href: image.src, target: "_blank", rel: "noopener" }, "Open the file");
    clear(this.frame);
    this.frame.append(
      element(
        "div",
        { class: "stage-missing", role: "alert" },
        element("p", {}, element("strong", {}, "This picture cannot be shown.")),
        element("p", {}, why),
        element("p", {}, "You can still decide on it, or skip it."),
        element("p", { class: "buttons" }, again, file || null),
      ),
    );
  }
}
