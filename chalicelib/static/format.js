/** Figures, times and names as people read them. */

import { element } from "./dom.js";

/** Why pictures are held back, by code. */
const REASONS = {
  UNKNOWN_OBJECT: "Perhaps something else",
  LOW_CONFIDENCE: "Not sure which",
};

/** The page is in English; so are its dates. */
const LOCALE = "en-GB";

const STATUS_NAMES = {
  PENDING: "In progress",
  ACCEPTED: "Accepted",
  REVIEW: "Held back",
  REVIEWED: "Reviewed",
  REJECTED: "Rejected",
  FAILED: "Failed",
};

/**
 * A share. What is not quite 0 % or 100 % is never rounded to it.
 *
 * @param {number | null | undefined} share 0 to 1.
 * @returns {string} like "97.3 %"; a dash if there is none.
 */
export function percent(share) {
  if (share === null || share === undefined) return "–";
  const tenths = Math.round(1000 * share);
  if (tenths === 1000 && share < 1) return "> 99.9 %";
  if (tenths === 0 && share > 0) return "< 0.1 %";
  return `${(tenths / 10).toFixed(tenths === 0 || tenths === 1000 ? 0 : 1)} %`;
}

/**
 * A moment: the time, with the day if it is not today, and the whole of it as a hint.
 *
 * @param {string | null | undefined} iso as the API tells it.
 * @returns {HTMLElement} `<time>`; a dash if there is none.
 */
export function when(iso) {
  const moment = new Date(iso ?? NaN);
  if (Number.isNaN(moment.getTime())) return element("span", {}, "–");
  const today = moment.toDateString() === new Date().toDateString();
  const thisYear = moment.getFullYear() === new Date().getFullYear();
  const day = today ? {} : { day: "numeric", month: "short", ...(thisYear ? {} : { year: "numeric" }) };
  const text = moment.toLocaleString(LOCALE, { ...day, hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  return element("time", { datetime: iso, title: iso }, text);
}

/**
 * How long something took.
 *
 * @param {number} milliseconds
 * @returns {string} like "0.42 s", "12 s" or "3 min 5 s".
 */
export function seconds(milliseconds) {
  const whole = milliseconds / 1000;
  if (whole < 9.995) return `${whole.toFixed(2)} s`;
  if (whole < 59.5) return `${Math.round(whole)} s`;
  const rounded = Math.round(whole);
  return `${Math.floor(rounded / 60)} min ${rounded % 60} s`;
}

/**
 * A status in words.
 *
 * @param {string} status as the API tells it.
 * @returns {string}
 */
export function statusName(status) {
  return STATUS_NAMES[status] ?? status;
}

/**
 * A status as a chip: its colour and its word.
 *
 * @param {string} status as the API tells it.
 * @returns {HTMLElement}
 */
export function chip(status) {
  return element("span", { class: "chip", "data-status": status }, statusName(status));
}

/**
 * Why a picture was held back, in few words.
 *
 * @param {string | null} code as the API tells it.
 * @returns {string} empty if there is none.
 */
export function reasonName(code) {
  return code === null ? "" : (REASONS[code] ?? code);
}

/**
 * Why a picture waits for a person, as a badge.
 *
 * @param {{status: string, reason_code: string | null}} classification
 * @returns {HTMLElement | string} empty where it does not wait, and where there is no code.
 */
export function badge({ status, reason_code: code }) {
  return status === "REVIEW" && code ? element("span", { class: "badge" }, reasonName(code)) : "";
}

/**
 * A picture's name: its key, without the folder that all of them are in. What came by this page or the API has none of its
 * own, so a part of its key tells it from others.
 *
 * @param {{s3_key: string}} classification
 * @returns {string}
 */
export function pictureName({ s3_key: key }) {
  const name = key.replace(/^inbox\//, "");
  const upload = /^uploads\/[^/]+\/([0-9a-f]{8})/.exec(name);
  return upload ? `Upload ${upload[1]}` : name;
}
