/** How a picture on this device becomes a classification. */

import { request } from "./api.js";
import { Problem, reach } from "./problem.js";

/** Bytes that the API takes as the body of a request; API Gateway and Lambda let no more through. */
const MAX_BODY = 4_500_000;

/** Bytes of a picture that is taken at all. */
const MAX_BYTES = 25 * 1024 * 1024;

/**
 * A picture on its way. What has been done stays done: if it breaks off, `send` goes on from there, and however often it
 * is sent, it is one picture.
 */
export class Upload {
  #key = crypto.randomUUID();
  #place = null;
  #stored = false;

  /** @param {File} file */
  constructor(file) {
    this.file = file;
  }

  /**
   * Look whether there is any use in sending it.
   *
   * @throws {Problem} it is no picture, too large, or cannot be read.
   */
  async check() {
    const { name, size, type } = this.file;
    if (type && !type.startsWith("image/")) {
      throw refusal("Not a picture", `${name} is no picture but ${type}. Choose a JPEG, PNG, WebP, GIF or TIFF picture.`);
    }
    if (size > MAX_BYTES) {
      const megabytes = (size / 1024 / 1024).toFixed(1);
      throw refusal("Too large", `${name} has ${megabytes} MiB, and 25 MiB are taken at most. Send a smaller copy.`);
    }
    try {
      await this.file.slice(0, 1).arrayBuffer();
    } catch {
      throw refusal("Cannot be read", `${name} cannot be read any more. Choose it again.`);
    }
    if (size === 0) throw refusal("Empty", `${name} has no content. Choose another file.`);
  }

  /**
   * Send it.
   *
   * @returns {Promise<{data: object, headers: Headers}>} the classification, which may not have ended.
   * @throws {Problem} if it `passes`, send it again.
   */
  async send() {
    if (this.file.size <= MAX_BODY) {
      const headers = { "Content-Type": this.#type, "Idempotency-Key": this.#key };
      return request("POST", "classifications", { body: this.file, headers });
    }
    await this.#store();
    return request("POST", "classifications", { json: { key: this.#place.key } });
  }

  get #type() {
    return this.file.type || "application/octet-stream";
  }

  /** Past the API, right into the bucket. */
  async #store() {
    if (this.#stored) return;
    if (!this.#place || Date.parse(this.#place.expires_at) < Date.now()) {
      this.#place = (await request("POST", "uploads", { json: { content_type: this.#type } })).data;
    }
    const form = new FormData();
    for (const [name, value] of Object.entries(this.#place.fields)) form.append(name, value);
    form.append("file", this.file);
    const answer = await reach(this.#place.url, { method: "POST", body: form });
    if (!answer.ok) {
      this.#place = null;
      throw refusal("Not stored", `The storage did not take ${this.file.name}. Try again.`, answer.status);
    }
    this.#stored = true;
  }
}

function refusal(title, detail, status = 422) {
  return new Problem({ title, detail, status });
}
