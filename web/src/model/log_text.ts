/**
 * A line of a log as text that can be shown.
 *
 * Theory of operation: what programs print is hostile. Of all control sequences only colours and weights (SGR) mean
 * something here; the others that are whole vanish, and whatever is left over (control bytes, half sequences, marks
 * that turn the direction of text or that nobody can see) stands in the text as a sign for itself. Nothing is hidden:
 * "concealed" text is shown, and text in the colour of its ground gets another ground. Every pattern runs once over
 * the text, so that no line takes longer than its length is worth.
 */

/** A colour of the palette (0 to 255), or one of its own, as `#rrggbb`. */
export type Colour = number | `#${string}`;

/** How characters look. */
export interface Look {
  readonly fg?: Colour;
  readonly bg?: Colour;
  readonly bold?: true;
  readonly dim?: true;
  readonly italic?: true;
  readonly underline?: true;
  readonly strike?: true;
  /** A sign that stands for something that cannot be seen. */
  readonly sign?: true;
}

/** Characters up to `to` (from where the last run ended) look so. */
export interface Run {
  readonly to: number;
  readonly look: Look;
}

/** A line without control sequences; `runs` only where something looks other than plain. */
export interface CleanText {
  readonly plain: string;
  readonly runs?: readonly Run[];
}

/** So many changes of look are kept for a line; what follows looks plain. */
const MOST_RUNS = 4000;
/** So many numbers of one sequence are read. */
const MOST_NUMBERS = 64;

