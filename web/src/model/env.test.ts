import { describe, expect, test } from 'vitest';
import { looksSecret, MOST_PASTED, nameProblem, readDotenv } from './env';

const values = (text: string) => Object.fromEntries(readDotenv(text).variables.map(({ name, value }) => [name, value]));

describe('a .env file', () => {
  test('has bare values, comments and exports', () => {
    expect(values('# a\nA=1\n export B = two words  # note\nC=\n\nD=a#b\nE=#x\n')).toEqual({
      A: '1',
      B: 'two words',
      C: '',
      D: 'a#b',
      E: '',
    });
  });

  test('has values in quotes, over several lines too', () => {
    expect(values(`A="x\\ny \\"q\\" \\$H"\nB='a\\n#b'\nC="one\ntwo"\nD=\`t\`\nE=5`)).toEqual({
      A: 'x\ny "q" $H',
      B: 'a\\n#b',
      C: 'one\ntwo',
      D: 't',
      E: '5',
    });
  });

  test('keeps values as they are: nothing is replaced', () => {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: that is what such files hold
    expect(values('A=$HOME/${B:-x} `id`')).toEqual({ A: '$HOME/${B:-x} `id`' });
  });

  test('may come from Windows, with a mark at its front', () => {
    expect(values('\uFEFFA=1\r\nB="x\r\ny"\r\n')).toEqual({ A: '1', B: 'x\ny' });
  });

  test('says in which line something is wrong, and reads the others', () => {
    const { variables, problems } = readDotenv('A=1\nnonsense\n2B=x\nC=\'open\nD=4\nA=9\n=v\nE="x" y\n');
    expect(variables.map(({ name, value }) => [name, value])).toEqual([
      ['D', '4'],
      ['A', '9'],
      ['E', 'x'],
    ]);
    expect(problems.map(({ line }) => line)).toEqual([2, 3, 4, 6, 7, 8]);
  });

  test('has names that objects have of themselves', () => {
    const { variables } = readDotenv('__proto__=1\nconstructor=2');
    expect(variables.map(({ name }) => name)).toEqual(['__proto__', 'constructor']);
  });

  test('that is hostile costs no time', () => {
    const begun = performance.now();
    expect(readDotenv(`${'A'.repeat(200_000)}`).variables).toEqual([]);
    expect(readDotenv(`A="${'\\'.repeat(200_001)}`).variables).toEqual([]);
    expect(readDotenv(`A=${' '.repeat(200_000)}x`).variables).toHaveLength(1);
    expect(readDotenv(`A=x${' '.repeat(200_000)}y`).variables).toHaveLength(0);
    expect(readDotenv(`A=${'#'.repeat(200_000)}`).variables).toHaveLength(1);
    expect(readDotenv(`A${' '.repeat(200_000)}B`).variables).toHaveLength(0);
    expect(readDotenv(`A='\n`.repeat(20_001)).variables).toHaveLength(1);
    expect(readDotenv('"=\n'.repeat(20_000)).variables).toEqual([]);
    expect(readDotenv('A'.repeat(MOST_PASTED + 1)).problems).toHaveLength(1);
    expect(performance.now() - begun).toBeLessThan(5000);
  });

  test('cannot bring a zero byte, markup stays text', () => {
    expect(readDotenv('A=x\0y').problems).toHaveLength(1);
    expect(values('A=<img src=x onerror=alert(1)>')).toEqual({ A: '<img src=x onerror=alert(1)>' });
  });
});

test('names are as shells take them', () => {
  expect(nameProblem('_A1')).toBeUndefined();
  for (const name of ['', '1A', 'A-B', 'A B', 'Ä', 'A\n']) expect(nameProblem(name)).toBeTypeOf('string');
});

test('what looks secret is offered as a secret', () => {
  expect(looksSecret('API_KEY', 'x')).toBe(true);
  expect(looksSecret('DATABASE_URL', 'postgres://u:p@db/x')).toBe(true);
  expect(looksSecret('KEYBOARD', 'de')).toBe(false);
  expect(looksSecret('URL', 'https://example.com/a')).toBe(false);
});
