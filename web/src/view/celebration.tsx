/** A short joy for an app that runs. It is decoration: nothing is said by it that is not said in words. */
import { Portal } from '@mantine/core';
import classes from './celebration.module.css';

const PIECES = 28;
const COLORS = [
  '--mantine-color-teal-5',
  '--mantine-color-orange-5',
  '--mantine-color-violet-5',
  '--mantine-color-yellow-5',
];

/** Scattered evenly, the same way each time. */
const scatter = (index: number, by: number) => (index * by) % 1;

export function Celebration() {
  return (
    <Portal>
      <div className={classes.sky} aria-hidden>
        {Array.from({ length: PIECES }, (_, index) => (
          <span
            // biome-ignore lint/suspicious/noArrayIndexKey: the pieces are all alike and never move
            key={index}
            className={classes.piece}
            style={{
              left: `${(100 * scatter(index, 0.618)).toFixed(1)}%`,
              background: `var(${COLORS[index % COLORS.length]})`,
              animationDelay: `${(500 * scatter(index, 0.37)).toFixed(0)}ms`,
              animationDuration: `${(1400 + 900 * scatter(index, 0.73)).toFixed(0)}ms`,
            }}
          />
        ))}
      </div>
    </Portal>
  );
}
