/** Everything that was measured of one thing, each in a chart of its own. */
import { SimpleGrid, Text } from '@mantine/core';
import { amount, METRIC_WORDS, type Metric, type Usage } from '../model/usage';
import { Chart } from './chart';

/** What belongs in one chart, because it is of one sort. */
const TOGETHER: readonly (readonly [string, readonly Metric[]])[] = [
  ['Processors', ['cpu']],
  ['Memory', ['memory']],
  ['Network', ['network_in', 'network_out']],
  ['Disk', ['disk']],
  ['Requests', ['requests', 'errors']],
  ['Answer time', ['latency']],
  ['Pods', ['pods']],
];

/** What was never measured is left out. */
export function UsageCharts({ usage }: { usage: Usage }) {
  const charts = TOGETHER.flatMap(([title, metrics]) => {
    const series = usage.series.filter(
      ({ name, values }) => metrics.includes(name) && values.some((value) => value !== null),
    );
    const [first] = series;
    return first === undefined ? [] : [{ title, series, unit: first.unit }];
  });
  if (charts.length === 0) {
    return (
      <Text size="sm" c="dimmed">
        Nothing was measured in this time. Use is measured while pods run.
      </Text>
    );
  }
  return (
    <SimpleGrid cols={{ base: 1, md: 2 }} spacing="lg">
      {charts.map(({ title, series, unit }) => (
        <Chart
          key={title}
          title={title}
          from={usage.from}
          stepSeconds={usage.step_seconds}
          lines={series.map(({ name, values, limit }) => ({ label: METRIC_WORDS[name], values, limit: limit ?? null }))}
          format={(value) => amount(unit, value)}
        />
      ))}
    </SimpleGrid>
  );
}
