import { type SealingKey, sealedBy } from "./sealing-key.ts";

const FORM = /^hms-sealed-v1 ([A-Za-z0-9+/]+=*)$/;

/** A secret as one line of a file: "hms-sealed-v1 " and in base64 what `seal` gives. */
export function sealText(key: SealingKey, plain: string, context: readonly string[]): string {
  return `hms-sealed-v1 ${key.seal(Buffer.from(plain), context).toString("base64")}`;
}

/**
 * What such a line holds. One that was written before files were sealed comes as it is.
 * @throws HmsError as `open` of the key
 */
export function openText(key: SealingKey, line: string, context: readonly string[]): string {
  const sealed = sealedOf(line);
  return sealed === undefined ? line : key.open(sealed, context).toString();
}

/** The id of the key by which such a line is sealed; "" if it is not. */
export function textSealedBy(line: string): string {
  const sealed = sealedOf(line);
  return sealed === undefined ? "" : sealedBy(sealed);
}

function sealedOf(line: string): Buffer | undefined {
  const [, base64] = FORM.exec(line) ?? [];
  return base64 === undefined ? undefined : Buffer.from(base64, "base64");
}
