/** The REST API. Every call of this page to the server goes through here. */

import { Problem, reach } from "./problem.js";
import { token, tokenOtherThan } from "./sign_in.js";

export { Problem };

/** A picture's address is asked for again this many milliseconds before it runs out. */
const MARGIN = 60_000;

/**
 * Ask the server.
 *
 * @param {string} method
 * @param {string} path below the stage, like "classifications/1f".
 * @param {object} [options]
 * @param {any} [options.json] what to send as JSON.
 * @param {BodyInit} [options.body] what to send as it is.
 * @param {Record<string, string>} [options.headers]
 * @param {AbortSignal} [options.signal]
 * @returns {Promise<{status: number, headers: Headers, data: any}>} `data` is null if the answer has no body, as with 304.
 * @throws {Problem} the server refuses, or cannot be reached.
 * @throws {DOMException} `signal` has ended it.
 */
export async function request(method, path, { json, body, headers = {}, signal } = {}) {
  const send = (proof) => {
    const all = new Headers({ Accept: "application/json", ...headers });
    if (json !== undefined) all.set("Content-Type", "application/json");
    if (proof) all.set("Authorization", proof);
    const sent = json === undefined ? body : JSON.stringify(json);
    return reach(new URL(path, document.baseURI), { method, headers: all, body: sent, signal });
  };
  const proof = await token();
  let answer = await send(proof);
  const other = answer.status === 401 && (await tokenOtherThan(proof));
  if (other) answer = await send(other);
  const data = await parsed(answer);
  if (!answer.ok && answer.status !== 304) throw refused(answer, data);
  return { status: answer.status, headers: answer.headers, data };
}

const pictureUrls = new Map();

/**
 * Where a picture can be read for some minutes. It is kept, and asked for again before it runs out.
 *
 * @param {string} id of its classification.
 * @returns {Promise<string>}
 * @throws {Problem}
 */
export function pictureUrl(id) {
  const kept = pictureUrls.get(id);
  if (kept && Date.now() < kept.until) return kept.url;
  const asked = { until: Infinity, url: null };
  asked.url = request("GET", `classifications/${encodeURIComponent(id)}/picture`, { headers: { Accept: "application/json" } }).then(
    ({ data }) => {
      asked.until = Date.parse(data.expires_at) - MARGIN;
      return data.url;
    },
  );
  asked.url.catch(() => pictureUrls.delete(id));
  pictureUrls.set(id, asked);
  return asked.url;
}

/**
 * What the server says about when to ask again.
 *
 * @param {Headers} headers
 * @returns {number | null} milliseconds.
 */
export function retryAfter(headers) {
  const said = headers.get("Retry-After");
  if (!said) return null;
  const wait = /^\d+$/.test(said) ? 1000 * Number(said) : Date.parse(said) - Date.now();
  return Number.isNaN(wait) ? null : Math.max(0, wait);
}

async function parsed(answer) {
  if (!/[/+]json\b/.test(answer.headers.get("Content-Type") ?? "")) return null;
  try {
    return await answer.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    return null;
  }
}

function refused(answer, data) {
  return new Problem({
    title: data?.title ?? "The server refuses",
    detail: data?.detail ?? data?.message ?? `The server answered ${answer.status} ${answer.statusText}`.trim() + ".",
    status: answer.status,
    retryAfter: retryAfter(answer.headers),
  });
}
