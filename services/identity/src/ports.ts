import type { Principal } from "@hms/kernel";

/** What the identity service asks of the server's policy. */
export interface Judge {
  /** Whether a principal holds a permission of the platform, "*" for all of them. */
  may(principal: Principal, permission: string): boolean;
}

/** One mail to one person, in plain text. */
export interface Mail {
  /** One address, checked by the service. */
  readonly to: string;
  readonly subject: string;
  readonly text: string;
}

/** What can bring mail to people. */
export interface Mailer {
  /** Whether an installation has said how; false: links are shown to whoever made them instead. */
  readonly isSetUp: boolean;
  /** Hands one mail over. @throws HmsError UNAVAILABLE if it is not taken, FAILED_PRECONDITION if it is set up wrongly. */
  send(mail: Mail): Promise<void>;
}

/** What knows which passwords have leaked. */
export interface BreachedPasswords {
  /**
   * Whether a password, exactly as it was received, is among those that leaked; false if an installation names no list.
   * @throws HmsError FAILED_PRECONDITION if there is a list that cannot be used
   */
  includes(password: string): Promise<boolean>;
}
