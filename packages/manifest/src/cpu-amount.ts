/** What an amount of processor time looks like, for editors: cores, or thousandths of a core with an m. */
export const CPU_PATTERN = "^(?:[0-9]{1,6}(?:\\.[0-9]{1,3})?|[0-9]{1,9}m)$";

const SHAPE = new RegExp(CPU_PATTERN);

/** Reads "0.5", "2" or "500m" to whole millicores; undefined if the text is none of that. */
export function parseCpu(text: string): number | undefined {
  if (!SHAPE.test(text)) return undefined;
  return text.endsWith("m") ? Number(text.slice(0, -1)) : Math.round(Number(text) * 1000);
}

/** Writes millicores as cores: "0.5". */
export function formatCpu(millicores: number): string {
  return String(millicores / 1000);
}
