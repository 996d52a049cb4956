import { identitySessions } from "@hms/contracts";
import { sql } from "kysely";
import type { Queries } from "../identity-tables.ts";
import { ownClients } from "../oidc/clients.ts";
import { PROGRAM_PREFIX } from "./program-store.ts";

const { BROWSER, PROGRAM } = identitySessions.SessionKind;

const OWN_NAMES: Readonly<Record<string, string>> = Object.fromEntries(
  ownClients("http://localhost").map(({ client_id: id, client_name: name = "" }) => [id, name]),
);

/** A place where an account is signed in. */
export interface SignedIn {
  readonly sessionId: string;
  readonly accountId: string;
  readonly kind: identitySessions.SessionKind;
  readonly client: string;
  readonly clientName: string;
  readonly scopes: readonly string[];
  readonly userAgent: string;
  readonly address: string;
  readonly createdAt: Date;
  readonly lastSeenAt: Date;
  readonly expiresAt: Date | null;
}

interface Row {
  session_id: string;
  account_id: string;
  client: string | null;
  client_name: string | null;
  scopes: string[];
  user_agent: string;
  address: string;
  created_at: Date;
  last_seen_at: Date;
  expires_at: Date | null;
}

/** Where an account is signed in, newest first; all accounts without one, one place with a session id. */
export async function listSessions(queries: Queries, accountId?: string, sessionId?: string): Promise<SignedIn[]> {
  const { rows } = await sql<Row>`
    select * from (
      select session_id, account_id, null as client, null as client_name, '{}'::text[] as scopes, user_agent, address, created_at, last_seen_at, expires_at
        from session where expires_at > clock_timestamp() and last_seen_at > clock_timestamp() - interval '30 minutes'
      union all
      select ${PROGRAM_PREFIX} || encode(id_sha256, 'hex'), account_id, payload ->> 'clientId',
          (select name from client c where c.client_id = g.payload ->> 'clientId'),
          string_to_array(concat_ws(' ', payload -> 'openid' ->> 'scope',
            (select string_agg(value, ' ') from jsonb_each_text(coalesce(payload -> 'resources', '{}')))), ' '),
          '', '', created_at,
          (select coalesce(max(t.created_at), g.created_at) from oidc_artifact t
            where t.grant_sha256 = g.id_sha256 and t.kind = 'RefreshToken'), expires_at
        from oidc_artifact g where kind = 'Grant' and expires_at > clock_timestamp()
    ) as signed_in
    where (${accountId ?? null}::uuid is null or account_id = ${accountId ?? null}::uuid)
      and (${sessionId ?? null}::text is null or session_id = ${sessionId ?? null})
    order by created_at desc, session_id limit 1000`.execute(queries);
  return rows.map((row) => ({
    sessionId: row.session_id,
    accountId: row.account_id,
    kind: row.client === null ? BROWSER : PROGRAM,
    client: row.client ?? "",
    clientName: row.client_name ?? OWN_NAMES[row.client ?? ""] ?? row.client ?? "",
    // Permissions stand in a grant as scopes of their own and as those of the platform's interface.
    scopes: [...new Set(row.scopes)],
    userAgent: row.user_agent,
    address: row.address,
    createdAt: row.created_at,
    lastSeenAt: row.last_seen_at,
    expiresAt: row.expires_at,
  }));
}
