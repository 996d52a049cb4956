const UNITS: Readonly<Record<string, number>> = {
  "": 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
};

/** What a memory size looks like, for editors: Kubernetes' quantities of bytes. */
export const MEMORY_PATTERN = "^[0-9]{1,15}(?:\\.[0-9]{1,3})?(?:[KMGT]i|[kMGT])?$";

const SHAPE = new RegExp(MEMORY_PATTERN);

/** Reads "256Mi", "1.5Gi", "500M" or a plain number to whole bytes (a fraction of a byte rounds up); undefined if the text is none of that. */
export function parseMemory(text: string): number | undefined {
  if (!SHAPE.test(text)) return undefined;
  const unit = /[a-zA-Z]*$/.exec(text)?.[0] ?? "";
  return Math.ceil(Number(text.slice(0, text.length - unit.length)) * (UNITS[unit] ?? 1));
}

/** Writes bytes as parseMemory reads them, exactly, in the largest binary unit that leaves a whole number. */
export function formatMemory(bytes: number): string {
  for (const unit of ["Ti", "Gi", "Mi", "Ki"]) {
    const factor = UNITS[unit] ?? 1;
    if (bytes >= factor && bytes % factor === 0) return `${bytes / factor}${unit}`;
  }
  return String(bytes);
}

/** What somebody who wrote "256m", "256 MB" or "256mib" most likely means, or undefined. */
export function guessMemory(text: string): string | undefined {
  const match = /^([0-9]{1,12}(?:\.[0-9]{1,3})?)\s*([kmgt])i?(?:b|bytes)?$/i.exec(text.trim());
  return match ? `${match[1]}${(match[2] ?? "").toUpperCase()}i` : undefined;
}
