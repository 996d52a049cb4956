const LONGEST = 60;

/** Replaces what would move the cursor or reorder text on a terminal (controls, direction marks) by visible escapes. */
export function visible(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cs}\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** A text in quotes for a message: at most 60 characters of it, nothing in it can act on a terminal. */
export function quoted(text: string): string {
  const shown = text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
  return `"${visible(shown)}"`;
}
