/** What needs attention, each with where to look. */
import { Anchor, Card, Group, Stack, Text, ThemeIcon } from '@mantine/core';
import { IconAlertCircle, IconAlertTriangle, IconCircleCheck } from '@tabler/icons-react';
import { Link } from '@tanstack/react-router';
import type { Concern } from '../model/system';

/** So many are shown before somebody asks for all. */
const SHOWN = 6;

export function ConcernList(props: { concerns: readonly Concern[]; all: boolean; onAll: () => void }) {
  const { concerns, all, onAll } = props;
  if (concerns.length === 0) {
    return (
      <Card padding="sm">
        <Group gap="sm" wrap="nowrap">
          <ThemeIcon color="green" variant="light">
            <IconCircleCheck size={18} />
          </ThemeIcon>
          <Text size="sm">Everything is as it should be.</Text>
        </Group>
      </Card>
    );
  }
  const shown = all ? concerns : concerns.slice(0, SHOWN);
  return (
    <Card padding="sm">
      <Stack component="ul" gap="sm" m={0} p={0} style={{ listStyle: 'none' }}>
        {shown.map((concern) => (
          <Group key={concern.key} component="li" gap="sm" wrap="nowrap" align="flex-start">
            <ThemeIcon
              color={concern.urgent ? 'red' : 'orange'}
              variant="light"
              aria-label={concern.urgent ? 'Urgent' : 'Worth a look'}
              role="img"
            >
              {concern.urgent ? <IconAlertCircle size={18} /> : <IconAlertTriangle size={18} />}
            </ThemeIcon>
            <div style={{ minWidth: 0 }}>
              {concern.to === undefined ? (
                <Text size="sm" fw={600} style={{ overflowWrap: 'anywhere' }}>
                  {concern.title}
                </Text>
              ) : (
                <Anchor component={Link} to={concern.to} size="sm" fw={600} style={{ overflowWrap: 'anywhere' }}>
                  {concern.title}
                </Anchor>
              )}
              <Text size="xs" c="dimmed" lineClamp={2} style={{ overflowWrap: 'anywhere' }}>
                {concern.detail}
              </Text>
            </div>
          </Group>
        ))}
      </Stack>
      {shown.length < concerns.length && (
        <Anchor component="button" type="button" size="sm" mt="sm" onClick={onAll}>
          Show all {concerns.length.toLocaleString()}
        </Anchor>
      )}
    </Card>
  );
}
