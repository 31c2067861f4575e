/**
 * A log of any length: follows, finds, copies, keeps its place. Shows what it is given; where lines come from is the
 * page's to know.
 */
import { ActionIcon, Button, Group, Loader, Text, TextInput, Tooltip, VisuallyHidden } from '@mantine/core';
import { useDebouncedValue, useLocalStorage } from '@mantine/hooks';
import {
  IconArrowBarToDown,
  IconCalendarTime,
  IconChevronDown,
  IconChevronUp,
  IconDownload,
  IconFilter,
  IconSearch,
  IconTextWrap,
} from '@tabler/icons-react';
import {
  type KeyboardEvent,
  type ReactNode,
  useCallback,
  useEffect,
  useMemo,
  useRef,
  useState,
  useSyncExternalStore,
} from 'react';
import { count } from '../../model/format';
import { asText, type LogBuffer, type LogLine, LogLines } from '../../model/log';
import classes from './log.module.css';
import { LogRow } from './log_row';
import { useLogSearch } from './use_log_search';
import { useLogSelection } from './use_log_selection';
import { useLogWindow } from './use_log_window';

export interface LogViewProps {
  log: LogBuffer;
  /** Whose log it is, for those who cannot see it: `Log of hello`. */
  label: string;
  /** Of the file that it is saved as, without its ending. */
  file: string;
  /** Whether lines arrive, in a word or two, below the lines. */
  state?: ReactNode;
  /** Instead of lines, while there are none. */
  empty?: ReactNode;
  /** What lines are narrowed by; must be stable. */
  passes?: ((line: LogLine) => boolean) | undefined;
  /** What is looked for at first, and told when it changes. */
  words?: string | undefined;
  onWords?: (words: string | undefined) => void;
  /** Say which pod a line is of. */
  showPod?: boolean;
  /** More to narrow it by. */
  children?: ReactNode;
  /** As CSS says it. */
  height?: string;
}

/** Between two words for a screen reader about new lines, in milliseconds. */
const SAY = 10_000;
const TYPING = 150;

const two = (n: number): string => String(n).padStart(2, '0');

