interface Span {
  from: number;
  to: number;
  value: number;
}

/** The average of a value over the last so many milliseconds; each value holds from the sample before it to its own. */
export class LoadWindow {
  readonly #lengthMs: number;
  readonly #spans: Span[] = [];

  constructor(lengthMs: number) {
    this.#lengthMs = lengthMs;
  }

  /** Takes what held between two moments; of spans that end before others begin, in order. */
  add(span: Span): void {
    if (span.to <= span.from) return;
    this.#spans.push(span);
    const begin = span.to - this.#lengthMs;
    while ((this.#spans[0]?.to ?? begin + 1) <= begin) this.#spans.shift();
  }

  /** The average by time; 0 if nothing was seen. */
  average(): number {
    const begin = (this.#spans.at(-1)?.to ?? 0) - this.#lengthMs;
    let sum = 0;
    let time = 0;
    for (const { from, to, value } of this.#spans) {
      const part = to - Math.max(from, begin);
      sum += part * value;
      time += part;
    }
    return time > 0 ? sum / time : 0;
  }
}
