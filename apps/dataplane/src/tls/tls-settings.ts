/** How the gateway treats clients once it has certificates. */
export interface TlsSettings {
  /** Without TLS browsers are sent on to it (308) and programs refused, at the routes of services; default true. */
  readonly redirect: boolean;
  /** For how many seconds browsers shall use nothing but TLS (HSTS), never for localhost; default a year, 0: not said. */
  readonly hstsSeconds: number;
  /** Whether that holds for names below, too; default true. */
  readonly hstsSubdomains: boolean;
}

const YEAR_S = 31_536_000;
const TEN_YEARS_S = 315_360_000;
const DEFAULTS: TlsSettings = { redirect: true, hstsSeconds: YEAR_S, hstsSubdomains: true };
const KEYS = "redirect, hsts_max_age and hsts_subdomains";

/** Reads settings.json: {"redirect": true, "hsts_max_age": 31536000, "hsts_subdomains": true}. @throws Error naming every problem. */
export function readTlsSettings(text: string | undefined, file: string): TlsSettings {
  if (text === undefined) return DEFAULTS;
  const given = objectIn(text, file);
  const { redirect = true, hsts_max_age: hsts = YEAR_S, hsts_subdomains: subdomains = true, ...others } = given;
  const problems = Object.keys(others).map((key) => `"${key}" is no setting; there are ${KEYS}`);
  if (typeof subdomains !== "boolean") problems.push("hsts_subdomains is true or false");
  if (typeof redirect !== "boolean") problems.push("redirect is true or false");
  const isAge = typeof hsts === "number" && Number.isInteger(hsts) && hsts >= 0 && hsts <= TEN_YEARS_S;
  if (!isAge) problems.push("hsts_max_age is a whole number of seconds, 0 to ten years");
  if (problems.length > 0) throw new Error(`${file} cannot be used: ${problems.join("; ")}`);
  return { redirect: redirect as boolean, hstsSeconds: hsts as number, hstsSubdomains: subdomains as boolean };
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
