import { expect, test } from 'vitest';
import { parts } from './sparkline';

test('a line has gaps where nothing is known', () => {
  expect(parts([0, 1, null, 1, 0], 40, 20)).toEqual(['0.0,18.5 10.0,1.5', '30.0,1.5 40.0,18.5']);
});

test('nothing known is no line, and one value a stroke', () => {
  expect(parts([null, null], 40, 20)).toEqual([]);
  expect(parts([], 40, 20)).toEqual([]);
  expect(parts([null, 3, null], 40, 20)).toEqual(['18,1.5 20.0,1.5']);
});

test('the scale has the end that it is given', () => {
  expect(parts([1, 1], 10, 20, 2)).toEqual(['0.0,10.0 10.0,10.0']);
});
