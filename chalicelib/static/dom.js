/** What every view builds its part of the page with. Text never becomes markup. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an element of the page.
 *
 * @param {string} tag
 * @param {Record<string, any>} [attributes] a function is a listener, like `onclick`; true is an attribute without a
 *   value; false, null and undefined leave it out; all else becomes text.
 * @param {...(Node | string | number | null | undefined | false | any[])} children text stays text; what is null, undefined
 *   or false is left out.
 * @returns {HTMLElement}
 */
export function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/**
 * The same for a part of a drawing: `svg("rect", { width: 10 })`.
 *
 * @param {string} tag
 * @param {Record<string, any>} [attributes]
 * @param {...any} children
 * @returns {SVGElement}
 */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

/**
 * Take everything out of an element.
 *
 * @param {Element} node
 */
export function clear(node) {
  node.replaceChildren();
}

/**
 * Keep a part of the page up to date without touching it in vain: animations go on, and the focus stays where it is.
 *
 * @param {Element} holder
 * @param {(node: Element) => void} [lost] called when the part is made anew while the focus is in it.
 * @returns {(key: string, content: () => (Node | null | undefined | false)[]) => void} shows `content` in `holder`, if `key` is
 *   another than last time.
 */
export function part(holder, lost = () => {}) {
  let shown = null;
  return (key, content) => {
    if (key === shown) return;
    shown = key;
    const focused = holder.contains(document.activeElement);
    holder.replaceChildren(...content().filter(Boolean));
    if (focused) lost(holder);
  };
}

let announcing = 0;

/**
 * Let screen readers say something. Of what is announced within a tenth of a second, only the last is said.
 *
 * @param {string} text
 */
export function announce(text) {
  const region = document.getElementById("status");
  region.textContent = "";
  window.clearTimeout(announcing);
  announcing = window.setTimeout(() => (region.textContent = text), 100);
}

/**
 * What went wrong, as a box to show.
 *
 * @param {Error & {title?: string, detail?: string}} error a Problem, or any other error.
 * @param {...(Node | null)} actions buttons or links that help.
 * @returns {HTMLElement}
 */
export function problemBox(error, ...actions) {
  return element(
    "div",
    { class: "problem", role: "alert" },
    element("strong", {}, error.title ?? "Something went wrong"),
    element("p", {}, error.detail ?? error.message),
    ...actions,
  );
}

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name.replace(/^on/, ""), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, String(value));
  }
  const present = (child) => child !== null && child !== undefined && child !== false;
  made.append(...children.flat(Infinity).filter(present).map((child) => (child instanceof Node ? child : String(child))));
  return made;
}
