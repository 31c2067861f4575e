/** Releases: why one failed, what is different between two, and what somebody wants to bring to another app. */
import { Alert, Button, Group, ScrollArea, Select, Stack, Text, Title, VisuallyHidden } from '@mantine/core';
import { IconAlertCircle, IconEqual } from '@tabler/icons-react';
import { type ReactNode, useState } from 'react';
import { logWords } from '../model/log_words';
import type { AppRef } from '../model/objects';
import type { Difference, DifferenceGroup } from '../model/release';
import type { Release } from '../model/schema';
import { ProblemAlert } from './page';
import classes from './release.module.css';

/** The last lines that a release printed before it failed, as text. */
export function LastLines({ lines }: { lines: readonly string[] }) {
  if (lines.length === 0) return null;
  return (
    <ScrollArea.Autosize
      mah={260}
      type="auto"
      viewportProps={{ tabIndex: 0, role: 'region', 'aria-label': 'The last lines of its log' }}
    >
      <pre className={classes.lines}>{logWords(lines)}</pre>
    </ScrollArea.Autosize>
  );
}

export function FailedRelease({ release, children }: { release: Release; children?: ReactNode }) {
  const { reason, log } = release.status;
  return (
    <Alert
      role="alert"
      color="red"
      icon={<IconAlertCircle />}
      title={`Release v${release.spec.number} failed`}
      styles={{ message: { minWidth: 0 }, body: { minWidth: 0 } }}
    >
      <Stack gap="xs">
        <Text size="sm" style={{ overflowWrap: 'anywhere', whiteSpace: 'pre-wrap' }}>
          {reason ?? 'It did not become healthy.'}
        </Text>
        <LastLines lines={log ?? []} />
        {children}
      </Stack>
    </Alert>
  );
}

/** What is different, from the left to the right. */
export function ReleaseDiff({ groups, same }: { groups: readonly DifferenceGroup[]; same: string }) {
  if (groups.length === 0) {
    return (
      <Group gap="xs">
        <IconEqual size={16} aria-hidden />
        <Text size="sm">{same}</Text>
      </Group>
    );
  }
  return (
    <Stack gap="md">
      {groups.map(({ title, differences }) => (
        <section key={title} aria-label={title}>
          <Title order={3} size="h6" mb={6}>
            {title}
          </Title>
          <ul className={classes.differences}>
            {differences.map((difference) => (
              <DifferenceRow key={difference.what} difference={difference} />
            ))}
          </ul>
        </section>
      ))}
    </Stack>
  );
}

function DifferenceRow({ difference: { what, before, after } }: { difference: Difference }) {
  return (
    <li className={classes.difference}>
      <span className={classes.what}>{what}</span>
      <div className={classes.values}>
        {before !== null && (
          <span className={classes.before}>
            <VisuallyHidden>was </VisuallyHidden>
            {before === '' ? 'empty' : before}
          </span>
        )}
        {after !== null && (
          <span className={classes.after}>
            <VisuallyHidden>is </VisuallyHidden>
            {after === '' ? 'empty' : after}
          </span>
        )}
        {after === null && <span className={classes.note}>not set any more</span>}
        {before === null && <span className={classes.note}>new</span>}
      </div>
    </li>
  );
}

export interface PromoteFormProps {
  release: number;
  /** Where it may go: apps in which the caller may release. */
  targets: readonly AppRef[];
  busy: boolean;
  error: unknown;
  onPromote: (to: AppRef) => void;
  onClose: () => void;
}

const keyOf = ({ project, app }: AppRef) => `${project}/${app}`;

export function PromoteForm({ release, targets, busy, error, onPromote, onClose }: PromoteFormProps) {
  const [chosen, setChosen] = useState<string | null>(null);
  const to = targets.find((target) => keyOf(target) === chosen);
  const projects = [...new Set(targets.map(({ project }) => project))];
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (to !== undefined) onPromote(to);
      }}
    >
      <Stack>
        <Text size="sm">
          The other app gets the very image of v{release} and its processes, with the other app’s own variables. So what
          was tried here is what runs there.
        </Text>
        {targets.length === 0 ? (
          <Text size="sm" c="dimmed">
            There is no other app that you may release to. Make one first, for example with the same name in another
            project.
          </Text>
        ) : (
          <Select
            label="To which app"
            placeholder="Choose an app"
            data={projects.map((project) => ({
              group: `Project ${project}`,
              items: targets
                .filter((target) => target.project === project)
                .map((target) => ({ value: keyOf(target), label: target.app })),
            }))}
            value={chosen}
            onChange={setChosen}
            searchable={targets.length > 8}
            data-autofocus
          />
        )}
        {error != null && <ProblemAlert error={error} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button type="submit" loading={busy} disabled={to === undefined}>
            Promote
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
