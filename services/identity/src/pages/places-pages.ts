import { identitySessions } from "@hms/contracts";
import type { Queries } from "../identity-tables.ts";
import type { OidcGround } from "../oidc/oidc-ground.ts";
import { listSessions, type SignedIn } from "../sessions/list-sessions.ts";
import { endProgram, narrowProgram } from "../sessions/program-store.ts";
import { endSession } from "../sessions/session-store.ts";
import { form } from "./form.ts";
import type { FormTokens } from "./form-token.ts";
import { meaningOf } from "./forms.ts";
import { type Html, html } from "./html.ts";
import { sendPage } from "./page.ts";
import { sendOn, type Visit } from "./sign-in-visit.ts";

type Turn = (visit: Visit) => Promise<void>;

const { PROGRAM } = identitySessions.SessionKind;
const minute = (date: Date) => `${date.toISOString().slice(0, 16).replace("T", " ")} UTC`;

/**
 * Where somebody is signed in: their browsers, and the programs and applications that act for them; each can be ended, and
 * of these each permission taken away.
 */
export class PlacesPages {
  readonly #ground: OidcGround;
  readonly #tokens: FormTokens;

  constructor(ground: OidcGround, tokens: FormTokens) {
    this.#ground = ground;
    this.#tokens = tokens;
  }

  /** What happens at each of these pages. */
  turnOf(asked: string): Turn | undefined {
    const turns: Readonly<Record<string, Turn>> = {
      "GET /places": this.#show,
      "POST /places": this.#end,
      "POST /places/narrow": this.#narrow,
    };
    return turns[asked];
  }

  readonly #show: Turn = async ({ request, response }) => {
    const { database, liveSession } = this.#ground;
    const session = await liveSession(request.headers);
    if (session === undefined) return sendOn(response, "/sign-in?next=/sign-in/places");
    const places = await listSessions(database.db, session.accountId);
    const csrf = this.#tokens.issue(request, response);
    const parts = (isProgram: boolean) =>
      places
        .filter(({ kind }) => (kind === PROGRAM) === isProgram)
        .map((place) => placePart(place, { csrf, isThis: place.sessionId === session.sessionId }));
    const programs = parts(true);
    const content = html`<h2>Applications and programs that act for you</h2>
${programs.length === 0 ? html`<p>None.</p>` : programs}
<h2>Browsers</h2>${parts(false)}
<p><a href="/sign-in">Back, or sign out</a></p>`;
    sendPage(response, { title: "Where you are signed in", content });
  };

  readonly #end: Turn = (visit) =>
    this.#change(visit, "SignOut", async (queries, { sessionId }) => {
      if (!(await endSession(queries, sessionId))) await endProgram(queries, sessionId);
      return true;
    });

  readonly #narrow: Turn = (visit) =>
    this.#change(visit, "NarrowProgram", async (queries, { sessionId, scopes }) => {
      // Of an older page, or made up: what it has not is neither given nor taken.
      const taken = visit.form.getAll("scope").filter((scope) => scopes.includes(scope));
      return taken.length > 0 && (await narrowProgram(queries, sessionId, taken)) !== undefined;
    });

  /** Changes one of somebody's own places, or answers that there was nothing to change, and shows what is left. */
  async #change(
    visit: Visit,
    deed: "SignOut" | "NarrowProgram",
    change: (queries: Queries, place: SignedIn) => Promise<boolean>,
  ): Promise<void> {
    const { request, response, form: sent } = visit;
    const { database, liveSession, changes, trail } = this.#ground;
    const session = await liveSession(request.headers);
    if (session === undefined) return sendOn(response, "/sign-in?next=/sign-in/places");
    const { accountId } = session;
    const [place] = await listSessions(database.db, accountId, sent.get("place") ?? "");
    if (place !== undefined) {
      trail.assertAccepts();
      if (await database.transaction((queries) => change(queries, place))) {
        await changes.tell({ account: accountId });
        trail.record({ deed, accountId, resource: place.sessionId, source: visit });
      }
    }
    sendOn(response, "/sign-in/places");
  }
}

function placePart(place: SignedIn, { csrf, isThis }: { csrf: string; isThis: boolean }): Html {
  const { kind, clientName, scopes, userAgent, address, createdAt, lastSeenAt, sessionId } = place;
  const isProgram = kind === PROGRAM;
  const name = isProgram ? clientName : userAgent.slice(0, 80) || "A browser";
  const take = (scope: string) =>
    html`<li>${meaningOf(scope)} <button type="submit" formaction="/sign-in/places/narrow" name="scope" value="${scope}" class="other small" aria-label="Take away: ${meaningOf(scope)}">Take away</button></li>`;
  const from = address === "" ? "" : ` from ${address}`;
  return html`<p><strong>${name}</strong>${isThis ? " (this one)" : ""}<br>
<small>Since ${minute(createdAt)}${from}, last used ${minute(lastSeenAt)}.</small></p>
${form(
  { action: "/sign-in/places", csrf },
  html`<input type="hidden" name="place" value="${sessionId}">
${scopes.length === 0 ? "" : html`<ul>${scopes.map(take)}</ul>`}
<button type="submit" class="other">End ${isProgram ? name : "this session"}</button>`,
)}`;
}
