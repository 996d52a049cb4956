/** How the gateway treats clients once it has certificates. */
export interface TlsSettings {
  /** HTTP without TLS is sent on to TLS (308), for the routes of services; default true. */
  readonly redirect: boolean;
  /** For how many seconds browsers shall use nothing but TLS (HSTS), never for localhost; default 0: not said. */
  readonly hstsSeconds: number;
}

const DEFAULTS: TlsSettings = { redirect: true, hstsSeconds: 0 };
const TEN_YEARS_S = 315_360_000;

/** Reads settings.json: {"redirect": true, "hsts_max_age": 31536000}. @throws Error naming every problem. */
export function readTlsSettings(text: string | undefined, file: string): TlsSettings {
  if (text === undefined) return DEFAULTS;
  const given = objectIn(text, file);
  const { redirect = true, hsts_max_age: hsts = 0, ...others } = given;
  const problems = Object.keys(others).map((key) => `"${key}" is no setting; there are redirect and hsts_max_age`);
  if (typeof redirect !== "boolean") problems.push("redirect is true or false");
  const isAge = typeof hsts === "number" && Number.isInteger(hsts) && hsts >= 0 && hsts <= TEN_YEARS_S;
  if (!isAge) problems.push("hsts_max_age is a whole number of seconds, 0 to ten years");
  if (problems.length > 0) throw new Error(`${file} cannot be used: ${problems.join("; ")}`);
  return { redirect: redirect as boolean, hstsSeconds: hsts as number };
}

function objectIn(text: string, file: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`${file} cannot be used: ${(error as Error).message}`);
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new Error(`${file} cannot be used: it is no object; write {"redirect": true}`);
}
