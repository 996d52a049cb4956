import { openConfigFile } from "@hms/config-file";
import type { HmsError } from "@hms/kernel";
import { parsePolicies } from "./parse-policies.ts";
import type { PolicyBook } from "./policy-book.ts";

/** Where the policy file is and who hears of it. */
export interface PolicyFileOptions {
  path: string;
  book: PolicyBook;
  /** Hears of each change: how many policies the file holds, and of which services somebody may call less. */
  onChange: (count: number, takenAway: readonly string[]) => void;
  /** Hears why the file cannot be used; the policies read last stay in force. */
  onFailure: (failure: HmsError) => void;
}

/** Keeps the policies of a file in force; without the file there are none. */
export function openPolicyFile({ path, book, onChange, onFailure }: PolicyFileOptions): Disposable {
  const file = openConfigFile({
    path,
    access: "public",
    parse(text) {
      const rules = parsePolicies(text, path);
      book.check("file", rules);
      return rules;
    },
    absent: [],
    onChange(rules) {
      onChange(rules.length, book.replace("file", rules));
    },
    onFailure,
  });
  book.replace("file", file.current);
  return file;
}
