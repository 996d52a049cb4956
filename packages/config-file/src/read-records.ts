import { type JsonNode, JsonSyntaxError, readJson } from "./json-node.ts";
import { Problems } from "./problems.ts";
import { RecordReader } from "./record-reader.ts";

/** What a file of records holds. */
export interface RecordsOptions<T> {
  /** What messages call the file, "/etc/hms/ffi-policies.json". */
  fileName: string;
  /** The key under which a file may have its list, "policies". */
  listKey: string;
  /** Reads one record; what is wrong is noted with the reader. */
  read: (reader: RecordReader, index: number) => T;
}

/**
 * Reads a JSON text with one record, a list of records, or an object with such a list.
 * @throws HmsError INVALID_ARGUMENT, reason CONFIG_FILE_INVALID, with every problem, its line and column.
 */
export function readRecords<T>(text: string, { fileName, listKey, read }: RecordsOptions<T>): T[] {
  const problems = new Problems(text);
  const records = recordsOf(text, listKey, problems).map(({ node, path }, index) => {
    const reader = new RecordReader(node, path, problems);
    const record = read(reader, index);
    reader.end();
    return record;
  });
  if (problems.size > 0) throw problems.error(fileName);
  return records;
}

interface Found {
  node: JsonNode & { kind: "object" };
  path: string;
}

function recordsOf(text: string, listKey: string, problems: Problems): Found[] {
  try {
    const root = readJson(text);
    const [only, ...others] = root.kind === "object" ? root.members : [];
    const isWrapped = only?.name === listKey && others.length === 0;
    const list = isWrapped ? only.value : root;
    if (list.kind === "object") return [{ node: list, path: "" }];
    if (list.kind === "list") return objectsOf(list.items, isWrapped ? listKey : "", problems);
    problems.add(isWrapped ? listKey : "", list.offset, `is no list; write [{…}, {…}]`);
  } catch (error) {
    if (!(error instanceof JsonSyntaxError)) throw error;
    problems.add("", error.offset, error.message);
  }
  return [];
}

function objectsOf(items: readonly JsonNode[], path: string, problems: Problems): Found[] {
  return items.flatMap((node, index) => {
    const place = `${path}[${index}]`;
    if (node.kind === "object") return [{ node, path: place }];
    problems.add(place, node.offset, "is no object; write {…}");
    return [];
  });
}
