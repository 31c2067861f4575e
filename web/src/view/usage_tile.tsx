/** One figure with how it went lately. */
import { Card, Text } from '@mantine/core';
import type { UsageSeries } from '../model/schema';
import { amount, newest } from '../model/usage';
import { Sparkline } from './sparkline';
import classes from './usage_tile.module.css';

export function UsageTile({ title, series }: { title: string; series: UsageSeries | undefined }) {
  const now = series === undefined ? null : newest(series.values);
  const words = series === undefined ? '–' : amount(series.unit, now);
  const limit = series?.limit == null ? null : amount(series.unit, series.limit);
  return (
    <Card padding="sm" className={classes.tile}>
      <Text size="xs" c="dimmed">
        {title}
      </Text>
      <div className={classes.figure}>
        {words}
        {limit !== null && (
          <Text span size="xs" c="dimmed" fw={400}>
            {' '}
            of {limit}
          </Text>
        )}
      </div>
      <Sparkline
        values={series?.values ?? []}
        label={`${title} in the last hour, now ${words}`}
        width={280}
        height={34}
        most={undefined}
      />
    </Card>
  );
}
