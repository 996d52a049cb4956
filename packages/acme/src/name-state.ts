import { X509Certificate } from "node:crypto";
import type { AcmeFolder, NameProgress } from "./acme-folder.ts";
import type { AcmeSettings } from "./acme-settings.ts";
import { renewalTime } from "./renewal-plan.ts";

/** What is known of a name at the authority that is set; orders and failures at another one say nothing. */
export function progressOf(name: string, folder: AcmeFolder, { directory }: AcmeSettings): NameProgress {
  const known = folder.progress(name);
  if (known?.directory === directory) return known;
  const { issuedBy, obtainedAt } = known ?? {};
  return { directory, issuedBy, obtainedAt, failures: 0, nextAttemptAt: 0 };
}

/** When something is to be done about a name's certificate, milliseconds since 1970. */
export function dueAt(name: string, folder: AcmeFolder, settings: AcmeSettings): number {
  const progress = progressOf(name, folder, settings);
  const certificate = progress.issuedBy === settings.directory ? folder.certificate(name) : undefined;
  const wanted = certificate === undefined ? 0 : renewalAt(certificate, progress);
  return Math.max(wanted, waitsUntil(progress, settings));
}

/** What the authority has asked to wait for is waited for, whoever asks. */
function waitsUntil({ nextAttemptAt, askedAt, problem }: NameProgress, settings: AcmeSettings): number {
  return askedAt === settings.askedAt || problem?.kind === "rateLimited" ? nextAttemptAt : 0;
}

function renewalAt(certificate: string, { window, obtainedAt }: NameProgress): number {
  const { validFromDate, validToDate, fingerprint256: seed } = new X509Certificate(certificate);
  const validity = { notBefore: validFromDate.getTime(), notAfter: validToDate.getTime() };
  const suggested = window?.certificate === seed ? window : undefined;
  return renewalTime(validity, { seed, window: suggested, obtainedAt });
}

/** How it stands with a name's certificate; times are milliseconds since 1970. */
export interface NameState {
  readonly name: string;
  /** Until when the certificate is good; undefined: there is none of the authority that is set. */
  readonly until: number | undefined;
  /** When it is renewed, or ordered, next. */
  readonly nextAt: number;
  /** Why the last attempt failed. */
  readonly problem: { readonly kind: string; readonly message: string; readonly at: number } | undefined;
  /** Whether that was after the operator had asked last. */
  readonly isAnswer: boolean;
}

/** How it stands with each name. */
export function nameStates(folder: AcmeFolder, settings: AcmeSettings): NameState[] {
  return settings.names.map((name) => {
    const progress = progressOf(name, folder, settings);
    const certificate = progress.issuedBy === settings.directory ? folder.certificate(name) : undefined;
    return {
      name,
      until: certificate === undefined ? undefined : new X509Certificate(certificate).validToDate.getTime(),
      nextAt: dueAt(name, folder, settings),
      problem: progress.problem,
      isAnswer: progress.askedAt === settings.askedAt || progress.problem?.kind === "rateLimited",
    };
  });
}