/** Lines that need no look at their characters. */
const ASCII = /^[\t\x20-\x7e]*$/;
/** What is not shown as it is: controls, formats (direction, zero width, tags), half surrogates, line separators. */
const ODD = /(?!\t)[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;
const ODDS = /(?!\t)[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** `ESC [` numbers, intermediates, a final byte. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
const CSI = /(?:\x1b\[|\x9b)([\x30-\x3f]*)([\x20-\x2f]*)([\x40-\x7e])/y;
/** Operating system commands and other strings, up to their end. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
const STRING = /(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x80-\x9f]*(?:\x07|\x1b\\|\x9c)/y;
/** Everything else that begins with `ESC`, but what begins a longer sequence. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
const ESCAPE = /\x1b[\x20-\x2f]*(?![[\]PX^_])[\x30-\x7e]/y;

const PLAIN: Look = {};
const SIGN: Look = { sign: true };

/** Is it all of signs that each take one place? */
export function isAscii(text: string): boolean {
  return ASCII.test(text);
}

export function cleanText(given: string): CleanText {
  const text = given.endsWith('\r') ? given.slice(0, -1) : given;
  if (ASCII.test(text) || !ODD.test(text)) return { plain: text };
  return new Cleaner().clean(text);
}

/** What is being read, and what came of it so far. */
class Cleaner {
  #plain = '';
  #runs: { to: number; look: Look }[] = [];
  #look: Look = PLAIN;
  #pen = new Pen();

  clean(text: string): CleanText {
    let done = 0;
    ODDS.lastIndex = 0;
    for (let odd = ODDS.exec(text); odd !== null; odd = ODDS.exec(text)) {
      const at = odd.index;
      const end = this.#sequence(text, at, done);
      if (end === undefined) {
        const [sign] = odd;
        if (isJoiner(text, at, sign)) continue;
        this.#add(text.slice(done, at), this.#look);
        this.#add(signOf(sign), SIGN);
        done = at + sign.length;
      } else {
        done = end;
      }
      ODDS.lastIndex = done;
    }
    this.#add(text.slice(done), this.#look);
    const only = this.#runs.length === 1 && this.#runs[0]?.look === PLAIN;
    return this.#runs.length === 0 || only ? { plain: this.#plain } : { plain: this.#plain, runs: this.#runs };
  }

  /** Takes a sequence that is whole; gives where it ends. */
  #sequence(text: string, at: number, done: number): number | undefined {
    for (const pattern of [CSI, STRING, ESCAPE]) {
      pattern.lastIndex = at;
      const found = pattern.exec(text);
      if (found === null) continue;
      this.#add(text.slice(done, at), this.#look);
      if (pattern === CSI && found[3] === 'm' && found[2] === '') this.#look = this.#pen.set(found[1] ?? '');
      return at + found[0].length;
    }
    return undefined;
  }

  #add(text: string, look: Look): void {
    if (text === '') return;
    this.#plain += text;
    const last = this.#runs.at(-1);
    if (last !== undefined && (last.look === look || this.#runs.length >= MOST_RUNS)) last.to = this.#plain.length;
    else this.#runs.push({ to: this.#plain.length, look });
  }
}

/** Joiners make one sign of several in emoji and in some scripts; between plain letters they only hide. */
function isJoiner(text: string, at: number, sign: string): boolean {
  if (sign !== '\u200c' && sign !== '\u200d') return false;
  return at > 0 && text.charCodeAt(at - 1) > 0x2ff && (text.charCodeAt(at + 1) || 0) > 0x2ff;
}

/** A picture of what cannot be seen. */
function signOf(odd: string): string {
  const code = odd.codePointAt(0) ?? 0;
  if (code < 0x20) return String.fromCharCode(0x2400 + code);
  if (code === 0x7f) return '\u2421';
  if (code >= 0xd800 && code <= 0xdfff) return '\ufffd';
  return `‹U+${code.toString(16).toUpperCase().padStart(4, '0')}›`;
}

/** What SGR sequences have set so far. */
class Pen {
  #fg: Colour | undefined;
  #bg: Colour | undefined;
  #on = { bold: false, dim: false, italic: false, underline: false, strike: false, inverse: false };

  /** After the numbers of one sequence. */
  set(numbers: string): Look {
    // `<`, `=`, `>` and `?` begin what is somebody's own.
    if (/^[<=>?]/.test(numbers)) return this.#look();
    const parts = numbers.split(/[;]/, MOST_NUMBERS);
    for (let i = 0; i < parts.length; i += 1) i = this.#take(parts, i);
    return this.#look();
  }

  /** Takes one number and what belongs to it; gives the place of the last one taken. */
  #take(parts: readonly string[], i: number): number {
    const part = parts[i] ?? '';
    if (part.includes(':')) {
      this.#within(part.split(':', 8));
      return i;
    }
    const n = part === '' ? 0 : Number(part);
    const on = this.#on;
    if (n === 0) {
      this.#fg = undefined;
      this.#bg = undefined;
      this.#on = { bold: false, dim: false, italic: false, underline: false, strike: false, inverse: false };
    } else if (n === 1) on.bold = true;
    else if (n === 2) on.dim = true;
    else if (n === 3) on.italic = true;
    else if (n === 4 || n === 21) on.underline = true;
    else if (n === 7) on.inverse = true;
    else if (n === 9) on.strike = true;
    else if (n === 22) {
      on.bold = false;
      on.dim = false;
    } else if (n === 23) on.italic = false;
    else if (n === 24) on.underline = false;
    else if (n === 27) on.inverse = false;
    else if (n === 29) on.strike = false;
    else if (n >= 30 && n <= 37) this.#fg = n - 30;
    else if (n === 39) this.#fg = undefined;
    else if (n >= 40 && n <= 47) this.#bg = n - 40;
    else if (n === 49) this.#bg = undefined;
    else if (n >= 90 && n <= 97) this.#fg = n - 82;
    else if (n >= 100 && n <= 107) this.#bg = n - 92;
    else if (n === 38 || n === 48) {
      const wide = parts[i + 1] === '2' ? 4 : parts[i + 1] === '5' ? 2 : 0;
      const colour = colourOf(parts.slice(i + 1, i + 1 + wide));
      if (n === 38) this.#fg = colour ?? this.#fg;
      else this.#bg = colour ?? this.#bg;
      return i + wide;
    }
    return i;
  }

  /** One number with parts of its own: `4:3`, `38:5:n`, `38:2:space:r:g:b`, `38:2:r:g:b`. */
  #within(parts: readonly string[]): void {
    const [what, way] = parts;
    if (what === '4') this.#on.underline = way !== '0';
    if (what !== '38' && what !== '48') return;
    const colour = colourOf(way === '2' && parts.length > 5 ? ['2', ...parts.slice(3, 6)] : parts.slice(1));
    if (what === '38') this.#fg = colour ?? this.#fg;
    else this.#bg = colour ?? this.#bg;
  }

  #look(): Look {
    const { bold, dim, italic, underline, strike, inverse } = this.#on;
    // What is inverse and has no colours is dark on light, whatever the page is.
    const bg = inverse ? (this.#fg ?? 7) : this.#bg;
    const given = inverse ? (this.#bg ?? (bg === undefined ? 0 : onto(bg))) : this.#fg;
    // A ground takes a colour that can be read on it; text in the colour of its ground would be hidden.
    const fg = bg !== undefined && (given === undefined || contrast(given, bg) < LEAST) ? onto(bg) : given;
    if (fg === undefined && bg === undefined && !(bold || dim || italic || underline || strike)) return PLAIN;
    return {
      ...(fg === undefined ? {} : { fg }),
      ...(bg === undefined ? {} : { bg }),
      ...(bold ? { bold } : {}),
      ...(dim ? { dim } : {}),
      ...(italic ? { italic } : {}),
      ...(underline ? { underline } : {}),
      ...(strike ? { strike } : {}),
    };
  }
}

function byte(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,3}$/.test(text)) return undefined;
  const value = Number(text);
  return value <= 255 ? value : undefined;
}

