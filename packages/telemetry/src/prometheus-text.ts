/** The head of a metric in Prometheus text format 0.0.4, from "name type and what it is". */
export function metricFamily(description: string): string[] {
  const [name, type, ...help] = description.split(" ");
  return [`# HELP ${name} ${help.join(" ")}\n`, `# TYPE ${name} ${type}\n`];
}

/** One sample of a metric; label values may be any text. */
export function metricSample(name: string, labels: Readonly<Record<string, string>>, value: number): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escapeLabel(text)}"`);
  return `${name}${pairs.length > 0 ? `{${pairs.join(",")}}` : ""} ${value}\n`;
}

function escapeLabel(text: string): string {
  return text.replace(/[\\"\n]/g, (letter) => (letter === "\n" ? "\\n" : `\\${letter}`));
}
