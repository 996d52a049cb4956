import { createHash } from "node:crypto";
import type { BreachedPasswords } from "@hms/service-identity/ports";
import { openList } from "./open-list.ts";
import { readPasswordSettings } from "./password-settings.ts";

/**
 * Looks passwords up in a copy of Have I Been Pwned's "Pwned Passwords" on this machine, which the installation's password
 * file names; asked anew each time, so a change needs no restart. Nothing leaves the machine, and files of any size are
 * read a few kilobytes at a time, off the event loop. SHA-1 is the form that the list has; nothing is kept of it.
 */
export function createPwnedPasswords(settingsFile: string): BreachedPasswords {
  return {
    async includes(password) {
      const settings = readPasswordSettings(settingsFile);
      if (settings === undefined) return false;
      await using list = await openList(settings.breachedPasswords);
      const hash = createHash("sha1").update(password).digest("hex").toUpperCase();
      // Ranges that were asked for with padding have lines that count nothing.
      return (await list.countOf(hash)) > 0;
    },
  };
}