function colourOf(parts: readonly string[]): Colour | undefined {
  if (parts[0] === '5') return byte(parts[1]);
  if (parts[0] !== '2') return undefined;
  const [r, g, b] = parts.slice(1, 4).map(byte);
  if (r === undefined || g === undefined || b === undefined) return undefined;
  return hex([r, g, b]);
}

type Rgb = readonly [number, number, number];

function hex(rgb: Rgb): `#${string}` {
  return `#${rgb.map((part) => Math.round(part).toString(16).padStart(2, '0')).join('')}`;
}

/** The steps of the colour cube. */
const CUBE = [0, 95, 135, 175, 215, 255];

/** The first sixteen, as they are on a ground of their own. As text on the page the theme has them. */
const SIXTEEN: readonly Rgb[] = [
  [0, 0, 0],
  [187, 0, 0],
  [0, 135, 0],
  [160, 110, 0],
  [0, 60, 190],
  [150, 0, 150],
  [0, 130, 140],
  [200, 200, 200],
  [90, 90, 90],
  [255, 110, 103],
  [95, 220, 95],
  [250, 220, 90],
  [125, 165, 255],
  [240, 130, 240],
  [90, 225, 235],
  [255, 255, 255],
];

function rgbOf(colour: Colour): Rgb {
  if (typeof colour === 'string') {
    const n = Number.parseInt(colour.slice(1), 16);
    return [(n >> 16) & 255, (n >> 8) & 255, n & 255];
  }
  const fixed = SIXTEEN[colour];
  if (fixed !== undefined) return fixed;
  if (colour >= 232) {
    const grey = 8 + (colour - 232) * 10;
    return [grey, grey, grey];
  }
  const n = colour - 16;
  return [CUBE[Math.floor(n / 36)] ?? 0, CUBE[Math.floor(n / 6) % 6] ?? 0, CUBE[n % 6] ?? 0];
}

/** How bright a colour is, 0 to 1 (WCAG's relative luminance). */
function brightness(rgb: Rgb): number {
  const [r, g, b] = rgb.map((part) => {
    const x = part / 255;
    return x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * (r ?? 0) + 0.7152 * (g ?? 0) + 0.0722 * (b ?? 0);
}

/** With less contrast than this nobody can read it. */
const LEAST = 1.5;

function contrast(one: Colour, other: Colour): number {
  const [x, y] = [brightness(rgbOf(one)) + 0.05, brightness(rgbOf(other)) + 0.05];
  return Math.max(x, y) / Math.min(x, y);
}

/** Black or white: what can be read on a ground. */
function onto(ground: Colour): Colour {
  return brightness(rgbOf(ground)) > 0.18 ? 0 : 15;
}

/** The least contrast that a colour of a program's own choice gets on the page. */
const CONTRAST = 4.5;

/**
 * A colour as CSS says it: one of the theme's variables, or its own; `readable` makes it darker on a light page and
 * lighter on a dark one, as far as it takes to be read.
 */
export function cssColour(colour: Colour, use: 'readable' | 'exact'): string {
  const rgb = rgbOf(colour);
  if (use === 'exact') return hex(rgb);
  if (typeof colour === 'number' && colour < SIXTEEN.length) return `var(--log-colour-${colour})`;
  return `light-dark(${hex(darker(rgb))}, ${hex(lighter(rgb))})`;
}

function darker(rgb: Rgb): Rgb {
  let found = rgb;
  for (let step = 0; step < 12 && 1.05 / (brightness(found) + 0.05) < CONTRAST; step += 1)
    found = [found[0] * 0.88, found[1] * 0.88, found[2] * 0.88];
  return found;
}

function lighter(rgb: Rgb): Rgb {
  // The dark page is not black: 0.06 is its brightness with the flare that WCAG adds.
  let found = rgb;
  for (let step = 0; step < 12 && (brightness(found) + 0.05) / 0.06 < CONTRAST; step += 1)
    found = [
      found[0] + (255 - found[0]) * 0.15,
      found[1] + (255 - found[1]) * 0.15,
      found[2] + (255 - found[2]) * 0.15,
    ];
  return found;
}
