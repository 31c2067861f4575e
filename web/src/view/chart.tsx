/**
 * A chart of values over time: what it shows stands beside it in words, and it can be read as a table instead. What
 * draws it is loaded when the first one is shown; all charts of a page share one cursor.
 */
import { ActionIcon, Group, ScrollArea, Skeleton, Table, Text, Tooltip, useComputedColorScheme } from '@mantine/core';
import { useElementSize } from '@mantine/hooks';
import { IconChartLine, IconTable } from '@tabler/icons-react';
import { useEffect, useMemo, useRef, useState } from 'react';
import type uPlot from 'uplot';
import { hourMinute, time } from '../model/format';
import classes from './chart.module.css';

export interface ChartLine {
  label: string;
  /** The oldest first; null where nothing is known. */
  values: readonly (number | null)[];
  /** What there is of it at most. */
  limit?: number | null;
}

export interface ChartProps {
  title: string;
  /** When the first value's time begins, and how long each value stands for. */
  from: string;
  stepSeconds: number;
  lines: readonly ChartLine[];
  /** A value as people read it. */
  format: (value: number | null) => string;
  height?: number;
}

/** One colour for each line, told apart also by who does not tell red from green. */
const COLORS = ['--coracle-accent', '--mantine-color-orange-6', '--mantine-color-violet-5'] as const;

/** A limit is drawn when the values come near to it; otherwise it would press them flat. */
const NEAR = 0.25;

/** A table has so many rows at most, the newest. */
const ROWS = 120;

export function Chart(props: ChartProps) {
  const { title, from, stepSeconds, lines, format, height = 160 } = props;
  const [table, setTable] = useState(false);
  const [at, setAt] = useState<number | null>(null);
  const begin = new Date(from).getTime() / 1000;
  const empty = lines.every(({ values }) => values.every((value) => value === null));
  const other = table ? 'Show as a chart' : 'Show as a table';
  return (
    <figure className={classes.figure} aria-label={title}>
      <Group justify="space-between" wrap="nowrap" gap="xs" align="flex-start">
        <div style={{ minWidth: 0 }}>
          <Text component="figcaption" size="sm" fw={600}>
            {title}
          </Text>
          <Text size="xs" c="dimmed" component="div">
            <Readout {...props} at={at} begin={begin} />
          </Text>
        </div>
        <Tooltip label={other}>
          <ActionIcon
            variant="subtle"
            color="gray"
            size="sm"
            aria-label={`${title}: ${other.toLowerCase()}`}
            aria-pressed={table}
            onClick={() => setTable(!table)}
          >
            {table ? <IconChartLine size={15} /> : <IconTable size={15} />}
          </ActionIcon>
        </Tooltip>
      </Group>
      {table ? (
        <ValueTable title={title} begin={begin} step={stepSeconds} lines={lines} format={format} height={height} />
      ) : empty ? (
        <div className={classes.empty} style={{ height }}>
          <Text size="sm" c="dimmed">
            Nothing was measured in this time yet
          </Text>
        </div>
      ) : (
        <Plot {...props} height={height} begin={begin} onCursor={setAt} />
      )}
    </figure>
  );
}

/** The figures of the moment under the cursor, else the newest. */
function Readout(props: ChartProps & { begin: number; at: number | null }) {
  const { lines, format, begin, stepSeconds, at } = props;
  const known = lines.filter(({ values }) => values.some((value) => value !== null));
  if (known.length === 0) return null;
  return (
    <Group gap="sm" component="span">
      {known.map((line) => {
        const value = at === null ? (line.values.findLast((v) => v !== null) ?? null) : (line.values[at] ?? null);
        return (
          <span key={line.label}>
            {lines.length > 1 && (
              <span
                aria-hidden
                className={classes.key}
                style={{ background: `var(${COLORS[lines.indexOf(line) % COLORS.length]})` }}
              />
            )}
            {lines.length > 1 && `${line.label} `}
            {format(value)}
            {line.limit != null && ` of ${format(line.limit)}`}
          </span>
        );
      })}
      {at !== null && <span>{clock(begin + at * stepSeconds)}</span>}
    </Group>
  );
}

/** What a line says, in words. */
export function summary(line: ChartLine, begin: number, step: number, format: ChartProps['format']): string {
  const known = line.values.flatMap((value, index) => (value === null ? [] : [{ value, index }]));
  const last = known.at(-1);
  if (last === undefined) return `${line.label}: not measured.`;
  const highest = known.reduce((a, b) => (b.value > a.value ? b : a), last);
  const mean = known.reduce((sum, { value }) => sum + value, 0) / known.length;
  return (
    `${line.label}: now ${format(last.value)}, on average ${format(mean)}, ` +
    `at most ${format(highest.value)} at ${clock(begin + highest.index * step)}.`
  );
}

const clock = (seconds: number) => hourMinute(new Date(seconds * 1000));

