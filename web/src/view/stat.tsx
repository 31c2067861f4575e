/** A figure that stands for much, with what it is, and where more of it is. */
import { Card, Group, Text } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import type { ReactNode } from 'react';
import classes from './stat.module.css';

export interface StatProps {
  label: string;
  value: ReactNode;
  /** In small letters below. */
  note?: ReactNode;
  tone?: 'plain' | 'good' | 'poor' | 'bad';
  icon: ReactNode;
  to: string;
}

const TONES = { plain: undefined, good: undefined, poor: 'orange', bad: 'red' } as const;

export function Stat({ label, value, note, tone = 'plain', icon, to }: StatProps) {
  const color = TONES[tone];
  return (
    <Card component={Link} to={to} className={classes.stat} padding="sm">
      <Group gap={6} c="dimmed" wrap="nowrap">
        {icon}
        <Text size="sm" truncate>
          {label}
        </Text>
      </Group>
      <Text size="xl" fw={650} {...(color === undefined ? {} : { c: color })}>
        {value}
      </Text>
      <Text size="xs" c="dimmed" truncate>
        {note ?? '\u00a0'}
      </Text>
    </Card>
  );
}
