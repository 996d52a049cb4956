const LONGEST = 64;

/** Edits from one name to the other: insert, delete, replace, or swap of neighbours (optimal string alignment distance). */
function distance(from: string, to: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let row = 1; row <= from.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= to.length; column += 1) {
      const same = from[row - 1] === to[column - 1] ? 0 : 1;
      let best = Math.min((last[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1, (last[column - 1] ?? 0) + same);
      const swapped = row > 1 && column > 1 && from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1];
      if (swapped) best = Math.min(best, (beforeLast[column - 2] ?? 0) + 1);
      current.push(best);
    }
    beforeLast = last;
    last = current;
  }
  return last[to.length] ?? 0;
}

const plain = (name: string) => name.toLowerCase().replace(/[-_ ]/g, "");

/** The candidate that somebody who wrote `name` most likely meant; undefined if none is within a third of its length. */
export function nearestName(name: string, candidates: Iterable<string>): string | undefined {
  if (name.length > LONGEST) return undefined;
  const wanted = plain(name);
  let best: { candidate: string; edits: number } | undefined;
  for (const candidate of candidates) {
    const offered = plain(candidate);
    const edits = distance(wanted, offered);
    const allowed = Math.max(1, Math.floor(Math.max(wanted.length, offered.length) / 3));
    const closer = edits < (best?.edits ?? Infinity);
    if (closer && edits <= allowed && edits < Math.min(wanted.length, offered.length)) best = { candidate, edits };
  }
  return best?.candidate;
}
