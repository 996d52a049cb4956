import { formatAmount, formatShare, guessAmount, parseAmount } from "./amount.ts";
import { describedValue } from "./described-value.ts";
import { interpolate, misplacedReference } from "./environment-reference.ts";
import { nearestName } from "./nearest-name.ts";
import { quoted } from "./quoted.ts";
import type { Reading } from "./reading.ts";
import type { AmountNode, ChoiceNode, FlagNode, ShareNode, Surge, TextNode, WholeNode } from "./schema-node.ts";
import { SecretText } from "./secret-reference.ts";
import type { YamlNode } from "./yaml-source.ts";

/** A scalar read, or what is wrong with it. */
export type ScalarReading = { readonly value: unknown } | { readonly problems: readonly string[] };

type ScalarNode = TextNode | WholeNode | FlagNode | AmountNode | ShareNode | ChoiceNode;

/** Reads one scalar as its schema node asks. */
export function readScalar(node: ScalarNode, yaml: YamlNode, reading: Reading): ScalarReading {
  if (yaml.kind === "scalar" && yaml.value === null) return problem("There is no value. Write one, or remove the key");
  switch (node.kind) {
    case "text":
      return readText(node, yaml, reading);
    case "whole":
      return readWhole(node, yaml);
    case "flag":
      return readFlag(node, yaml);
    case "share":
      return readShare(node, yaml);
    case "choice":
      return readChoice(node, yaml);
    default:
      return readAmount(node, yaml);
  }
}

const problem = (...problems: string[]) => ({ problems });

/** The value as somebody wrote it, if it is a scalar. */
const written = (yaml: YamlNode) =>
  yaml.kind === "scalar" ? (typeof yaml.value === "string" ? yaml.value : yaml.source) : undefined;

function readText(node: TextNode, yaml: YamlNode, reading: Reading): ScalarReading {
  if (yaml.kind !== "scalar") return problem(`A text is needed here, not ${describedValue(yaml)}`);
  const text = yaml.value;
  if (typeof text !== "string") {
    return problem(
      `A text is needed here, and YAML reads this as ${describedValue(yaml)}. Write it in quotes: "${yaml.source}"`,
    );
  }
  if (text.trim() === "" && !node.mayBeEmpty) return problem("The text is empty. Write one, or remove the key");
  if (node.interpolated) return readInterpolated(node, text, reading);
  const misplaced = misplacedReference(text);
  if (misplaced) return problem(misplaced);
  const tooLong = lengthProblem(node, text);
  const outcome = node.read?.(text) ?? { value: text };
  if ("problem" in outcome) return problem(`${quoted(text)} ${outcome.problem}`);
  return tooLong ? problem(tooLong) : outcome;
}

function readInterpolated(node: TextNode, text: string, reading: Reading): ScalarReading {
  const { value, pieces, problems } = interpolate(text, reading.resolveEnv);
  const tooLong = lengthProblem(node, value);
  const all = tooLong ? [...problems, tooLong] : problems;
  if (all.length > 0) return { problems: all };
  return { value: pieces.some((piece) => "secret" in piece) ? new SecretText(pieces) : value };
}

function lengthProblem(node: TextNode, text: string): string | undefined {
  if (text.length <= node.maxLength) return undefined;
  return `The text has ${text.length} characters, and ${node.maxLength} are the most. Shorten it`;
}

function readWhole(node: WholeNode, yaml: YamlNode): ScalarReading {
  const limits = `${node.min} to ${node.max}`;
  const value = yaml.kind === "scalar" ? yaml.value : undefined;
  if (typeof value === "string" && /^\d+$/.test(value)) {
    return problem(`A whole number is needed here, and quotes make it a text. Write ${value} without quotes`);
  }
  if (typeof value !== "number" || !Number.isSafeInteger(value)) {
    return problem(`A whole number is needed here, not ${describedValue(yaml)}. Write ${limits}`);
  }
  if (value < node.min) return problem(`${value} is less than the least, ${node.min}. Write ${limits}`);
  if (value > node.max) return problem(`${value} is more than the most, ${node.max}. Write ${limits}`);
  return { value };
}

