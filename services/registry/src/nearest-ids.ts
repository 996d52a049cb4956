const MOST_EDITS = 3;
const MOST_NAMES = 3;

/** Edits from one text to another (Levenshtein). */
function editsBetween(from: string, to: string): number {
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

/**
 * Whether a text's letters alone rule out that it is within MOST_EDITS of `name`: an edit supplies one missing letter or
 * takes one surplus letter. It spares nearly every name of ten thousand the table of edits.
 */
function letterFilter(name: string): (text: string) => boolean {
  const own = new Int16Array(128);
  for (let index = 0; index < name.length; index += 1) {
    const letter = name.charCodeAt(index) & 127;
    own[letter] = (own[letter] ?? 0) + 1;
  }
  const left = new Int16Array(128);
  return (text) => {
    if (Math.abs(text.length - name.length) > MOST_EDITS) return false;
    left.set(own);
    let surplus = 0;
    for (let index = 0; index < text.length; index += 1) {
      const letter = text.charCodeAt(index) & 127;
      const remaining = (left[letter] ?? 0) - 1;
      left[letter] = remaining;
      if (remaining < 0) surplus += 1;
    }
    const missing = name.length - (text.length - surplus);
    return Math.max(surplus, missing) <= MOST_EDITS;
  };
}

const lastPart = (serviceId: string) => serviceId.slice(serviceId.lastIndexOf(".") + 1);

/** The at most 3 ids that somebody who wrote `serviceId` may have meant: 3 edits away, or the same last part. */
export function nearestIds(serviceId: string, known: Iterable<string>): string[] {
  const mayBeNear = letterFilter(serviceId);
  const ending = lastPart(serviceId);
  const near: { id: string; edits: number }[] = [];
  for (const id of known) {
    const edits = mayBeNear(id) ? editsBetween(serviceId, id) : MOST_EDITS + 1;
    if (edits <= MOST_EDITS) near.push({ id, edits });
    else if (lastPart(id) === ending) near.push({ id, edits: MOST_EDITS + 1 });
  }
  near.sort((a, b) => a.edits - b.edits || (a.id < b.id ? -1 : 1));
  return near.slice(0, MOST_NAMES).map(({ id }) => id);
}
