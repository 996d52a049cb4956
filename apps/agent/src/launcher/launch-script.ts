import { bootId } from "./boot-id.ts";
import type { MountPlan, VisibleDirectory } from "./mount-plan.ts";
import { shellQuote } from "./shell-quote.ts";

/** How one process is kept apart. */
export interface Sandbox {
  kind: "own-uid" | "user-namespace";
  /** The user and group number that the program sees: its own, or the operator's. */
  uid: number;
  gid: number;
  mounts: MountPlan;
  /** The mount options that must stay when a path is made read-only, by source path. */
  lockedFlags(source: string): readonly string[];
}

/** What the scripts of one launch need to know. */
export interface LaunchScriptOptions {
  /** Holds the FIFOs `out`, `err` and `life`, the file `status` and the directory `stage`. */
  stateDirectory: string;
  label: string;
  attempt: number;
  sandbox?: Sandbox | undefined;
  /** Directories of control groups to enter. */
  controlGroups: readonly string[];
  /** RLIMIT_NPROC; none if absent. */
  maxProcesses?: number | undefined;
}

/** Every record of the status file has this length, newline included. */
export const RECORD_BYTES = 512;
/** The status file: who runs, and how it ended. */
export const STATUS_RECORDS = 3;
/** The exit code of a launch that found its replica running already. */
export const ALREADY_RUNNING = 124;

const record = (text: string) => `printf '%-${RECORD_BYTES - 1}s\\n' "${text}" >&4`;
/** A shell reads its script from a pipe: wrapped in a function, a script cut short by a dying agent does nothing. */
const whole = (name: string, lines: readonly string[]) =>
  `${name}() {\n${lines.join("\n")}\n}\n${name} "$@"\nexit $?\n`;

const READ_STAT = '{ IFS= read -r stat < /proc/self/stat; } 2>/dev/null || stat="$$ () ?"';

/**
 * A pipe holds 64 KiB, which a busy program fills in a second while no agent reads; with F_SETPIPE_SZ it holds 1 MiB.
 * No shell can ask for that. Where there is no Perl, or the user's pipes hold too much already, it stays as it is.
 */
const WIDEN_PIPES = "for (7, 8) { if (open(my $pipe, qq(+<&=$_))) { fcntl($pipe, 1031, 1048576) } }";

/**
 * The first shell, on the machine's side: takes the replica's lock, says who it is, enters the control groups
 * and becomes `unshare`. Descriptors: 3 the next script, 4 status, 5 lock, 6 the program's script, 7 out, 8 err, 9 life.
 */
export function wrapperScript(options: LaunchScriptOptions): string {
  const at = (name: string) => shellQuote(`${options.stateDirectory}/${name}`);
  const shell = `/bin/sh -s ${shellQuote(options.label)} <&3 3<&-`;
  return whole("hms_wrapper", [
    "exec 2>&1",
    `exec 7<>${at("out")} 8<>${at("err")} 9<>${at("life")} 5<>${at("status")}`,
    `if command -v flock >/dev/null; then flock -n 5 || exit ${ALREADY_RUNNING}; fi`,
    `{ perl -e ${shellQuote(WIDEN_PIPES)}; } 2>/dev/null`,
    `printf '%-${RECORD_BYTES * STATUS_RECORDS}s' '' >&5`,
    `exec 4<>${at("status")}`,
    READ_STAT,
    record(`wrapper ${options.attempt} ${options.sandbox ? "contained" : "loose"} ${bootId()} $stat`),
    ...options.controlGroups.map((group) => `echo 0 > ${shellQuote(`${group}/cgroup.procs`)} || exit 125`),
    `exec ${[...unshareWords(options.sandbox), shell].join(" ")}`,
  ]);
}

function unshareWords(sandbox: Sandbox | undefined): string[] {
  if (!sandbox) return [];
  const user = sandbox.kind === "user-namespace" ? ["--user", "--map-root-user"] : [];
  return ["unshare", ...user, "--mount", "--pid", "--ipc", "--fork", "--propagation", "private"];
}

/** The init of the process namespace: arranges the mounts, runs the program, records how it ended. */
export function initScript(options: LaunchScriptOptions): string {
  const closed = [3, 4, 5, 6, 7, 8, 9].map((fd) => `${fd}>&-`).join(" ");
  return whole("hms_init", [
    "umask 022",
    'try() { "$@" || { echo "failed: $*"; exit 125; }; }',
    // The machine's own number of this process can be read only until the namespace gets its own /proc.
    READ_STAT,
    ...(options.sandbox ? mountLines(options.stateDirectory, options.sandbox) : []),
    record("init $stat"),
    "echo ready",
    // Nobody reads on there, and a shell tells about signals of its children.
    "exec >/dev/null 2>&1",
    // When memory runs out, programs go before the platform does.
    "{ echo 300 > /proc/self/oom_score_adj; } 2>/dev/null",
    `( exec <&6 >&7 2>&8 ${closed}; exec ${programWords(options).join(" ")} /bin/sh -s ${shellQuote(options.label)} )`,
    record("exit $?"),
  ]);
}

