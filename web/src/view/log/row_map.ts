/**
 * Where each line of a log stands: how many rows it takes, and which row it begins at.
 *
 * A line of plain letters takes as many rows as its length says, because all of them are equally wide; other lines are
 * taken to be so too until they were drawn and measured. Appended lines cost what they are; any other change counts
 * all lines anew, which takes a millisecond or two for a hundred thousand.
 */
import { type LogLine, type LogLines, SHOWN_CHARACTERS } from '../../model/log';

export class RowMap {
  /** Rows before each line; only where lines take more than one. */
  #before = new Uint32Array(0);
  #measured = new Map<number, number>();
  #columns = 0;
  #count = 0;
  #lines: LogLines | undefined;
  #expanded: ReadonlySet<number> = new Set();
  #first: LogLine | undefined;
  #last: LogLine | undefined;
  /** Something was measured since the rows were counted. */
  #stale = false;

  /** Takes in the lines as they are now. `columns`: characters of a row; 0 where lines are not broken. */
  update(lines: LogLines, columns: number, expanded: ReadonlySet<number>): void {
    if (columns !== this.#columns) this.#measured.clear();
    const kept = columns === this.#columns && expanded === this.#expanded ? this.#kept(lines) : 0;
    this.#lines = lines;
    this.#columns = columns;
    this.#expanded = expanded;
    this.#count = lines.length;
    this.#first = lines.at(0);
    this.#last = lines.at(this.#count - 1);
    this.#stale = false;
    if (columns === 0) return;
    if (this.#before.length < this.#count + 1) {
      const wider = new Uint32Array(Math.ceil((this.#count + 1) * 1.5));
      wider.set(this.#before.subarray(0, kept + 1));
      this.#before = wider;
    }
    const before = this.#before;
    let sum = before[kept] ?? 0;
    for (let i = kept; i < this.#count; i += 1) {
      before[i] = sum;
      const line = lines.at(i);
      if (line !== undefined) sum += this.rows(line);
    }
    before[this.#count] = sum;
  }

  /** So many lines at the front stand where they stood: all of them, when lines were only appended. */
  #kept(lines: LogLines): number {
    const same = !this.#stale && lines === this.#lines && this.#count > 0 && lines.at(0) === this.#first;
    return same && lines.at(this.#count - 1) === this.#last ? this.#count : 0;
  }

  /** Rows of all lines. */
  get total(): number {
    return this.#columns === 0 ? this.#count : (this.#before[this.#count] ?? 0);
  }

  /** The row that a line begins at. */
  top(index: number): number {
    return this.#columns === 0 ? index : (this.#before[Math.min(index, this.#count)] ?? 0);
  }

  /** The line that a row belongs to. */
  index(row: number): number {
    const most = Math.max(0, this.#count - 1);
    if (this.#columns === 0) return Math.min(most, Math.max(0, Math.floor(row)));
    let low = 0;
    let high = most;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if ((this.#before[middle] ?? 0) <= row) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** How many rows a line takes. */
  rows(line: LogLine): number {
    if (this.#columns === 0) return 1;
    if (!line.ascii) {
      const measured = this.#measured.get(line.id);
      if (measured !== undefined) return measured;
    }
    const { length } = line.plain;
    if (length <= this.#columns) return 1;
    if (length <= SHOWN_CHARACTERS) return Math.ceil(length / this.#columns);
    const shown = this.#expanded.has(line.id) ? length : SHOWN_CHARACTERS;
    // What tells of the rest has a row of its own.
    return Math.ceil(shown / this.#columns) + 1;
  }

  /** What drawing a line showed; is it news? */
  measured(line: LogLine, rows: number): boolean {
    if (this.#columns === 0 || line.ascii || this.rows(line) === rows) return false;
    this.#measured.set(line.id, rows);
    this.#stale = true;
    return true;
  }

  get lines(): LogLines | undefined {
    return this.#lines;
  }
}
