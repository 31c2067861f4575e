/** A few lines of a log as plain text: without control sequences, and not without end. */
import { cleanText } from './log_text';

/** So many lines are shown, the last ones. */
const LINES = 200;

export function logWords(lines: readonly string[]): string {
  return lines
    .slice(-LINES)
    .map((line) => cleanText(line).plain)
    .join('\n');
}