function clock(ms: number, day: boolean): string {
  const at = new Date(ms);
  const time = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${String(at.getMilliseconds()).padStart(3, '0')}`;
  return day ? `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${time}` : time;
}

export function LogView(props: LogViewProps) {
  const { log, label, file, state, empty, passes, words: given, onWords, showPod = false, children, height } = props;
  const version = useSyncExternalStore(log.subscribe, log.snapshot);
  const [wrap, setWrap] = useLocalStorage({ key: 'log.wrap', defaultValue: true, getInitialValueInEffect: false });
  const [times, setTimes] = useLocalStorage({ key: 'log.times', defaultValue: true, getInitialValueInEffect: false });
  const [typed, setTyped] = useState(given ?? '');
  const [words] = useDebouncedValue(typed, TYPING);
  const [only, setOnly] = useState(false);
  const [expanded, setExpanded] = useState<ReadonlySet<number>>(new Set());
  const search = useLogSearch(log, version, passes, words);
  const every = useMemo(() => new LogLines(log, passes), [log, passes]);
  every.update();
  const lines = only && search.found !== undefined ? search.found : every;
  const field = useRef<HTMLInputElement>(null);

  const timed = times && (log.at(log.length - 1)?.timed ?? false);
  const day = timed && !isToday(lines.at(0)?.ms);
  const narrow = typeof window !== 'undefined' && window.innerWidth < 768;
  const gutter = (timed ? (day ? 24 : 13) : 0) + (showPod && !narrow ? 23 : 0);
  const scroll = useRef<HTMLDivElement>(null);
  const selection = useLogSelection(scroll, lines);
  const window_ = useLogWindow(scroll, lines, { wrap, gutter, expanded, pinned: selection.pinned });
  const { follow, setFollow, reveal, redraw } = window_;

  const step = (by: 1 | -1) => {
    const line = search.step(by);
    if (line !== undefined) reveal(line);
  };
  const type = (text: string) => {
    setTyped(text);
    onWords?.(text === '' ? undefined : text);
  };
  const onExpand = useCallback(
    (id: number) => {
      setExpanded((was) => {
        const next = new Set(was);
        if (!next.delete(id)) next.add(id);
        return next;
      });
      setFollow(false);
      redraw();
    },
    [redraw, setFollow],
  );

  const onKeyDown = (event: KeyboardEvent) => {
    const mod = event.ctrlKey || event.metaKey;
    if (mod && event.key === 'a') selection.selectAll();
    else if ((mod && event.key === 'f') || event.key === '/') field.current?.focus();
    else if (event.key === 'End') setFollow(true);
    else if (event.key === 'Home') scroll.current?.scrollTo({ top: 0, behavior: 'instant' });
    else if (event.key === 'Escape') selection.clear();
    else if (event.key === 'F3') step(event.shiftKey ? -1 : 1);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };

  return (
    <section
      className={classes.frame}
      style={{ height: height ?? 'max(360px, calc(100dvh - 300px))' }}
      aria-label={label}
    >
      <div className={classes.tools}>
        <TextInput
          ref={field}
          size="xs"
          aria-label="Find in the log"
          placeholder="Find"
          leftSection={search.busy ? <Loader size={12} /> : <IconSearch size={14} />}
          value={typed}
          onChange={(event) => type(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key === 'Enter') step(event.shiftKey ? 1 : -1);
            if (event.key === 'Escape') type('');
          }}
          style={{ flex: '1 1 150px' }}
          maw={280}
          maxLength={500}
        />
        {words !== '' && (
          <Group gap={4} wrap="nowrap">
            <Text size="xs" c="dimmed" role="status" miw={64}>
              {found(search.place, search.found?.length ?? 0)}
            </Text>
            <Tool label="Earlier one (Enter)" onClick={() => step(-1)} icon={<IconChevronUp size={16} />} />
            <Tool label="Later one (Shift Enter)" onClick={() => step(1)} icon={<IconChevronDown size={16} />} />
            <Tool
              label="Only lines that have it"
              onClick={() => setOnly(!only)}
              pressed={only}
              icon={<IconFilter size={16} />}
            />
          </Group>
        )}
        {children}
        <Group gap={4} ml="auto" wrap="nowrap">
          <Tool label="Times" onClick={() => setTimes(!times)} pressed={times} icon={<IconCalendarTime size={16} />} />
          <Tool
            label="Break long lines"
            onClick={() => setWrap(!wrap)}
            pressed={wrap}
            icon={<IconTextWrap size={16} />}
          />
          <Tool
            label="Save as a file"
            onClick={() => save(lines, file)}
            disabled={lines.length === 0}
            icon={<IconDownload size={16} />}
          />
          <Tool
            label="Stay at the newest line"
            onClick={() => setFollow(!follow)}
            pressed={follow}
            icon={<IconArrowBarToDown size={16} />}
          />
        </Group>
      </div>
      <div
        ref={scroll}
        className={classes.scroll}
        onScroll={window_.onScroll}
        onKeyDown={onKeyDown}
        onCopy={selection.onCopy}
        onMouseDown={selection.clear}
        role="log"
        aria-label={label}
        aria-live="off"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: it is scrolled with the keyboard
        tabIndex={0}
      >
        <span ref={window_.probe} className={classes.probe} aria-hidden>
          {'0'.repeat(100)}
        </span>
        <div
          className={classes.lines}
          data-all={selection.all || undefined}
          style={{
            height: window_.height,
            width: wrap ? undefined : `calc(${(log.widest + gutter) * window_.cell}px + 24px)`,
            ['--log-width' as string]: `${window_.textWidth}px`,
          }}
        >
          {window_.shown.map((row) => (
            <LogRow
              key={row.line.id}
              line={row.line}
              top={row.top}
              height={row.height}
              wrap={wrap}
              time={timed ? (row.line.timed ? clock(row.line.ms, day) : ' '.repeat(day ? 23 : 12)) : undefined}
              showPod={showPod}
              pattern={search.pattern}
              current={search.current?.id === row.line.id}
              expanded={expanded.has(row.line.id)}
              onExpand={onExpand}
            />
          ))}
        </div>
      </div>
      {lines.length === 0 && (
        <div className={classes.empty}>
          {log.length > 0 ? 'No line passes what you narrowed the log by.' : (empty ?? 'Nothing was logged yet.')}
        </div>
      )}
      {!follow && lines.length > 0 && <Newest log={log} onClick={() => setFollow(true)} />}
      <div className={classes.foot}>
        <span>{state}</span>
        <span>
          {lines.length === log.length
            ? count(log.length, 'line')
            : `${lines.length.toLocaleString()} of ${count(log.length, 'line')}`}
          {log.dropped > 0 && ', older ones were let go'}
        </span>
      </div>
      <Announcer log={log} />
    </section>
  );
}

function found(place: number, of: number): string {
  if (of === 0) return 'Not found';
  return place < 0 ? count(of, 'line') : `${(place + 1).toLocaleString()} of ${of.toLocaleString()}`;
}

function isToday(ms: number | undefined): boolean {
  return ms === undefined || new Date(ms).toDateString() === new Date().toDateString();
}

function Tool(props: { label: string; onClick: () => void; pressed?: boolean; disabled?: boolean; icon: ReactNode }) {
  const { label, onClick, pressed, disabled = false, icon } = props;
  return (
    <Tooltip label={label}>
      <ActionIcon
        size="md"
        variant={pressed ? 'light' : 'subtle'}
        {...(pressed ? {} : { color: 'gray' })}
        onClick={onClick}
        aria-label={label}
        aria-pressed={pressed}
        disabled={disabled}
      >
        {icon}
      </ActionIcon>
    </Tooltip>
  );
}

/** The way back to the end, and how much came since. */
function Newest({ log, onClick }: { log: LogBuffer; onClick: () => void }) {
  const [before] = useState(() => log.dropped + log.length);
  const more = log.dropped + log.length - before;
  return (
    <div className={classes.newest}>
      <Button size="xs" radius="xl" leftSection={<IconArrowBarToDown size={14} />} onClick={onClick}>
        Jump to newest{more > 0 && ` (${count(more, 'new line')})`}
      </Button>
    </div>
  );
}

/** Says now and then how many lines came: each of them would be a flood. */
function Announcer({ log }: { log: LogBuffer }) {
  const [said, setSaid] = useState('');
  useEffect(() => {
    let before = log.dropped + log.length;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const say = () => {
      timer = undefined;
      const now = log.dropped + log.length;
      if (now > before) setSaid(`${count(now - before, 'new line')} in the log`);
      before = now;
    };
    const stop = log.subscribe(() => {
      timer ??= setTimeout(say, SAY);
    });
    return () => {
      stop();
      clearTimeout(timer);
    };
  }, [log]);
  return (
    <VisuallyHidden role="status" aria-live="polite">
      {said}
    </VisuallyHidden>
  );
}

/** Lines go into the file in parts, so that there is never one string of all of them. */
function save(lines: LogLines, name: string): void {
  const parts: string[] = [];
  for (let i = 0; i < lines.length; i += 1) {
    const line = lines.at(i);
    if (line !== undefined) parts.push(asText(line, 'whole'), '\n');
  }
  const url = URL.createObjectURL(new Blob(parts, { type: 'text/plain' }));
  const link = document.createElement('a');
  link.href = url;
  link.download = `${name}.log`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
