import type { Principal } from "@hms/kernel";

/** What the identity service asks of the server's policy. */
export interface Judge {
  /** Whether a principal holds a permission of the platform, "*" for all of them. */
  may(principal: Principal, permission: string): boolean;
}
