/** One statement of an SQL text. */
export interface SqlStatement {
  text: string;
  /** Offset of its first character in the whole text. */
  offset: number;
}

/** What may hold a semicolon that ends nothing: comments, quoted text (E'' with escapes), names, dollar quotes. */
const OPAQUE =
  /--[^\n]*|\/\*|[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|\$([A-Za-z_][A-Za-z0-9_]*)?\$|[A-Za-z_][A-Za-z0-9_$]*|;/gsu;

/** PostgreSQL's block comments nest. Returns the offset behind the comment that begins at `start`. */
function endOfBlockComment(sql: string, start: number): number {
  let depth = 0;
  const marks = /\/\*|\*\//g;
  marks.lastIndex = start;
  for (let mark = marks.exec(sql); mark; mark = marks.exec(sql)) {
    depth += mark[0] === "/*" ? 1 : -1;
    if (depth === 0) return marks.lastIndex;
  }
  return sql.length;
}

function endOfDollarQuote(sql: string, start: number, tag: string): number {
  const end = sql.indexOf(tag, start + tag.length);
  return end === -1 ? sql.length : end + tag.length;
}

const BLANK = /^(?:\s|--[^\n]*(?:\n|$))*/;

function statement(sql: string, start: number, end: number): SqlStatement | undefined {
  const whole = sql.slice(start, end);
  const lead = BLANK.exec(whole)?.[0].length ?? 0;
  const text = whole.slice(lead).trimEnd();
  return text === "" ? undefined : { text, offset: start + lead };
}

/**
 * Splits an SQL text at its semicolons, outside of comments, quotes and dollar quotes (PostgreSQL manual, "Lexical
 * Structure"). Not for SQL-standard function bodies (BEGIN ATOMIC): write those in dollar quotes.
 */
export function splitSqlStatements(sql: string): SqlStatement[] {
  const found: SqlStatement[] = [];
  const tokens = new RegExp(OPAQUE);
  let start = 0;
  const take = (end: number) => {
    const next = statement(sql, start, end);
    if (next) found.push(next);
    start = end + 1;
  };
  for (let token = tokens.exec(sql); token; token = tokens.exec(sql)) {
    if (token[0] === ";") take(token.index);
    else if (token[0] === "/*") tokens.lastIndex = endOfBlockComment(sql, token.index);
    else if (token[0].startsWith("$")) tokens.lastIndex = endOfDollarQuote(sql, token.index, token[0]);
  }
  take(sql.length);
  return found;
}

/** The 1-based line and column of an offset. */
export function positionIn(text: string, offset: number): { line: number; column: number } {
  const before = text.slice(0, offset).split("\n");
  return { line: before.length, column: (before.at(-1)?.length ?? 0) + 1 };
}
