/** A terminal in a pod: what to run, the screen, and what to do when the session ended. */
import { Button, Group, Loader, Switch, Text, useComputedColorScheme } from '@mantine/core';
import { useLocalStorage } from '@mantine/hooks';
import { IconPlugConnected, IconRefresh } from '@tabler/icons-react';
import { lazy, type ReactNode, Suspense, useRef, useState } from 'react';
import { type ExecEnd, type ExecHandlers, type ExecSession, isMissing, type TerminalSize } from '../model/exec';
import { Loading } from './page';
import classes from './terminal.module.css';

const TerminalScreen = lazy(() => import('./terminal_screen'));

export interface TerminalViewProps {
  /** `Terminal in hello-web-1`. */
  label: string;
  /** Starts a session; a new one for each `session` that the reader asks for. */
  open: (size: TerminalSize, handlers: ExecHandlers) => ExecSession;
  /** Why it could not be opened, in words; asked for when it could not. */
  why: () => Promise<string>;
  /** The program is not in the image; gives whether something else is tried. */
  onMissing: () => boolean;
  /** Choices of pod and program. */
  children?: ReactNode;
}

type Phase = { at: 'opening' } | { at: 'open' } | { at: 'ended'; words: string; error: boolean };

/** A program that is not there ends so soon, in milliseconds. */
const AT_ONCE = 5000;

export function TerminalView({ label, open, why, onMissing, children }: TerminalViewProps) {
  const scheme = useComputedColorScheme('light');
  const [screenReader, setScreenReader] = useLocalStorage({
    key: 'terminal.reader',
    defaultValue: false,
    getInitialValueInEffect: false,
  });
  const [session, setSession] = useState(0);
  const [phase, setPhase] = useState<Phase>({ at: 'opening' });
  const tools = useRef<HTMLDivElement>(null);

  const again = () => {
    setPhase({ at: 'opening' });
    setSession((n) => n + 1);
  };
  const ended = (end: ExecEnd, lived: number) => {
    if (isMissing(end) && lived < AT_ONCE && onMissing()) return;
    setPhase({ at: 'ended', words: wordsOf(end), error: end.how !== 'exit' || end.code !== 0 });
    if (end.how === 'broken' && !end.opened)
      void why().then((words) => setPhase((now) => (now.at === 'ended' ? { at: 'ended', words, error: true } : now)));
  };

  return (
    <section className={classes.frame} aria-label={label}>
      <div className={classes.tools} ref={tools}>
        {children}
        <Group gap="xs" ml="auto">
          <Switch
            size="xs"
            label="Read aloud"
            title="Tells a screen reader what is printed. It makes the terminal slower."
            checked={screenReader}
            onChange={(event) => setScreenReader(event.currentTarget.checked)}
          />
          <Button size="xs" variant="default" leftSection={<IconRefresh size={14} />} onClick={again}>
            New session
          </Button>
        </Group>
      </div>
      <Suspense fallback={<Loading rows={3} />}>
        <TerminalScreen
          key={session}
          label={label}
          scheme={scheme}
          screenReader={screenReader}
          open={open}
          onOpen={() => setPhase({ at: 'open' })}
          onEnd={ended}
          onLeave={() => tools.current?.querySelector<HTMLElement>('button, input')?.focus()}
        />
      </Suspense>
      {phase.at === 'ended' && (
        <Group className={classes.end} justify="space-between" role="status">
          <Text size="sm" {...(phase.error ? { c: 'red' } : {})}>
            {phase.words}
          </Text>
          <Button size="xs" leftSection={<IconPlugConnected size={14} />} onClick={again} autoFocus>
            Connect again
          </Button>
        </Group>
      )}
      <div className={classes.foot}>
        {phase.at === 'opening' ? (
          <Group gap={6}>
            <Loader size={10} aria-hidden /> Connecting…
          </Group>
        ) : phase.at === 'open' ? (
          'Connected. Ctrl C copies what is selected, Ctrl V pastes, Shift F6 leaves the terminal.'
        ) : (
          'The session has ended. What was running in it has ended too.'
        )}
      </div>
    </section>
  );
}

function wordsOf(end: ExecEnd): string {
  if (end.how === 'problem') return `${end.problem.detail} (code ${end.problem.code})`;
  if (end.how === 'broken')
    return end.opened
      ? 'The connection broke. The shell is gone; a new session begins a new one.'
      : 'The terminal could not be opened.';
  if (isMissing(end)) return 'This program is not in the pod’s image. Some images have no shell at all.';
  return end.code === 0 ? 'The session has ended.' : `The session has ended with exit status ${end.code}.`;
}
