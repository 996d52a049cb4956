import { invalidField } from "./errors.ts";

/** "team=sre" is a label with a value, "team" alone one with any. @throws HmsError INVALID_ARGUMENT */
export function readLabels(texts: readonly string[]): { [name: string]: string | null } {
  const labels: { [name: string]: string | null } = {};
  for (const [index, text] of texts.entries()) {
    const at = text.indexOf("=");
    const name = at === -1 ? text : text.slice(0, at);
    if (name === "") throw invalidField(`labels[${index}]`, `"${text}" names no label: write NAME=VALUE, or NAME.`);
    if (Object.hasOwn(labels, name)) throw invalidField(`labels[${index}]`, `names the label "${name}" a second time.`);
    labels[name] = at === -1 ? null : text.slice(at + 1);
  }
  return labels;
}
