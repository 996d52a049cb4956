/** Numbers from `start` to `end`, both included. */
export interface NumberRange {
  readonly start: number;
  readonly end: number;
}

/** A range as protobuf's source writes it. */
export function rangeText({ start, end }: NumberRange): string {
  return start === end ? String(start) : `${start} to ${end}`;
}

/** Whether one of the ranges holds the number. */
export function holds(ranges: readonly NumberRange[], number: number): boolean {
  return ranges.some(({ start, end }) => start <= number && number <= end);
}

/** The parts of a range that `cover` leaves open. */
export function uncovered(range: NumberRange, cover: readonly NumberRange[]): NumberRange[] {
  const open: NumberRange[] = [];
  let { start } = range;
  for (const { start: from, end: to } of [...cover].sort((a, b) => a.start - b.start)) {
    if (to < start) continue;
    if (from > range.end) break;
    if (from > start) open.push({ start, end: from - 1 });
    start = to + 1;
  }
  if (start <= range.end) open.push({ start, end: range.end });
  return open;
}
