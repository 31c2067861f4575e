/** A figure that stands for much, with what it is. */
import { Group, Text } from '@mantine/core';
import type { ReactNode } from 'react';

export interface StatProps {
  label: string;
  value: ReactNode;
  /** In small letters below. */
  note?: ReactNode;
  tone?: 'plain' | 'poor' | 'bad';
  icon: ReactNode;
}

const TONES = { plain: undefined, poor: 'orange', bad: 'red' } as const;

export function Stat({ label, value, note, tone = 'plain', icon }: StatProps) {
  const color = TONES[tone];
  return (
    <>
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
    </>
  );
}
