/** Facts of a thing: names on the left, what is so on the right; one below the other where there is no room. */
import { Stack, Text } from '@mantine/core';
import type { ReactNode } from 'react';
import classes from './facts.module.css';
import { Hint } from './hint';

export interface Fact {
  label: string;
  value: ReactNode;
  /** What the label means, for who meets the word for the first time. */
  hint?: string;
}

/** Facts of which nothing is known are left out. */
export function Facts({ facts }: { facts: readonly Fact[] }) {
  const known = facts.filter(({ value }) => value !== null && value !== undefined && value !== '');
  return (
    <dl className={classes.facts}>
      {known.map(({ label, value, hint }) => (
        <div key={label} className={classes.fact}>
          <dt>
            {label}
            {hint !== undefined && <Hint about={label}>{hint}</Hint>}
          </dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** Names with values, as somebody else wrote them: text and nothing else. */
export function Pairs({ pairs, none }: { pairs: readonly (readonly [string, string])[]; none: string }) {
  if (pairs.length === 0) {
    return (
      <Text size="sm" c="dimmed">
        {none}
      </Text>
    );
  }
  return (
    <Stack gap={6} component="ul" m={0} p={0} style={{ listStyle: 'none' }}>
      {pairs.map(([name, value]) => (
        <li key={name} className={classes.pair}>
          <span className={classes.name}>{name}</span>
          <span className={classes.value}>{value}</span>
        </li>
      ))}
    </Stack>
  );
}