function readFlag(node: FlagNode, yaml: YamlNode): ScalarReading {
  const value = yaml.kind === "scalar" ? yaml.value : undefined;
  const wanted = node.only === undefined ? "true or false" : String(node.only);
  if (typeof value !== "boolean")
    return problem(`${describedValue(yaml)} is not ${wanted}. Write ${wanted}, without quotes`);
  if (node.only !== undefined && value !== node.only)
    return problem(`Only ${wanted} can be written here. Remove the key`);
  return { value };
}

function readChoice(node: ChoiceNode, yaml: YamlNode): ScalarReading {
  const words = Object.keys(node.choices);
  const text = written(yaml);
  if (text !== undefined && Object.hasOwn(node.choices, text)) return { value: text };
  if (text !== undefined && node.later && Object.hasOwn(node.later, text)) {
    return problem(`This version of hms-sys cannot do "${text}" yet. ${node.later[text]}`);
  }
  const nearest = text === undefined ? undefined : nearestName(text, words);
  const advice = nearest
    ? `Did you mean ${nearest}?`
    : `Write ${words.length === 1 ? "" : "one of "}${words.join(", ")}`;
  return problem(`${text === undefined ? describedValue(yaml) : quoted(text)} is not possible here. ${advice}`);
}

function readAmount(node: AmountNode, yaml: YamlNode): ScalarReading {
  const text = written(yaml);
  const limits = `${node.min} to ${node.max}`;
  if (text === undefined || (yaml.kind === "scalar" && typeof yaml.value === "boolean")) {
    return problem(`${AMOUNT[node.kind]} is needed here, not ${describedValue(yaml)}. Write ${limits}`);
  }
  const value = parseAmount(node.kind, text);
  const guess = guessAmount(node.kind, text);
  if (value === undefined) {
    return problem(
      `${quoted(text)} is not ${lowerFirst(AMOUNT[node.kind])}. Write ${guess ?? `${limits}, such as ${node.example ?? node.default}`}`,
    );
  }
  if (value < (parseAmount(node.kind, node.min) ?? 0)) {
    const advice = guess ? `Did you mean ${guess}?` : `Write ${limits}`;
    return problem(`${formatAmount(node.kind, value)} is less than the least, ${node.min}. ${advice}`);
  }
  if (value > (parseAmount(node.kind, node.max) ?? Infinity)) {
    return problem(`${formatAmount(node.kind, value)} is more than the most, ${node.max}. Write ${limits}`);
  }
  return { value };
}

const lowerFirst = (text: string) => text.charAt(0).toLowerCase() + text.slice(1);

const AMOUNT = {
  duration: "A duration with its unit (ms, s, m, h)",
  memory: "An amount of memory with its unit (Ki, Mi, Gi)",
  cpu: "A number of cores",
} as const;

function readShare(node: ShareNode, yaml: YamlNode): ScalarReading {
  const advice = `Write a share such as 25%, or a number of replicas from 1 to ${node.max}`;
  const text = written(yaml) ?? "";
  const percent = /^(\d{1,3})%$/.exec(text)?.[1];
  const value: Surge = percent
    ? { percent: Number(percent) }
    : { replicas: /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN };
  const amount = "percent" in value ? value.percent : value.replicas;
  const most = "percent" in value ? 100 : node.max;
  if (Number.isNaN(amount)) return problem(`${describedValue(yaml)} is neither a share nor a number. ${advice}`);
  if (amount < 1)
    return problem(`${formatShare(value)} leaves no room for a new replica beside the old ones. ${advice}`);
  return amount > most
    ? problem(`${formatShare(value)} is more than the most, ${"percent" in value ? "100%" : most}. ${advice}`)
    : { value };
}