function programWords({ sandbox, maxProcesses }: LaunchScriptOptions): string[] {
  const limit = maxProcesses === undefined ? [] : ["prlimit", `--nproc=${maxProcesses}`];
  const start = ["env", "-i", '"PATH=$PATH"', ...(process.platform === "linux" ? ["setsid"] : [])];
  if (!sandbox) return [...start, ...limit];
  const { uid, gid } = sandbox;
  if (sandbox.kind === "own-uid") {
    const drop = ["--clear-groups", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"];
    return [...start, ...limit, "setpriv", `--reuid=${uid}`, `--regid=${gid}`, ...drop];
  }
  // A second user namespace: what was mounted in the first one cannot be undone from inside it.
  const nested = ["unshare", "--user", `--map-user=${uid}`, `--map-group=${gid}`];
  // The limit counts per user namespace, so it comes after the namespace.
  return [...start, ...nested, "setpriv", "--no-new-privs", ...limit];
}

/** The program's own shell, already without privileges: gets its environment by pipe, so that no secret is ever an argument. */
export function programScript(
  command: string,
  workingDirectory: string,
  env: Readonly<Record<string, string>>,
): string {
  return whole("hms_program", [
    "unset PATH OLDPWD SHLVL",
    ...Object.entries(env).map(([name, value]) => `export ${name}=${shellQuote(value)}`),
    `cd ${shellQuote(workingDirectory)} || exit 126`,
    `exec /bin/sh -c ${shellQuote(command)} </dev/null`,
  ]);
}

function mountLines(stateDirectory: string, sandbox: Sandbox): string[] {
  const { masks, blocked, privates, visible, resolvConf } = sandbox.mounts;
  const sources = [...visible.map(({ source }) => source), ...privates.map(({ source }) => source)];
  const staged = [...new Set(sources.filter((source) => source !== undefined))];
  const slot = (source: string) => String(staged.indexOf(source));
  const open = new Set(masks.filter((mask) => visible.some(({ target }) => target.startsWith(`${mask}/`))));
  if (resolvConf) for (const mask of masks) if (resolvConf.target.startsWith(`${mask}/`)) open.add(mask);
  const stage = shellQuote(`${stateDirectory}/stage`);
  const targets = visible.map(({ target }) => target);
  return [
    `try mount -t tmpfs -o mode=0755,size=1m stage ${stage}`,
    `try cd ${stage}`,
    ...(staged.length > 0 ? [`try mkdir ${staged.map((_, index) => index).join(" ")}`] : []),
    ...staged.map((source) => `try mount --rbind ${shellQuote(source)} ${slot(source)}`),
    ...(resolvConf ? [`printf %s ${shellQuote(resolvConf.text)} > resolv.conf || exit 125`] : []),
    ...privates.map(({ path, source, megabytes }) =>
      source === undefined
        ? `try mount -t tmpfs -o mode=1777,nosuid,nodev,size=${megabytes}m private ${shellQuote(path)}`
        : `try mount -c --rbind ${slot(source)} ${shellQuote(path)}`,
    ),
    ...masks.map(
      (path) => `try mount -t tmpfs -o ${open.has(path) ? "" : "ro,"}mode=0755,size=64k mask ${shellQuote(path)}`,
    ),
    ...blocked.map((path) => `try mount -c --bind /dev/null ${shellQuote(path)}`),
    ...(targets.length > 0 ? [`try mkdir -p ${shellQuote(...targets)}`] : []),
    ...visible.flatMap((each) => bindLines(each, slot(each.source), sandbox.lockedFlags(each.source))),
    ...resolvConfLines(resolvConf, masks),
    ...[...open].map((path) => `try mount -c -o remount,bind,ro ${shellQuote(path)}`),
    "try mount -t proc -o nosuid,nodev,noexec proc /proc",
    "try mount -t devpts -o newinstance,nosuid,noexec,ptmxmode=0666,mode=0620 devpts /dev/pts",
    "try cd /",
  ];
}

function bindLines(each: VisibleDirectory, slot: string, flags: readonly string[]): string[] {
  const target = shellQuote(each.target);
  const options = ["remount", "bind", "ro", ...flags].join(",");
  const bind = `try mount -c --rbind ${slot} ${target}`;
  return each.writable ? [bind] : [bind, `try mount -c -o ${options} ${target}`];
}

function resolvConfLines(resolvConf: MountPlan["resolvConf"], masks: readonly string[]): string[] {
  if (!resolvConf) return [];
  const target = shellQuote(resolvConf.target);
  const hidden = masks.some((mask) => resolvConf.target.startsWith(`${mask}/`));
  return [...(hidden ? [`: > ${target} || exit 125`] : []), `try mount -c --bind resolv.conf ${target}`];
}
