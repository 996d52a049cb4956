/** What a grant holds of scopes, as oidc-provider keeps it (its model Grant): separated by blanks, for each audience. */
interface Scopes {
  readonly openid?: { readonly scope?: string };
  readonly resources?: Readonly<Record<string, string>>;
}

/** The content of a grant, with what was taken away from it. */
export interface Grant extends Scopes {
  readonly rejected?: Scopes;
}

const split = (scopes = "") => scopes.split(" ").filter((scope) => scope !== "");

const allOf = ({ openid, resources = {} }: Scopes) => [
  ...split(openid?.scope),
  ...Object.values(resources).flatMap(split),
];

/** What a program may do by a grant, and what was taken away from it. */
export function scopesOf(grant: Grant): {
  readonly held: ReadonlySet<string>;
  readonly withdrawn: ReadonlySet<string>;
} {
  const withdrawn = new Set(allOf(grant.rejected ?? {}));
  return { held: new Set(allOf(grant).filter((scope) => !withdrawn.has(scope))), withdrawn };
}

/** A grant without these scopes, which it remembers as taken away; what it never had changes nothing. */
export function narrowed(grant: Grant, scopes: ReadonlySet<string>): Grant {
  const { openid, resources = {}, rejected = {}, ...rest } = grant;
  const part = (of: string | undefined, isTaken: boolean) => split(of).filter((scope) => scopes.has(scope) === isTaken);
  const join = (own: string | undefined, more: readonly string[]) => [...new Set([...split(own), ...more])].join(" ");
  const names = Object.keys(resources);
  return {
    ...rest,
    openid: { ...openid, scope: part(openid?.scope, false).join(" ") },
    resources: Object.fromEntries(names.map((name) => [name, part(resources[name], false).join(" ")])),
    rejected: {
      openid: { ...rejected.openid, scope: join(rejected.openid?.scope, part(openid?.scope, true)) },
      resources: Object.fromEntries(
        names.map((name) => [name, join(rejected.resources?.[name], part(resources[name], true))]),
      ),
    },
  };
}
