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

/** Keys outside of the database by which services and the platform's parts are known. */
export interface PlatformKeys {
  /** Makes a new key of deployed services' tokens; the one before is good until it is forgotten. */
  replaceWorkloadKey(): { keyId: string; oldKeyIds: string[] };
  /** @throws HmsError FAILED_PRECONDITION as long as an old key may be needed, unless it is forced. */
  forgetOldWorkloadKeys(options: { force: boolean }): { keyId: string; forgottenKeyIds: string[] };
  /** Makes new passwords of the database's roles; answers whose. */
  replaceDatabaseKey(): Promise<string[]>;
}
