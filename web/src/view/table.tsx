/**
 * A table of any length. Only the rows in sight are in the page, so that thousands scroll as smoothly as ten; all of
 * them are in its order and in what it tells a screen reader. Elements of a real table could not be left out so: hence
 * the roles (and the exceptions for this file in biome.json).
 */
import { VisuallyHidden } from '@mantine/core';
import { useMediaQuery } from '@mantine/hooks';
import { IconArrowDown, IconArrowUp } from '@tabler/icons-react';
import { useVirtualizer } from '@tanstack/react-virtual';
import { memo, type ReactNode, useMemo, useRef } from 'react';
import classes from './table.module.css';

export interface Column<T> {
  key: string;
  title: string;
  /** Shown instead of the title. */
  head?: ReactNode;
  /** As CSS grid wants it: `2fr`, `120px`. */
  width: string;
  cell: (row: T) => ReactNode;
  /** What rows are ordered by; a column without cannot be ordered by. */
  order?: (row: T) => string | number;
  /** Left out where there is no room. */
  wide?: boolean;
}

/** The column that rows are ordered by; `-` in front turns it round. It lives in the page's address. */
export type Order = string;

export interface TableProps<T> {
  label: string;
  rows: readonly T[];
  columns: readonly Column<T>[];
  rowKey: (row: T) => string;
  order?: Order | undefined;
  onOrder?: (order: Order) => void;
  rowHeight?: number;
  /** The most of the window's height that it takes, as CSS says it. */
  maxHeight?: string;
}

/** One for all comparisons: making one takes longer than a hundred of them. */
const NATURAL = new Intl.Collator(undefined, { numeric: true });

const ROW = 46;
const HEAD = 40;

export function DataTable<T>(props: TableProps<T>) {
  const { label, rows, columns: all, rowKey, order, onOrder, rowHeight = ROW, maxHeight = '70vh' } = props;
  const frame = useRef<HTMLDivElement>(null);
  const narrow = useMediaQuery('(max-width: 48em)') ?? false;
  const columns = useMemo(() => all.filter((column) => !(narrow && column.wide)), [all, narrow]);
  const sorted = useMemo(() => ordered(rows, all, order), [rows, all, order]);
  const virtual = useVirtualizer({
    count: sorted.length,
    getScrollElement: () => frame.current,
    estimateSize: () => rowHeight,
    overscan: 8,
    scrollMargin: HEAD,
  });
  const template = useMemo(() => columns.map((column) => `minmax(0, ${column.width})`).join(' '), [columns]);
  const height = HEAD + virtual.getTotalSize() + 2;
  return (
    <div
      ref={frame}
      className={classes.frame}
      style={{ height: `min(${height}px, ${maxHeight})` }}
      role="table"
      aria-label={label}
      aria-rowcount={sorted.length + 1}
      tabIndex={0}
    >
      <div className={classes.head} style={{ gridTemplateColumns: template }} role="row" aria-rowindex={1}>
        {columns.map((column) => (
          <HeadCell key={column.key} column={column} order={order} onOrder={onOrder} />
        ))}
      </div>
      <div className={classes.body} style={{ height: virtual.getTotalSize() }} role="rowgroup">
        {virtual.getVirtualItems().map((item) => {
          const row = sorted[item.index];
          if (row === undefined) return null;
          return (
            <BodyRow
              key={rowKey(row)}
              row={row}
              columns={columns}
              template={template}
              index={item.index}
              size={item.size}
              top={item.start - HEAD}
            />
          );
        })}
      </div>
    </div>
  );
}

interface BodyRowProps<T> {
  row: T;
  columns: readonly Column<T>[];
  template: string;
  index: number;
  size: number;
  top: number;
}

/** Drawn again only when something of it changed, not with each step of scrolling. */
const BodyRow = memo(function BodyRow<T>({ row, columns, template, index, size, top }: BodyRowProps<T>) {
  return (
    <div
      className={classes.item}
      style={{ gridTemplateColumns: template, height: size, transform: `translateY(${top}px)` }}
      role="row"
      aria-rowindex={index + 2}
    >
      {columns.map((column) => (
        <div key={column.key} className={classes.cell} role="cell">
          {column.cell(row)}
        </div>
      ))}
    </div>
  );
}) as <T>(props: BodyRowProps<T> & { key: string }) => ReactNode;

function HeadCell<T>(props: {
  column: Column<T>;
  order: Order | undefined;
  onOrder: ((o: Order) => void) | undefined;
}) {
  const { column, order, onOrder } = props;
  const up = order === column.key;
  const down = order === `-${column.key}`;
  const canOrder = column.order !== undefined && onOrder !== undefined;
  return (
    <div className={classes.cell} role="columnheader" aria-sort={up ? 'ascending' : down ? 'descending' : undefined}>
      {canOrder ? (
        <button type="button" className={classes.sort} onClick={() => onOrder(up ? `-${column.key}` : column.key)}>
          {column.title}
          {up && <IconArrowUp size={14} aria-hidden />}
          {down && <IconArrowDown size={14} aria-hidden />}
        </button>
      ) : (
        (column.head ?? (column.title === '' ? <VisuallyHidden>What can be done</VisuallyHidden> : column.title))
      )}
    </div>
  );
}

function ordered<T>(rows: readonly T[], columns: readonly Column<T>[], order: Order | undefined): readonly T[] {
  const key = order?.replace(/^-/, '');
  const value = columns.find((column) => column.key === key)?.order;
  if (value === undefined) return rows;
  const sign = order?.startsWith('-') ? -1 : 1;
  return [...rows].sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    const difference = typeof x === 'number' && typeof y === 'number' ? x - y : NATURAL.compare(String(x), String(y));
    return sign * difference;
  });
}
