import { describe, expect, test } from "vitest";
import { type HostLayout, planMounts } from "./mount-plan.ts";

const home = "/home/ann";
const data = `${home}/.local/state/hms-sys/default`;
const release = { source: `${data}/releases/test/a/1`, target: `${data}/releases/test/a/1`, writable: false };
const node = { source: "/opt/node/bin", target: "/opt/node/bin" };

/** A machine on which everything named exists and links are as given. */
function host(
  more: Partial<HostLayout> & { links?: Record<string, string>; files?: string[]; missing?: string[] } = {},
): HostLayout {
  const { links = {}, files = [], missing = [], ...rest } = more;
  const isFile = (path: string) => files.includes(path);
  return {
    home,
    own: [data, `${data}/run`, `${home}/.config/hms-sys/default`],
    isDirectory: (path) => !isFile(path) && !missing.includes(path),
    isFile,
    names: (path) =>
      path === `${home}/.cargo` ? ["bin", "credentials.toml"] : path === `${home}/.fly` ? ["config.yml"] : ["lib"],
    realPath: (path) => (missing.includes(path) ? undefined : (links[path] ?? path)),
    ...rest,
  };
}

const plan = (machine: HostLayout, pathEntries: string[] = []) => planMounts(machine, { release, pathEntries, node });
const shown = (machine: HostLayout, ...pathEntries: string[]) =>
  plan(machine, pathEntries).visible.map(({ source, target }) =>
    source === target ? target : `${source} as ${target}`,
  );

describe("what is hidden from a replica", () => {
  test("is the home, once for all that lies in it, and the session's doors", () => {
    expect(plan(host()).masks).toContain(home);
    expect(plan(host()).masks).toContain("/run/user");
    expect(plan(host()).masks).not.toContain(data);
  });

  test("is the data directory by itself if it lies outside the home", () => {
    const masks = plan(host({ own: ["/srv/hms/data", "/srv/hms/data/run", "/etc/hms"] })).masks;
    expect(masks).toEqual(expect.arrayContaining([home, "/srv/hms/data", "/etc/hms"]));
    expect(masks).not.toContain("/srv/hms/data/run");
  });

  test("is never the system: a home that is a system directory stays", () => {
    for (const system of ["/", "/usr/sbin", "/bin", "/var", "/var/lib", "/home", "/etc/x", "/opt/app"]) {
      expect(plan(host({ home: system, own: [] })).masks).not.toContain(system);
    }
    for (const own of ["/root", "/var/lib/ann", "/srv/ann", "/home/ann"]) {
      expect(plan(host({ home: own, own: [] })).masks).toContain(own);
    }
  });

  test("is a container engine's socket, by its real path, once", () => {
    const machine = host({
      files: ["/run/docker.sock", "/var/run/docker.sock"],
      links: { "/var/run/docker.sock": "/run/docker.sock" },
    });
    expect(plan(machine).blocked).toEqual(["/run/docker.sock"]);
  });

  test("does not include what is missing or lies in a private directory already", () => {
    const machine = host({ missing: ["/run/user", "/run/nscd"], own: ["/tmp/data"] });
    expect(plan(machine).masks).not.toContain("/run/user");
    expect(plan(machine).masks).not.toContain("/tmp/data");
    expect(plan(machine).privates.map(({ path }) => path)).toContain("/tmp");
  });
});

describe("what a replica sees in a hidden home", () => {
  test("is its release, and a tool chain with the parts beside its bin directory", () => {
    const entries = [`${home}/.nvm/versions/node/v24/bin`, `${home}/.pyenv/shims`, `${home}/.pyenv/bin`, "/usr/bin"];
    expect(shown(host(), ...entries)).toEqual([`${home}/.pyenv`, `${home}/.nvm/versions/node/v24`, release.target]);
  });

  test("is only the entry itself where the parent holds more than tools", () => {
    const entries = [`${home}/bin`, `${home}/.local/bin`, `${home}/.cargo/bin`, `${home}/.fly/bin`, `${home}/tools`];
    expect(shown(host(), ...entries).sort()).toEqual([...entries, release.target].sort());
  });

  test("is never the home itself, what holds it, or the installation's own directories", () => {
    const entries = [home, "/home", "/", `${data}/run`, `${home}/.config/hms-sys/default/bin`, "relative/bin", ""];
    expect(shown(host(), ...entries)).toEqual([release.target]);
  });

  test("is found under both names if a link leads there", () => {
    const machine = host({ links: { [`${home}/go`]: `${home}/disk/go` } });
    expect(shown(machine, `${home}/go/bin`)).toEqual([
      `${home}/disk/go as ${home}/go`,
      `${home}/disk/go`,
      release.target,
    ]);
  });

  test("is the platform's own Node, wherever it lies", () => {
    const inHome = { source: `${home}/hms/node/bin`, target: `${home}/hms/node/bin` };
    const elsewhere = { source: "/root/hms/bin", target: "/tmp/.hms-node" };
    for (const each of [inHome, elsewhere]) {
      const { visible } = planMounts(host(), { release, pathEntries: [], node: each });
      expect(visible).toContainEqual({ ...each, writable: false });
    }
  });
});

test("a shared directory is shown, and a writable one in it apart", () => {
  const shared = [
    { source: `${data}/ffi`, target: `${data}/ffi`, writable: false },
    { source: `${data}/ffi/services`, target: `${data}/ffi/services`, writable: true },
  ];
  const { visible } = planMounts(host(), { release, shared, pathEntries: [], node });
  expect(visible.filter(({ source }) => source.startsWith(`${data}/ffi`))).toEqual(shared);
});

test("a resolv.conf of its own replaces the file behind the link", () => {
  const machine = host({ links: { "/etc/resolv.conf": "/run/systemd/resolve/stub-resolv.conf" } });
  const { resolvConf } = planMounts(machine, {
    release,
    pathEntries: [],
    node,
    resolvConf: "nameserver 127.88.0.53\n",
  });
  expect(resolvConf).toEqual({ target: "/run/systemd/resolve/stub-resolv.conf", text: "nameserver 127.88.0.53\n" });
  expect(plan(machine).resolvConf).toBeUndefined();
});
