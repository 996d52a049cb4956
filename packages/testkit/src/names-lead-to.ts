import dns from "node:dns";
import { syncBuiltinESMExports } from "node:module";

type Resolved = (error: Error | null, address: unknown, family?: number) => void;

/**
 * Has the system's resolver, as this process sees it, lead these names to these addresses until it is disposed; it stands for
 * a name server of somebody else's. Other names are looked up as ever.
 */
export function namesLeadTo(names: Readonly<Record<string, string>>): Disposable {
  const original = dns.lookup;
  const lookup = (name: string, options: { all?: boolean }, done: Resolved) => {
    const address = names[name];
    if (address === undefined) return original(name, options as never, done as never);
    const family = address.includes(":") ? 6 : 4;
    process.nextTick(() => (options.all ? done(null, [{ address, family }]) : done(null, address, family)));
  };
  dns.lookup = lookup as never;
  syncBuiltinESMExports();
  return {
    [Symbol.dispose]: () => {
      dns.lookup = original;
      syncBuiltinESMExports();
    },
  };
}
