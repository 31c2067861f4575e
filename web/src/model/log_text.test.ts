import { describe, expect, it } from 'vitest';
import { cleanText, cssColour, type Look } from './log_text';

const ESC = '\x1b';
const plain = (text: string): string => cleanText(text).plain;
/** The text of each run with how it looks. */
function runs(text: string): [string, Look][] {
  const clean = cleanText(text);
  let from = 0;
  return (clean.runs ?? []).map(({ to, look }) => {
    const part: [string, Look] = [clean.plain.slice(from, to), look];
    from = to;
    return part;
  });
}

describe('colours', () => {
  it('are taken from SGR and from nothing else', () => {
    expect(runs(`a${ESC}[1;31mred${ESC}[0m b`)).toEqual([
      ['a', {}],
      ['red', { bold: true, fg: 1 }],
      [' b', {}],
    ]);
    expect(runs(`${ESC}[38;5;208mx`)).toEqual([['x', { fg: 208 }]]);
    expect(runs(`${ESC}[38;2;1;2;255mx`)).toEqual([['x', { fg: '#0102ff' }]]);
    expect(runs(`${ESC}[38:2::1:2:255mx`)).toEqual([['x', { fg: '#0102ff' }]]);
    expect(runs(`${ESC}[38:5:9mx`)).toEqual([['x', { fg: 9 }]]);
    expect(runs(`${ESC}[93mx${ESC}[39my`)).toEqual([
      ['x', { fg: 11 }],
      ['y', {}],
    ]);
  });

  it('that are wrong change nothing', () => {
    for (const wrong of ['38;5;999', '38;5', '38;2;1;2', '38;2;300;0;0', '999', '48', '38:9:1', '?25', '>4;1'])
      expect(runs(`${ESC}[${wrong}mx`).every(([, look]) => look.fg === undefined && look.bg === undefined)).toBe(true);
  });

  it('never hide text in its ground, and concealed text is shown', () => {
    for (const hidden of ['30;40', '38;5;232;48;5;233', '38;2;9;9;9;48;2;8;8;8', '8', '7;30;40']) {
      for (const [text, look] of runs(`${ESC}[${hidden}mx`)) {
        expect(text).toBe('x');
        if (look.bg !== undefined) expect(look.fg).not.toBe(look.bg);
      }
      expect(plain(`${ESC}[${hidden}mx`)).toBe('x');
    }
  });

  it('reach style sheets as numbers or variables only', () => {
    expect(cssColour(3, 'readable')).toBe('var(--log-colour-3)');
    expect(cssColour(3, 'exact')).toMatch(/^#[0-9a-f]{6}$/);
    expect(cssColour('#ffffff', 'readable')).toMatch(/^light-dark\(#[0-9a-f]{6}, #[0-9a-f]{6}\)$/);
    for (let n = 16; n < 256; n += 1)
      expect(cssColour(n, 'readable')).toMatch(/^light-dark\(#[0-9a-f]{6}, #[0-9a-f]{6}\)$/);
  });
});

describe('other sequences', () => {
  it('vanish whole', () => {
    const whole: Record<string, string> = {
      'a window title': `${ESC}]0;owned\x07`,
      'a title ended by ST': `${ESC}]2;owned${ESC}\\`,
      'a title ended by a byte': `${ESC}]2;owned\x9c`,
      'the clipboard': `${ESC}]52;c;ZXZpbA==\x07`,
      'a Sixel image': `${ESC}Pq#0;2;0;0;0~~@@${ESC}\\`,
      'a string': `${ESC}^private${ESC}\\${ESC}_app${ESC}\\${ESC}Xsos${ESC}\\`,
      'clearing the screen': `${ESC}[2J${ESC}[H${ESC}[3J`,
      'cursor moves': `${ESC}[10A${ESC}[5;5f${ESC}7${ESC}8${ESC}M`,
      modes: `${ESC}[?1049h${ESC}[?25l${ESC}[?2004h${ESC}=${ESC}>`,
      'a question to the terminal': `${ESC}[6n${ESC}[c${ESC}[>q`,
      'a reset': `${ESC}c${ESC}[!p`,
      'a set of characters': `${ESC}(0${ESC}(B`,
      'eight-bit ones': '\x9b2J\x9d0;owned\x07\x90q~~\x9c',
    };
    for (const [what, sequence] of Object.entries(whole)) expect(plain(`a${sequence}b`), what).toBe('ab');
  });

  it('leave the text of a link, and not where it leads', () => {
    expect(cleanText(`${ESC}]8;;javascript:alert(1)\x07click${ESC}]8;;\x07`).plain).toBe('click');
  });

  it('that are cut off are shown, and hide nothing', () => {
    expect(plain(`a${ESC}]0;the rest`)).toBe('a␛]0;the rest');
    expect(plain(`a${ESC}[12;`)).toBe('a␛[12;');
    expect(plain(`a${ESC}`)).toBe('a␛');
    expect(plain(`a${ESC}Pq${ESC}[31mred`)).toBe('a␛Pqred');
  });
});

describe('what cannot be seen', () => {
  it('stands as a sign for itself', () => {
    expect(plain('a\x07b\x08c\x00d\x7f')).toBe('a␇b␈c␀d␡');
    expect(plain('50 %\r60 %\r')).toBe('50 %␍60 %');
    expect(plain('a\x0bb\x0cc')).toBe('a␋b␌c');
    expect(plain('abc\u202egnp.exe')).toBe('abc‹U+202E›gnp.exe');
    expect(plain('a\u2066b\u2069')).toBe('a‹U+2066›b‹U+2069›');
    expect(plain('pass\u200bword\ufeff\u00ad')).toBe('pass‹U+200B›word‹U+FEFF›‹U+00AD›');
    expect(plain('a\u2028b\u2029c\u0085d')).toBe('a‹U+2028›b‹U+2029›c‹U+0085›d');
    expect(plain('a\u{e0041}b')).toBe('a‹U+E0041›b');
    expect(plain('a\ud800b\udc00')).toBe('a\ufffdb\ufffd');
  });

  it('is left where scripts need it', () => {
    const family = '👩\u200d👩\u200d👧';
    expect(plain(`a ${family} b`)).toBe(`a ${family} b`);
    expect(plain('می\u200cخواهم')).toBe('می\u200cخواهم');
    // Between plain letters it only hides.
    expect(plain('pass\u200dword')).toBe('pass‹U+200D›word');
  });

  it('is a replacement sign where bytes were no UTF-8', () => {
    const text = new TextDecoder().decode(new Uint8Array([0x61, 0xff, 0xfe, 0x80, 0x62]));
    expect(plain(text)).toBe('a\ufffd\ufffd\ufffdb');
  });
});

describe('plain text', () => {
  it('is left as it is', () => {
    for (const text of ['', 'hello', '\tindented', '日本語 ☃ é', '<b>&amp;"\'</b>', '{"json": true}'])
      expect(cleanText(text)).toEqual({ plain: text });
  });

  it('is HTML only for those who look', () => {
    const evil = '<script>alert(1)</script><img src=x onerror=alert(2)>';
    expect(cleanText(evil)).toEqual({ plain: evil });
    expect(runs(`${ESC}[31m${evil}`)).toEqual([[evil, { fg: 1 }]]);
  });
});

describe('a line of megabytes', () => {
  // A pattern that looks at the rest of the line again and again would take minutes for a quarter of a million.
  const million = 256 * 1024;
  const within = (milliseconds: number, work: () => void) => {
    const began = performance.now();
    work();
    expect(performance.now() - began).toBeLessThan(milliseconds);
  };

  it('takes no more time than its length is worth, whatever it is made of', () => {
    const hostile = [
      'x'.repeat(million),
      `${ESC}]`.repeat(million / 2),
      `${ESC}[`.repeat(million / 2),
      '\x9d'.repeat(million),
      '\x9b'.repeat(million),
      `${ESC}]0;${'a'.repeat(million)}`,
      `${ESC}[${'1;'.repeat(million / 2)}`,
      `${ESC}[${'1;'.repeat(million / 2)}m`,
      `${ESC}P${'\x1bP'.repeat(million / 2)}`,
      `${ESC}[31mx`.repeat(million / 6),
      '\u202e'.repeat(million / 4),
      '\x00'.repeat(million / 4),
    ];
    for (const text of hostile) within(8000, () => cleanText(text));
  }, 120_000);

  it('has a bounded number of looks', () => {
    const text = Array.from({ length: 50_000 }, (_, n) => `${ESC}[3${n % 8}mx`).join('');
    expect(cleanText(text).runs?.length).toBeLessThanOrEqual(4001);
    expect(plain(text)).toBe('x'.repeat(50_000));
  });
});
