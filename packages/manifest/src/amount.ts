import { CPU_PATTERN, formatCpu, parseCpu } from "./cpu-amount.ts";
import { DURATION_PATTERN, formatDuration, parseDuration } from "./duration.ts";
import { formatMemory, guessMemory, MEMORY_PATTERN, parseMemory } from "./memory-size.ts";
import type { AmountNode, Surge } from "./schema-node.ts";

type Kind = AmountNode["kind"];

interface Notation {
  parse(text: string): number | undefined;
  format(value: number): string;
  guess(text: string): string | undefined;
  pattern: string;
}

const NOTATIONS: Record<Kind, Notation> = {
  duration: { parse: parseDuration, format: formatDuration, guess: guessDuration, pattern: DURATION_PATTERN },
  memory: { parse: parseMemory, format: formatMemory, guess: guessMemoryOrUnit, pattern: MEMORY_PATTERN },
  cpu: { parse: parseCpu, format: formatCpu, guess: () => undefined, pattern: CPU_PATTERN },
};

function guessDuration(text: string): string | undefined {
  const match = /^(\d{1,9})\s*(|ms|s|m|h|sec(?:ond)?s?|min(?:ute)?s?|hours?|d|days?)$/i.exec(text.trim());
  if (!match) return undefined;
  const [, amount, unit = ""] = match;
  if (/^d/i.test(unit)) return `${Number(amount) * 24}h`;
  return `${amount}${unit.toLowerCase() === "ms" ? "ms" : (unit[0] ?? "s").toLowerCase()}`;
}

function guessMemoryOrUnit(text: string): string | undefined {
  return /^\d{1,6}$/.test(text) ? `${text}Mi` : guessMemory(text);
}

/** Reads an amount as manifests write it; undefined if it is not written so. */
export const parseAmount = (kind: Kind, text: string): number | undefined => NOTATIONS[kind].parse(text);

/** Writes an amount as manifests write it. */
export const formatAmount = (kind: Kind, value: number): string => NOTATIONS[kind].format(value);

/** What an unreadable or tiny amount most likely means, or undefined. */
export const guessAmount = (kind: Kind, text: string): string | undefined => NOTATIONS[kind].guess(text);

/** What the amount looks like, for editors. */
export const amountPattern = (kind: Kind): string => NOTATIONS[kind].pattern;

/** Reads "25%" or "2"; the text must be one of both. */
export function parseShare(text: string): Surge {
  return text.endsWith("%") ? { percent: Number(text.slice(0, -1)) } : { replicas: Number(text) };
}

/** Writes a surge as manifests write it: "25%" or "2". */
export function formatShare(surge: Surge): string {
  return "percent" in surge ? `${surge.percent}%` : String(surge.replicas);
}

/** How many replicas a surge allows beyond the wanted number: a share is rounded up, at least 1. */
export function surgeReplicas(surge: Surge, wanted: number): number {
  return "percent" in surge ? Math.max(1, Math.ceil((wanted * surge.percent) / 100)) : surge.replicas;
}
