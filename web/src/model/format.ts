/** Figures and times as people read them. All of it in the reader's own language for numbers. */

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** `1536` → `1.5 KiB`. */
export function bytes(count: number | null | undefined): string {
  if (count === null || count === undefined || !Number.isFinite(count)) return '–';
  let value = Math.abs(count);
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = value >= 100 || unit === 0 ? 0 : 1;
  return `${count < 0 ? '-' : ''}${value.toFixed(digits)} ${UNITS[unit]}`;
}

/** Processor time per time: `0.25` → `0.25 CPU`. */
export function cpu(cores: number | null | undefined): string {
  if (cores === null || cores === undefined || !Number.isFinite(cores)) return '–';
  if (cores < 0.0005) return '0 CPU';
  return `${cores < 0.1 ? cores.toFixed(3) : cores.toFixed(2)} CPU`;
}

const STEPS: [Intl.RelativeTimeFormatUnit, number][] = [
  ['day', 86_400],
  ['hour', 3600],
  ['minute', 60],
  ['second', 1],
];

/** One for all moments: making one takes longer than a hundred uses of it. */
const RELATIVE = new Intl.RelativeTimeFormat(undefined, { numeric: 'auto' });

/** How long ago (or ahead) a moment is, in words. */
export function ago(moment: string | Date, now: number = Date.now()): string {
  const seconds = (new Date(moment).getTime() - now) / 1000;
  if (Number.isNaN(seconds)) return '–';
  if (Math.abs(seconds) < 5) return 'just now';
  const [unit, size] = STEPS.find(([, size]) => Math.abs(seconds) >= size) ?? ['second', 1];
  return RELATIVE.format(Math.trunc(seconds / size), unit);
}

/** Hours of a day are counted to 24 everywhere, so that no figure is read twice. */
const WHEN = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium', hourCycle: 'h23' });
const TIME = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium', hourCycle: 'h23' });
const HOUR_MINUTE = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });

/** A moment as it is in full: `3 Feb 2026, 14:05:09`. */
export function when(moment: string | Date): string {
  const date = new Date(moment);
  return Number.isNaN(date.getTime()) ? '–' : WHEN.format(date);
}

/** A time of the day: `14:05:09`. */
export const time = (moment: Date): string => TIME.format(moment);

/** The same on an axis: `14:05`. */
export const hourMinute = (moment: Date): string => HOUR_MINUTE.format(moment);

/** A span of milliseconds: `72000` → `1 min 12 s`. */
export function span(milliseconds: number): string {
  const seconds = Math.max(0, milliseconds / 1000);
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return whole % 60 === 0 ? `${minutes} min` : `${minutes} min ${whole % 60} s`;
  const hours = Math.floor(minutes / 60);
  return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
}

/** One of something, or more. */
export function count(n: number, one: string, many = `${one}s`): string {
  return `${n.toLocaleString()} ${n === 1 ? one : many}`;
}

/** The short form of a digest, as people compare them. */
export function shortDigest(digest: string): string {
  const [, hex] = digest.split(':');
  return (hex ?? digest).slice(0, 12);
}
