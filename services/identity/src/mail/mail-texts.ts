import type { LinkPurpose } from "../identity-tables.ts";
import type { Mail } from "../ports.ts";

/** A link for one person, as it is mailed. */
export interface MailedLink {
  readonly to: string;
  readonly login: string;
  readonly link: string;
  readonly expiresAt: Date;
}

const SUBJECTS: Readonly<Record<Exclude<LinkPurpose, "set-up">, string>> = {
  invitation: "Choose your password",
  reset: "Choose a new password",
  verify: "Confirm your mail address",
};
const BECAUSE: Readonly<Record<Exclude<LinkPurpose, "set-up">, string>> = {
  invitation: "somebody has made an account for you",
  reset: "somebody has asked for a new password for your account",
  verify: "somebody has named this address as that of their account",
};

/** The mail that brings a link. */
export function linkMail(purpose: Exclude<LinkPurpose, "set-up">, { to, login, link, expiresAt }: MailedLink): Mail {
  const text = `You get this because ${BECAUSE[purpose]} "${login}" at HMS-SYS.

${link}

The link is good once, until ${expiresAt.toISOString()}. If you do not expect this, do nothing; nobody comes in by it who
cannot read your mail.
`;
  return { to, subject: SUBJECTS[purpose], text };
}

/** The mail that tells of a change of how somebody comes in. */
export function noticeMail(to: string, login: string, what: string): Mail {
  const text = `${what} of your account "${login}" at HMS-SYS, at ${new Date().toISOString()}.

If that was not you, tell whoever runs it at once.
`;
  return { to, subject: "Your account was changed", text };
}
