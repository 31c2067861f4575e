/** The platform's own parts, and how each is. */
import { Badge, Card, Group, Stack, Text } from '@mantine/core';
import type { Part, Wellness } from '../model/system';

const LOOKS: Record<Wellness, { color: string; word: string }> = {
  well: { color: 'green', word: 'well' },
  poor: { color: 'orange', word: 'has a problem' },
  away: { color: 'red', word: 'away' },
};

export function PartList({ parts }: { parts: readonly Part[] }) {
  return (
    <Card padding="sm" id="parts">
      <Stack component="ul" gap="sm" m={0} p={0} style={{ listStyle: 'none' }}>
        {parts.map(({ name, task, state, detail }) => (
          <Group key={name} component="li" justify="space-between" wrap="nowrap" align="flex-start" gap="sm">
            <div style={{ minWidth: 0 }}>
              <Text size="sm" fw={600}>
                {name}{' '}
                <Text span size="xs" c="dimmed" fw={400}>
                  {task}
                </Text>
              </Text>
              <Text size="xs" c="dimmed" style={{ overflowWrap: 'anywhere' }}>
                {detail}
              </Text>
            </div>
            <Badge color={LOOKS[state].color} style={{ flexShrink: 0 }}>
              {LOOKS[state].word}
            </Badge>
          </Group>
        ))}
      </Stack>
    </Card>
  );
}
