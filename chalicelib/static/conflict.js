/** The question what shall stand, where a decision met another one. */

import { element } from "./dom.js";
import { percent, pictureName, statusName, when } from "./format.js";

/** Milliseconds in which a click, a tap or Escape was meant for what was there before. */
const GRACE = 400;

/**
 * Ask what shall stand. Escape chooses what changes nothing.
 *
 * @param {HTMLElement} root where the dialog goes while it is open.
 * @param {import("./decisions.js").Decision} decision with `theirs` in a conflict, with `problem` where it was refused.
 * @param {{image: HTMLImageElement, loaded: Promise<void>}} picture of the classification.
 * @returns {Promise<"keep" | "overrule" | "again">} keep: what stands, stands. again: the picture is to be looked at
 *   once more.
 */
export function ask(root, decision, { image, loaded }) {
  const { title, sentences, choices } = question(decision);
  const heading = element("h2", { id: "conflict-title", tabindex: "-1" }, title);
  const buttons = choices.map(({ value, text, main }) =>
    element(
      "button",
      { type: "button", class: main && "primary", disabled: true, onclick: () => dialog.close(value) },
      text,
    ),
  );
  const copy = element("img", { alt: "" });
  loaded.then(() => copy.setAttribute("src", image.src)).catch(() => copy.remove());
  const dialog = element(
    "dialog",
    { class: "conflict", "aria-labelledby": "conflict-title" },
    heading,
    element("div", { class: "conflict-picture" }, copy),
    ...sentences.map((sentence) => element("p", {}, sentence)),
    element("div", { class: "conflict-choices buttons" }, buttons),
  );
  root.append(dialog);
  dialog.showModal();
  heading.focus();
  window.setTimeout(() => buttons.forEach((button) => button.removeAttribute("disabled")), GRACE);
  dialog.addEventListener("cancel", (event) => {
    if (buttons[0].disabled) event.preventDefault();
  });
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue || choices[0].value);
    });
  });
}

/** What to ask; the first choice is the one that changes nothing. */
function question({ classification, label, theirs, problem, state }) {
  const name = pictureName(classification);
  const ok = { value: "keep", text: "All right", main: true };
  const again = { value: "again", text: "Look at it again", main: true };
  if (state === "refused") {
    return {
      title: "Your decision could not be saved",
      sentences: [`${name}, ${label}: ${problem.detail || problem.message}`],
      choices: problem.status === 404 ? [ok] : [again],
    };
  }
  const now = theirs.classification;
  const mine = `You said ${label}.`;
  if (now.status === "REVIEW") {
    return {
      title: "This picture has changed meanwhile",
      sentences: [`${name} was run again since you saw it, and was held back again. ${mine}`],
      choices: [again],
    };
  }
  if (now.status === "REVIEWED") {
    const { review } = now;
    return {
      title: "Somebody else has decided this picture",
      sentences: [
        [name, " is ", element("strong", {}, review.label), `, says ${review.by}, `, when(review.at), "."],
        ...(review.note ? [`Their note: ${review.note}`] : []),
        review.label === label ? "You said the same." : mine,
      ],
      choices: [
        { value: "keep", text: `Keep ${review.label}`, main: true },
        { value: "overrule", text: `Decide ${label} anyway`, main: false },
      ],
    };
  }
  const outcome = now.label ? `: ${now.label}, ${percent(now.confidence)}` : "";
  return {
    title: "This picture no longer waits for a decision",
    sentences: [`${name} was run again. Now it stands as ${statusName(now.status)}${outcome}. ${mine}`],
    choices: [ok],
  };
}
