const MOST = 10_000;

/** Makes a value once for each text and answers with the same one later; keeps 10,000. */
export function remembered<T extends object>(make: (text: string) => T | undefined): (text: string) => T | undefined {
  const known = new Map<string, T>();
  return (text) => {
    const found = known.get(text);
    if (found !== undefined) return found;
    const made = make(text);
    if (made === undefined) return undefined;
    if (known.size >= MOST) known.clear();
    known.set(text, made);
    return made;
  };
}
