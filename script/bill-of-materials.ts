/** What a lock file of npm (version 3) says of a package. */
interface LockedPackage {
  readonly version?: string;
  readonly integrity?: string;
  readonly license?: string;
  readonly optional?: boolean;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
}

/** A lock file of npm, version 3: packages by the folder that they are installed in; "" is the application. */
export interface LockFile {
  readonly name: string;
  readonly packages: Readonly<Record<string, LockedPackage>>;
}

/** Where a package finds a library, as Node does: beside it, or in a folder above; undefined: it is not installed. */
function folderOf(lock: LockFile, from: string, library: string): string | undefined {
  for (let folder = from; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf("/node_modules/")))) {
    const place = folder === "" ? `node_modules/${library}` : `${folder}/node_modules/${library}`;
    if (place in lock.packages) return place;
    if (folder === "") return undefined;
  }
}

/** The folders of all that the application needs in the end, on any system and processor; none of what only develops it. */
function neededFolders(lock: LockFile): string[] {
  const found = new Set<string>([""]);
  for (const folder of found) {
    const { dependencies, optionalDependencies, peerDependencies } = lock.packages[folder] ?? {};
    for (const library of Object.keys({ ...peerDependencies, ...dependencies, ...optionalDependencies })) {
      const place = folderOf(lock, folder, library);
      if (place !== undefined) found.add(place);
    }
  }
  return [...found].filter((folder) => folder !== "").sort();
}

const nameOf = (folder: string) => folder.slice(folder.lastIndexOf("node_modules/") + "node_modules/".length);
const purlOf = (name: string, version = "") => `pkg:npm/${name.replace("@", "%40")}@${version}`;

/**
 * The bill of materials of an application, as CycloneDX 1.5 (https://cyclonedx.org/docs/1.5/json): every library that it
 * needs, with version, SHA-512 and licence. The same lock file gives the same text. (npm's own `npm sbom` leaves out what
 * a tool of some workspace needs, too.)
 */
export function billOfMaterials(lock: LockFile): string {
  const { version = "", license = "" } = lock.packages[""] ?? {};
  const components = neededFolders(lock).map((folder) => {
    const { version: itsVersion, integrity = "", license: itsLicense, optional } = lock.packages[folder] ?? {};
    const name = nameOf(folder);
    const content = Buffer.from(integrity.slice("sha512-".length), "base64").toString("hex");
    return {
      type: "library",
      "bom-ref": folder,
      name,
      version: itsVersion,
      scope: optional ? "optional" : "required",
      hashes: [{ alg: "SHA-512", content }],
      ...(itsLicense === undefined ? {} : { licenses: [{ expression: itsLicense }] }),
      purl: purlOf(name, itsVersion),
    };
  });
  const { name } = lock;
  const licenses = [{ expression: license }];
  const component = { type: "application", "bom-ref": "", name, version, licenses, purl: purlOf(name, version) };
  const bill = { bomFormat: "CycloneDX", specVersion: "1.5", version: 1, metadata: { component }, components };
  return `${JSON.stringify(bill, null, 2)}\n`;
}
