/** A picture in the list, kept up to date. */

import { diagram, told } from "./diagram.js";
import { element, part } from "./dom.js";
import { chip, percent, reasonName } from "./format.js";

/**
 * Make the card of a picture.
 *
 * @param {import("./picture.js").Picture} picture
 * @param {object} actions
 * @param {() => void} actions.send sends it again after it was refused.
 * @param {() => void} actions.runAgain lets it be classified once more.
 * @returns {{node: HTMLElement, update: () => void}} `update` shows the picture as it is now.
 */
export function card(picture, actions) {
  const preview = element("div", { class: "preview" });
  const state = element("span", { class: "state-chip" });
  const way = element("div", {});
  const words = element("div", { class: "words" });
  const links = element("div", { class: "buttons" });
  const heading = element("h3", { tabindex: "-1", title: picture.name }, picture.name);
  const node = element(
    "li",
    { class: "card picture" },
    preview,
    element("div", { class: "picture-head" }, heading, state),
    way,
    words,
    links,
  );

  const focus = () => heading.focus();
  const parts = { preview: part(preview), state: part(state), way: part(way), words: part(words), links: part(links, focus) };
  const update = () => {
    const refused = picture.phase === "refused";
    const lines = wordsOf(picture);
    parts.preview(String(picture.preview), () => [shown(picture)]);
    parts.state(stateOf(picture).join(), () => [stateChip(picture)]);
    parts.way(refused ? "" : told(picture.classification), () => [!refused && diagram(picture.classification)]);
    parts.words(JSON.stringify(lines), () => lines.map(({ name, text }) => element("p", { class: name }, text)));
    parts.links(`${picture.status} ${picture.classification?.id}`, () => actionsOf(picture, actions));
  };
  update();
  return { node, update };
}

function shown(picture) {
  if (picture.preview) return element("img", { src: picture.preview, alt: "" });
  const ending = /\.([^.]{1,5})$/.exec(picture.name)?.[1] ?? "?";
  return element("span", { class: "no-preview", "aria-hidden": "true" }, ending.toUpperCase());
}

/** The colour and the word of the chip. */
function stateOf(picture) {
  if (picture.phase === "waiting") return ["PENDING", "Waiting"];
  if (picture.phase === "sending") return ["PENDING", "Uploading"];
  if (picture.phase === "refused") return ["REJECTED", "Not sent"];
  return [picture.status];
}

function stateChip(picture) {
  const [status, word] = stateOf(picture);
  return word ? element("span", { class: "chip", "data-status": status }, word) : chip(status);
}

function wordsOf(picture) {
  const { classification: it, problem, trying } = picture;
  const lines = [];
  if (it?.label) lines.push({ name: "decision", text: decisionOf(it) });
  if (it?.reason) lines.push({ name: "reason", text: it.reason });
  if (it?.status === "ACCEPTED" && it.threshold !== null) {
    lines.push({ name: "reason", text: `${percent(it.threshold)} was needed.` });
  }
  if (problem) {
    lines.push({ name: "trouble", text: `${problem.detail ?? problem.message}${trying ? " It is tried again by itself." : ""}` });
  }
  return lines;
}

function decisionOf({ status, review, label, confidence, reason_code: code }) {
  if (review) return `${review.label}, decided by a person`;
  const sure = `${label}, ${percent(confidence)} sure`;
  if (status !== "REVIEW") return sure;
  return reasonName(code) || `Perhaps ${sure}`;
}

function actionsOf(picture, { send, runAgain }) {
  const button = (text, onclick) =>
    element("button", { type: "button", "aria-label": `${text}: ${picture.name}`, onclick }, text);
  const { id } = picture.classification ?? {};
  const why = { class: "button quiet", href: `#/classifications/${id}`, "aria-label": `Why? ${picture.name}` };
  return [
    id && element("a", why, "Why?"),
    picture.status === "FAILED" && button("Run again", runAgain),
    picture.phase === "refused" && picture.problem?.passes && button("Send again", send),
  ];
}
