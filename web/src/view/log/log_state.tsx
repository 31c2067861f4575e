/** Whether a log goes on, in words. */
import { Group, Loader } from '@mantine/core';

export type LogPhase = 'opening' | 'live' | 'away' | 'paused' | 'ended' | 'failed';

const WORDS: Record<LogPhase, string> = {
  opening: 'Opening the log…',
  live: 'Live: new lines appear by themselves',
  away: 'The connection is away, trying again…',
  paused: 'Paused while nobody looked',
  ended: 'The log has ended',
  failed: 'The log could not be read',
};

export function LogState({ phase }: { phase: LogPhase }) {
  return (
    <Group gap={6} wrap="nowrap" component="span" display="inline-flex">
      {(phase === 'opening' || phase === 'away') && <Loader size={10} aria-hidden />}
      {WORDS[phase]}
    </Group>
  );
}