function ValueTable(props: {
  title: string;
  begin: number;
  step: number;
  lines: readonly ChartLine[];
  format: ChartProps['format'];
  height: number;
}) {
  const { title, begin, step, lines, format, height } = props;
  const length = lines[0]?.values.length ?? 0;
  const rows = Array.from({ length: Math.min(length, ROWS) }, (_, back) => length - 1 - back);
  return (
    <ScrollArea
      h={height}
      type="auto"
      viewportProps={{ tabIndex: 0, role: 'region', 'aria-label': `${title}, figures` }}
    >
      <Table stickyHeader fz="xs" verticalSpacing={3}>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Time</Table.Th>
            {lines.map(({ label }) => (
              <Table.Th key={label}>{label}</Table.Th>
            ))}
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {rows.map((index) => (
            <Table.Tr key={index}>
              <Table.Td>{time(new Date((begin + index * step) * 1000))}</Table.Td>
              {lines.map(({ label, values }) => (
                <Table.Td key={label}>{format(values[index] ?? null)}</Table.Td>
              ))}
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </ScrollArea>
  );
}

function Plot(props: ChartProps & { begin: number; height: number; onCursor: (index: number | null) => void }) {
  const { title, lines, format, height, begin, stepSeconds, onCursor } = props;
  const { ref: frame, width } = useElementSize();
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(undefined);
  const scheme = useComputedColorScheme('light');
  const [drawn, setDrawn] = useState(false);
  const data = useMemo(() => aligned(lines, begin, stepSeconds), [lines, begin, stepSeconds]);
  // What changes with each sample is handed to the chart that is there; the rest makes a new one.
  const now = useRef({ data, format, onCursor, width });
  now.current = { data, format, onCursor, width };
  const shape = data.length;
  const names = lines.map(({ label }) => label).join('\n');
  const ready = width > 0;

  useEffect(() => {
    const element = place.current;
    if (element === null || !ready) return undefined;
    let gone = false;
    void Promise.all([import('uplot'), import('uplot/dist/uPlot.min.css')]).then(([{ default: UPlot }]) => {
      if (gone) return;
      plot.current = new UPlot(
        options(UPlot, element, {
          names: names.split('\n'),
          shape,
          height,
          width: now.current.width,
          dark: scheme === 'dark',
          format: (value) => now.current.format(value),
          onCursor: (index) => now.current.onCursor(index),
        }),
        now.current.data,
        element,
      );
      setDrawn(true);
    });
    return () => {
      gone = true;
      plot.current?.destroy();
      plot.current = undefined;
    };
  }, [ready, names, shape, height, scheme]);

  useEffect(() => plot.current?.setData(data), [data]);
  useEffect(() => plot.current?.setSize({ width, height }), [width, height]);

  return (
    <div ref={frame} className={classes.frame} style={{ height }}>
      {!drawn && <Skeleton height={height} />}
      <div
        ref={place}
        className={classes.plot}
        role="img"
        aria-label={`${title}. ${lines.map((line) => summary(line, begin, stepSeconds, format)).join(' ')}`}
      />
    </div>
  );
}

/** Times, then the values of each line, then the limits that are near. */
function aligned(lines: readonly ChartLine[], begin: number, step: number): uPlot.AlignedData {
  const length = Math.max(0, ...lines.map(({ values }) => values.length));
  const times = Array.from({ length }, (_, index) => begin + index * step);
  const limits = lines.flatMap(({ values, limit }) => {
    const most = Math.max(0, ...values.map((value) => value ?? 0));
    return limit != null && limit > 0 && most >= limit * NEAR ? [Array.from({ length }, () => limit)] : [];
  });
  return [times, ...lines.map(({ values }) => [...values]), ...limits];
}

interface Shape {
  names: string[];
  /** Times, lines and limits. */
  shape: number;
  height: number;
  width: number;
  dark: boolean;
  format: (value: number) => string;
  onCursor: (index: number | null) => void;
}

function options(UPlot: typeof uPlot, element: HTMLElement, shape: Shape): uPlot.Options {
  const style = getComputedStyle(element);
  const color = (name: string) => style.getPropertyValue(name).trim();
  const faint = shape.dark ? 'rgba(255,255,255,0.08)' : 'rgba(0,0,0,0.07)';
  const text = color('--mantine-color-dimmed');
  const font = `11px ${style.fontFamily}`;
  const curve = UPlot.paths.linear?.();
  const axis = { stroke: text, font, grid: { stroke: faint, width: 1 }, ticks: { show: false } };
  return {
    width: shape.width,
    height: shape.height,
    padding: [8, 24, 0, 0],
    legend: { show: false },
    cursor: {
      y: false,
      points: { size: 6 },
      drag: { x: false, y: false },
      sync: { key: 'usage' },
    },
    hooks: {
      setCursor: [
        (self) => {
          const index = self.cursor.idx;
          shape.onCursor(index === undefined || (self.cursor.left ?? -1) < 0 ? null : index);
        },
      ],
    },
    scales: { y: { range: (_, __, most) => [0, most > 0 ? most * 1.1 : 1] } },
    axes: [
      {
        ...axis,
        space: 70,
        size: 26,
        values: (_, ticks) => ticks.map((tick) => clock(tick)),
      },
      {
        ...axis,
        size: 74,
        space: 34,
        // Figures that are read as the same are told once.
        values: (_, ticks) =>
          ticks
            .map((tick) => (tick === 0 ? '0' : shape.format(tick)))
            .map((label, index, all) => (label === all[index - 1] ? '' : label)),
      },
    ],
    series: [
      {},
      ...Array.from({ length: shape.shape - 1 }, (_, index): uPlot.Series => {
        const label = shape.names[index];
        if (label === undefined) {
          return {
            label: 'limit',
            stroke: color('--mantine-color-red-6'),
            width: 1,
            dash: [4, 4],
            points: { show: false },
          };
        }
        const stroke = color(COLORS[index % COLORS.length] ?? COLORS[0]);
        return {
          label,
          stroke,
          width: 1.75,
          points: { show: false },
          ...(curve === undefined ? {} : { paths: curve }),
          ...(shape.names.length === 1 ? { fill: `color-mix(in srgb, ${stroke} 14%, transparent)` } : {}),
        };
      }),
    ],
  };
}
