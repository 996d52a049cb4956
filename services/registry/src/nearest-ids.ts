const MOST_EDITS = 3;
const MOST_NAMES = 3;

/** Edits from one text to another (Levenshtein); more than MOST_EDITS count as one more than that. */
function editsBetween(from: string, to: string): number {
  if (Math.abs(from.length - to.length) > MOST_EDITS) return MOST_EDITS + 1;
  let row = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (let line = 1; line <= from.length; line += 1) {
    const next = [line];
    for (let column = 1; column <= to.length; column += 1) {
      const replaced = (row[column - 1] ?? 0) + (from[line - 1] === to[column - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[column] ?? 0) + 1, (next[column - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[to.length] ?? 0;
}

const lastPart = (serviceId: string) => serviceId.slice(serviceId.lastIndexOf(".") + 1);

/** The at most 3 ids that somebody who wrote `serviceId` may have meant: 3 edits away, or the same last part. */
export function nearestIds(serviceId: string, known: Iterable<string>): string[] {
  const near: { id: string; edits: number }[] = [];
  for (const id of known) {
    const edits = editsBetween(serviceId, id);
    if (edits <= MOST_EDITS) near.push({ id, edits });
    else if (lastPart(id) === lastPart(serviceId)) near.push({ id, edits: MOST_EDITS + 1 });
  }
  near.sort((a, b) => a.edits - b.edits || (a.id < b.id ? -1 : 1));
  return near.slice(0, MOST_NAMES).map(({ id }) => id);
}
