/** What names of secrets look like. */
export const SECRET_NAME_PATTERN = "^[A-Za-z_][A-Za-z0-9_-]{0,127}$";

/** The same in words. */
export const SECRET_NAME_SHAPE = "letters, digits, underscores and hyphens, a letter or underscore first";

const NAME = new RegExp(SECRET_NAME_PATTERN);

/** True if a secret can be called so. */
export const isSecretName = (name: string) => NAME.test(name);

/** A part of a variable's value: a text, or the name of a secret. */
export type SecretPiece = { readonly text: string } | { readonly secret: string };

/** The value of a variable that holds secrets; a manifest keeps it under `secrets`. */
export class SecretText {
  readonly template: string;

  constructor(pieces: readonly SecretPiece[]) {
    this.template = secretTemplate(pieces);
  }
}

/** Pieces in one text, as a manifest keeps them: `${secret.NAME}` for a secret, and every other $ twice. */
export function secretTemplate(pieces: readonly SecretPiece[]): string {
  return pieces
    .map((piece) => ("text" in piece ? piece.text.replaceAll("$", "$$$$") : `\${secret.${piece.secret}}`))
    .join("");
}

/** The pieces of a text that a manifest keeps under `secrets`. */
export function secretPieces(template: string): SecretPiece[] {
  const pieces: SecretPiece[] = [];
  let text = "";
  for (const [part, secret] of template.matchAll(/\$\$|\$\{secret\.([^}]*)\}|[^$]+/g)) {
    if (secret === undefined) {
      text += part === "$$" ? "$" : part;
      continue;
    }
    if (text !== "") pieces.push({ text });
    pieces.push({ secret });
    text = "";
  }
  if (text !== "") pieces.push({ text });
  return pieces;
}

/** The names of the secrets that a manifest asks for, each once; manifests that older versions have stored ask for none. */
export function secretNames({ secrets = {} }: { readonly secrets?: Readonly<Record<string, string>> }): string[] {
  const pieces = Object.values(secrets).flatMap(secretPieces);
  return [...new Set(pieces.flatMap((piece) => ("secret" in piece ? [piece.secret] : [])))];
}
