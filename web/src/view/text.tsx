/** Small pieces of text that need care: moments, things to copy, figures. */
import { ActionIcon, Code, CopyButton, Group, Text, Tooltip } from '@mantine/core';
import { IconCheck, IconCopy } from '@tabler/icons-react';
import { useSyncExternalStore } from 'react';
import { ago, when } from '../model/format';

/** One clock for all moments on the page, in milliseconds. */
const TICK = 5000;
const listeners = new Set<() => void>();
let timer: ReturnType<typeof setInterval> | undefined;
let now = Date.now();

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  timer ??= setInterval(() => {
    now = Date.now();
    for (const tell of listeners) tell();
  }, TICK);
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) {
      clearInterval(timer);
      timer = undefined;
    }
  };
}

/** The time, renewed every few seconds while somebody looks. */
export function useNow(): number {
  return useSyncExternalStore(subscribe, () => now);
}

/** How long ago something was; the exact moment on hover. */
export function Ago({ at, size = 'sm' }: { at: string | null | undefined; size?: 'xs' | 'sm' }) {
  const time = useNow();
  if (at === null || at === undefined) return <span>–</span>;
  return (
    <Tooltip label={when(at)}>
      <Text component="time" dateTime={at} size={size} span>
        {ago(at, Math.max(time, Date.now() - TICK))}
      </Text>
    </Tooltip>
  );
}

/** Text that people take elsewhere: an address, a digest, a command. */
export function Copyable({ value, shown, label = 'Copy' }: { value: string; shown?: string; label?: string }) {
  return (
    <Group gap={4} wrap="nowrap" component="span" display="inline-flex" maw="100%">
      <Code style={{ overflowWrap: 'anywhere' }}>{shown ?? value}</Code>
      <CopyButton value={value}>
        {({ copied, copy }) => (
          <Tooltip label={copied ? 'Copied' : label}>
            <ActionIcon variant="subtle" color="gray" size="sm" onClick={copy} aria-label={copied ? 'Copied' : label}>
              {copied ? <IconCheck size={14} /> : <IconCopy size={14} />}
            </ActionIcon>
          </Tooltip>
        )}
      </CopyButton>
    </Group>
  );
}
