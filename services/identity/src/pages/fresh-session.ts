import { isLately } from "../accounts/step-up.ts";
import type { BrowserSession } from "../sessions/session-store.ts";
import { sendOn, type Visit } from "./sign-in-visit.ts";

/** Whether somebody is signed in, and has shown lately who they are. */
export function isFresh(session: BrowserSession | undefined): session is BrowserSession {
  return session !== undefined && isLately(session.authenticatedAt.getTime());
}

/** Asks somebody to show again who they are, before they change how they come in. */
export function sendToConfirm({ response }: Pick<Visit, "response">, next = "/sign-in/factors"): void {
  sendOn(response, `/sign-in/again?next=${next}`);
}
