/** What goes wrong between this page and servers, in words for people. */

/** What a person is told, in the words of the API; https://www.rfc-editor.org/rfc/rfc9457. */
export class Problem extends Error {
  /**
   * @param {object} what
   * @param {string} what.title short.
   * @param {string} what.detail a sentence.
   * @param {number} what.status HTTP's; 0 if there was no answer at all.
   * @param {number | null} [what.retryAfter] milliseconds after which to try again, if the server said so.
   */
  constructor({ title, detail, status, retryAfter = null }) {
    super(detail);
    this.name = "Problem";
    this.title = title;
    this.detail = detail;
    this.status = status;
    this.retryAfter = retryAfter;
  }

  /** Whether the same may well work a little later. */
  get passes() {
    return [0, 408, 429, 500, 502, 503, 504].includes(this.status);
  }
}

/**
 * Ask any server.
 *
 * @param {URL | string} url
 * @param {RequestInit} options
 * @returns {Promise<Response>}
 * @throws {Problem} it cannot be reached.
 * @throws {DOMException} the signal of `options` has ended it.
 */
export async function reach(url, options) {
  try {
    return await fetch(url, { credentials: "omit", ...options });
  } catch (error) {
    if (error.name === "AbortError" || error.name === "TimeoutError") throw error;
    throw new Problem({
      title: "No connection",
      detail: navigator.onLine
        ? "The server cannot be reached. Try again in a moment."
        : "This device is offline. Try again once it has a connection.",
      status: 0,
    });
  }
}
