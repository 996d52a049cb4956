/**
 * oidc-provider keeps two cookies to one path each, so that sign-ins in several windows do not disturb each other. A cookie
 * that belongs to this host and no other (prefix __Host-, RFC 6265bis) belongs to all of its paths, so what was the path is
 * a part of the name here, and the library sees its own names again.
 */
const OF_ONE_PATH = /^(hms_oidc_(?:interaction|resume))(\.sig)?=([^;]*)/;
const PREFIXED = /^__Host-(hms_oidc_(?:interaction|resume))\.([\w-]{21,64})(\.sig)?=(.*)$/;
const PATH = /; *path=[^;]*\/([\w-]{21,64})(?=;|$)/i;

/** Sign-ins of one browser that can be on their way at once; the oldest are forgotten beyond that. */
const MOST_AT_ONCE = 16;

/** A cookie that the library sets, as the browser gets it; others as they are. */
export function asHostCookie(cookie: string): string {
  const [start = "", name, signature = "", value = ""] = OF_ONE_PATH.exec(cookie) ?? [];
  const uid = PATH.exec(cookie)?.[1];
  if (name === undefined || uid === undefined) return cookie;
  return `__Host-${name}.${uid}${signature}=${value}${cookie.slice(start.length).replace(PATH, "; path=/")}`;
}

/** The cookies of a request as the library knows them at a path: those of other paths are not there. */
export function forLibraryAt(path: string, header: string): string {
  const uid = path.slice(path.lastIndexOf("/") + 1);
  return pairsOf(header)
    .flatMap((pair) => {
      // By the library's own name none of ours comes.
      if (OF_ONE_PATH.test(pair)) return [];
      const [, name, owner, signature = "", value = ""] = PREFIXED.exec(pair) ?? [];
      if (name === undefined) return pair;
      return owner === uid ? `${name}${signature}=${value}` : [];
    })
    .join("; ");
}

/** What makes a browser forget the oldest of its sign-ins on their way, which it sends first; usually nothing. */
export function forgetOldest(header: string): string[] {
  const uids = [...new Set(pairsOf(header).flatMap((pair) => PREFIXED.exec(pair)?.[2] ?? []))];
  const old = new Set(uids.slice(0, Math.max(0, uids.length - MOST_AT_ONCE)));
  return pairsOf(header).flatMap((pair) => {
    const [, name, uid = "", signature = ""] = PREFIXED.exec(pair) ?? [];
    return old.has(uid) ? `__Host-${name}.${uid}${signature}=; path=/; max-age=0; httponly; samesite=lax; secure` : [];
  });
}

const pairsOf = (header: string) => header.split(";").map((pair) => pair.trim());
