/** What an app used over time, and what was asked of it. */
import { Group, SegmentedControl, Stack, Text } from '@mantine/core';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { RANGE_WORDS, RANGES, usageRange, useUsage } from '../../model/usage';
import { Loading, ProblemAlert } from '../../view/page';
import { UsageCharts } from '../../view/usage';
import { useAppRef } from './app_ref';

export default function AppMetrics() {
  const ref = useAppRef();
  const { range: given } = useSearch({ from: '/inside/projects/$project/apps/$app/metrics' });
  const navigate = useNavigate({ from: '/projects/$project/apps/$app/metrics' });
  const range = usageRange(given);
  const usage = useUsage({ of: 'app', project: ref.project, name: ref.app }, range);
  return (
    <Stack>
      <Group justify="space-between">
        <Text size="sm" c="dimmed">
          All pods of {ref.app} together, in the {RANGE_WORDS[range]}. New figures come by themselves.
        </Text>
        <SegmentedControl
          aria-label="Time shown"
          data={RANGES.map((range) => ({ value: range, label: range }))}
          value={range}
          onChange={(value) => void navigate({ search: { range: usageRange(value) }, replace: true })}
        />
      </Group>
      {usage.error !== null ? (
        <ProblemAlert error={usage.error} retry={() => void usage.refetch()} />
      ) : usage.data === undefined ? (
        <Loading rows={2} height={200} />
      ) : (
        <UsageCharts usage={usage.data} />
      )}
    </Stack>
  );
}
