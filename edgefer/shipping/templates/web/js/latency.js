/** Times of the last runs, of which the median is shown. */

const MOST_TIMES = 100;

export class Times {
  #values = [];

  /** Adds one, in milliseconds. */
  add(milliseconds) {
    this.#values = [...this.#values.slice(1 - MOST_TIMES), milliseconds];
  }

  get count() {
    return this.#values.length;
  }

  get last() {
    return this.#values.at(-1);
  }

  get median() {
    const sorted = this.#values.toSorted((one, other) => one - other);
    const middle = sorted.length / 2;
    return (sorted[Math.ceil(middle) - 1] + sorted[Math.floor(middle)]) / 2;
  }
}
