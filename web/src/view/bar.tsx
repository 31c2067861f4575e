/** How much of something is in use. */
import { Group, Progress, Stack, Text } from '@mantine/core';

export interface BarProps {
  label: string;
  used: number | null;
  /** All that there is; null where that is unknown or has no bound. */
  capacity: number | null;
  format: (amount: number) => string;
}

/** From here on it gets tight, in percent. */
const TIGHT = 75;
const FULL = 90;

export function Bar({ label, used, capacity, format }: BarProps) {
  const percent = used === null || capacity === null || capacity <= 0 ? null : Math.min(100, (100 * used) / capacity);
  const color = percent === null || percent < TIGHT ? undefined : percent < FULL ? 'orange' : 'red';
  const words =
    used === null
      ? capacity === null
        ? 'not known'
        : `of ${format(capacity)}`
      : capacity === null
        ? format(used)
        : `${format(used)} of ${format(capacity)}`;
  return (
    <Stack gap={4}>
      <Group justify="space-between" gap="xs" wrap="nowrap">
        <Text size="sm" fw={500}>
          {label}
        </Text>
        <Text size="xs" c="dimmed" ta="end">
          {words}
          {percent !== null && ` · ${Math.round(percent)} %`}
        </Text>
      </Group>
      {capacity !== null && (
        <Progress
          value={percent ?? 0}
          {...(color === undefined ? {} : { color })}
          size="md"
          aria-label={`${label}: ${words}`}
        />
      )}
    </Stack>
  );
}
