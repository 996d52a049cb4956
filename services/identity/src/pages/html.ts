/** Text that is HTML already. */
export class Html {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

const ESCAPES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

function textOf(value: Html | string | readonly Html[]): string {
  if (value instanceof Html) return value.text;
  if (typeof value === "string") return value.replace(/[&<>"']/g, (letter) => ESCAPES[letter] as string);
  return value.map(({ text }) => text).join("");
}

/** HTML from a template; every value that is not HTML itself is escaped. */
export function html(parts: TemplateStringsArray, ...values: readonly (Html | string | readonly Html[])[]): Html {
  return new Html(parts.map((part, at) => part + textOf(values[at] ?? "")).join(""));
}
