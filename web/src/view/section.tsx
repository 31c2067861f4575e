/** A part of a page under a heading of its own. */
import { Card, Group, Text, Title } from '@mantine/core';
import type { ReactNode } from 'react';
import { Hint } from './hint';

export interface SectionProps {
  title: string;
  /** What the title's word means, for who meets it for the first time. */
  hint?: ReactNode;
  lead?: ReactNode;
  /** What can be done, on the right. */
  actions?: ReactNode;
  children: ReactNode;
}

export function Section({ title, hint, lead, actions, children }: SectionProps) {
  return (
    <Card component="section" aria-label={title}>
      <Group justify="space-between" mb="sm" gap="xs" align="flex-start">
        <div style={{ minWidth: 0 }}>
          <Group gap={4}>
            <Title order={2} size="h4">
              {title}
            </Title>
            {hint !== undefined && <Hint about={title}>{hint}</Hint>}
          </Group>
          {lead !== undefined && (
            <Text size="sm" c="dimmed" component="div">
              {lead}
            </Text>
          )}
        </div>
        {actions}
      </Group>
      {children}
    </Card>
  );
}
