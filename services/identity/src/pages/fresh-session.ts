import type { BrowserSession } from "../sessions/session-store.ts";
import { sendOn, type Visit } from "./sign-in-visit.ts";

/** Who changes how they come in must have shown who they are within this time. */
const FRESH_MS = 5 * 60_000;

/** Whether somebody is signed in, and has shown lately who they are. */
export function isFresh(session: BrowserSession | undefined): session is BrowserSession {
  return session !== undefined && Date.now() - session.authenticatedAt.getTime() < FRESH_MS;
}

/** Asks somebody to show again who they are, before they change how they come in. */
export function sendToConfirm({ response }: Pick<Visit, "response">): void {
  sendOn(response, "/sign-in/again?next=/sign-in/factors");
}
