/** Whether a name fits a pattern; * stands for any text, the empty one and dots included. */
export function patternTest(pattern: string): (name: string) => boolean {
  const [first = "", ...rest] = pattern.split(/\*+/);
  const last = rest.pop();
  return (name) => {
    if (last === undefined) return name === first;
    if (name.length < first.length + last.length) return false;
    if (!name.startsWith(first) || !name.endsWith(last)) return false;
    let at = first.length;
    for (const part of rest) {
      const found = name.indexOf(part, at);
      if (found < 0) return false;
      at = found + part.length;
    }
    return at <= name.length - last.length;
  };
}

/** Whether a pattern names one thing only. */
export function isExact(pattern: string): boolean {
  return !pattern.includes("*");
}
