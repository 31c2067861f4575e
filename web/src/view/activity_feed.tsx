/** What happened lately, in a few words each. */
import { Card, Group, Stack, Text } from '@mantine/core';
import type { EventSpec, Metadata } from '../model/schema';
import { Ago } from './text';

export interface FeedEvent {
  metadata: Metadata;
  spec: EventSpec;
}

export function ActivityFeed({ events }: { events: readonly FeedEvent[] }) {
  if (events.length === 0) {
    return (
      <Card padding="sm">
        <Text size="sm" c="dimmed">
          Nothing happened yet.
        </Text>
      </Card>
    );
  }
  return (
    <Card padding="sm">
      <Stack component="ul" gap="xs" m={0} p={0} style={{ listStyle: 'none' }}>
        {events.map(({ metadata, spec }) => (
          <Group key={metadata.uid ?? metadata.name} component="li" justify="space-between" wrap="nowrap" gap="sm">
            <Text size="sm" lineClamp={2} style={{ overflowWrap: 'anywhere', minWidth: 0 }}>
              <Text span fw={600} size="sm">
                {spec.actor}
              </Text>{' '}
              <Text span ff="monospace" size="xs">
                {spec.object}
              </Text>{' '}
              <Text span size="sm" c="dimmed">
                {spec.message === '' ? words(spec.action) : spec.message}
              </Text>
            </Text>
            <Text size="xs" c="dimmed" component="div" style={{ flexShrink: 0 }}>
              <Ago at={metadata.created} size="xs" />
            </Text>
          </Group>
        ))}
      </Stack>
    </Card>
  );
}

/** `release.failed` → `release failed`. */
function words(action: string): string {
  return action.replaceAll(/[._]/g, ' ');
}
