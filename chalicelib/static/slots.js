/** Not everything at once. */

/** Runs at most so many tasks at a time; the others wait for their turn. */
export class Slots {
  #free;
  #waiting = [];

  /** @param {number} count how many may run. */
  constructor(count) {
    this.#free = count;
  }

  /**
   * Run a task when it is its turn.
   *
   * @template T
   * @param {() => Promise<T>} task
   * @returns {Promise<T>} what the task gives.
   */
  async run(task) {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise((begin) => this.#waiting.push(begin));
    try {
      return await task();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free += 1;
    }
  }
}

/**
 * Wait.
 *
 * @param {number} milliseconds
 * @param {AbortSignal} [signal]
 * @returns {Promise<void>}
 * @throws {DOMException} `signal` has ended it.
 */
export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const stop = () => {
      window.clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = window.setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", stop, { once: true });
  });
}
