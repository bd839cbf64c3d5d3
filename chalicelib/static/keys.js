/** Keys that decide: which, when they count, and what explains them. */

import { clear, element } from "./dom.js";

/** Keys that mean something else than a label. */
const TAKEN = ["n", "s", "u", "w", "z"];

/** Where it is kept that somebody wants no single keys. */
const STORAGE = "review-keys";

/** What the keys do, besides deciding. */
const OTHERS = [
  [["S", "→"], "skip; it comes again at the end"],
  [["U"], "undo, also several times"],
  [["W"], "write a note; Escape leaves it"],
  [["Z"], "zoom in and out"],
  [["?"], "show or hide this"],
];

/**
 * The keys for each label: its number, and its first letter where no other label and no other key has it.
 *
 * @param {string[]} labels in their order, "neither" last.
 * @returns {Map<string, string[]>} lower case; never empty for the first nine.
 */
export function keysOf(labels) {
  const letters = labels.map((label) => label[0]?.toLowerCase());
  return new Map(
    labels.map((label, place) => {
      if (label === "neither") return [label, ["n"]];
      const letter = letters[place];
      const unique = letters.filter((other) => other === letter).length === 1 && !TAKEN.includes(letter);
      return [label, [...(place < 9 ? [String(place + 1)] : []), ...(unique ? [letter] : [])]];
    }),
  );
}

/**
 * Listen to keys, but not while somebody types, and not to those that the browser uses.
 *
 * @param {object} options
 * @param {AbortSignal} options.signal ends it.
 * @param {() => boolean} options.ready whether keys count now.
 * @param {() => string[]} options.labels what can be decided now.
 * @param {(label: string) => void} options.decide
 * @param {Object<string, () => void>} options.keys what the other keys do.
 */
export function listen({ signal, ready, labels, decide, keys }) {
  const pressed = (event) => {
    const { key, target } = event;
    if (event.defaultPrevented || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    if (!ready() || isTyping(target) || (key === "ArrowRight" && scrolls(target))) return;
    const name = key.length === 1 ? key.toLowerCase() : key;
    const chosen = [...keysOf(labels())].find(([, names]) => names.includes(name));
    if (!chosen && !Object.hasOwn(keys, name)) return;
    event.preventDefault();
    if (chosen) decide(chosen[0]);
    else keys[name]();
  };
  document.addEventListener("keydown", pressed, { signal });
}

/** What explains the keys, and can switch them off (WCAG 2.1.4). */
export class Legend {
  constructor() {
    this.list = element("dl", {});
    this.box = element("input", {
      type: "checkbox",
      id: "review-keys-on",
      checked: stored() !== "off",
      onchange: () => store(this.box.checked ? "on" : "off"),
    });
    this.node = element(
      "details",
      { class: "review-keys" },
      element("summary", {}, "Keys"),
      this.list,
      element("p", {}, this.box, element("label", { for: "review-keys-on" }, " These keys work")),
    );
  }

  /** Whether keys count. */
  get on() {
    return this.box.checked;
  }

  /** Show or hide it. */
  toggle() {
    this.node.open = !this.node.open;
  }

  /**
   * Say what the keys do.
   *
   * @param {Map<string, string[]>} keys of the labels.
   */
  describe(keys) {
    const labels = [...keys].map(([label, names]) => [names.map((name) => name.toUpperCase()), label]);
    clear(this.list);
    for (const [names, text] of [...labels, ...OTHERS]) {
      const marks = names.flatMap((name) => [" ", element("kbd", {}, name)]).slice(1);
      this.list.append(element("div", {}, element("dt", {}, ...marks), element("dd", {}, text)));
    }
  }
}

function isTyping(target) {
  return (
    target instanceof Element &&
    target.closest("input:not([type=checkbox]), textarea, select, [contenteditable]") !== null
  );
}

function scrolls(target) {
  return target instanceof Element && target.closest("[data-scrolls]") !== null;
}

function stored() {
  try {
    return localStorage.getItem(STORAGE);
  } catch {
    return null;
  }
}

function store(value) {
  try {
    localStorage.setItem(STORAGE, value);
  } catch {
    // No storage: it holds as long as the page is open.
  }
}
