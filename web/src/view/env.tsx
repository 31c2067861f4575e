/** Variables of an app: the table of them, and the dialog that takes a `.env` file over. */
import {
  ActionIcon,
  Alert,
  Badge,
  Button,
  Group,
  List,
  SegmentedControl,
  Stack,
  Switch,
  Text,
  Textarea,
  TextInput,
  Tooltip,
} from '@mantine/core';
import { IconArrowBackUp, IconLock, IconTrash } from '@tabler/icons-react';
import { useMemo, useState } from 'react';
import { looksSecret, type PastedVariable, readDotenv } from '../model/env';
import type { EnvDraft, EnvEditSort, EnvRow } from '../model/env_draft';
import { count } from '../model/format';
import classes from './env.module.css';

export interface EnvTableProps {
  rows: readonly EnvRow[];
  edits: ReadonlyMap<number, EnvEditSort>;
  problems: ReadonlyMap<number, string>;
  onRow: (id: number, change: Partial<Pick<EnvRow, 'name' | 'value' | 'secret' | 'typed'>>) => void;
  onRemove: (id: number) => void;
}

export function EnvTable({ rows, edits, problems, onRow, onRemove }: EnvTableProps) {
  return (
    <ul className={classes.rows} aria-label="Variables">
      {rows.map((row) => (
        <EnvLine
          key={row.id}
          row={row}
          edit={edits.get(row.id)}
          problem={problems.get(row.id)}
          onRow={onRow}
          onRemove={onRemove}
        />
      ))}
    </ul>
  );
}

/** More lines than that are not shown at once. */
const MOST_LINES = 8;

function EnvLine(props: {
  row: EnvRow;
  edit: EnvEditSort | undefined;
  problem: string | undefined;
  onRow: EnvTableProps['onRow'];
  onRemove: EnvTableProps['onRemove'];
}) {
  const { row, edit, problem, onRow, onRemove } = props;
  const label = row.name === '' ? 'the new variable' : row.name;
  const secretKept = row.secret && row.known && !row.typed;
  return (
    <li className={classes.row} data-edit={edit}>
      {row.known ? (
        <span className={classes.name}>{row.name}</span>
      ) : (
        <TextInput
          aria-label="Name"
          placeholder="NAME"
          size="xs"
          value={row.name}
          onChange={(event) => onRow(row.id, { name: event.currentTarget.value.trim() })}
          error={problem}
          spellCheck={false}
          autoComplete="off"
          autoCapitalize="off"
          styles={{ input: { fontFamily: 'var(--mantine-font-family-monospace)' } }}
        />
      )}
      <Textarea
        aria-label={`Value of ${label}`}
        placeholder={secretKept ? 'Secret: type to replace it' : 'empty'}
        size="xs"
        autosize
        minRows={1}
        maxRows={MOST_LINES}
        value={row.value}
        disabled={row.removed}
        onChange={(event) => onRow(row.id, { value: event.currentTarget.value, typed: true })}
        error={row.known ? problem : undefined}
        spellCheck={false}
        autoComplete="off"
        styles={{ input: { fontFamily: 'var(--mantine-font-family-monospace)' } }}
      />
      <Switch
        size="sm"
        mt={6}
        label="Secret"
        aria-label={`${label} is secret`}
        checked={row.secret}
        disabled={row.removed}
        onChange={(event) => onRow(row.id, { secret: event.currentTarget.checked })}
      />
      <Tooltip label={row.removed ? 'Keep it' : 'Remove it'}>
        <ActionIcon
          variant="subtle"
          color="gray"
          size={30}
          onClick={() => onRemove(row.id)}
          aria-label={row.removed ? `Keep ${label}` : `Remove ${label}`}
        >
          {row.removed ? <IconArrowBackUp size={16} /> : <IconTrash size={16} />}
        </ActionIcon>
      </Tooltip>
    </li>
  );
}

export interface SaveBarProps {
  changes: readonly EnvEditSort[];
  wrong: boolean;
  busy: boolean;
  /** Does a save make a release? Without one so far it does not. */
  releases: boolean;
  onSave: () => void;
  onDiscard: () => void;
}

export function SaveBar({ changes, wrong, busy, releases, onSave, onDiscard }: SaveBarProps) {
  const of = (sort: EnvEditSort) => changes.filter((change) => change === sort).length;
  const words = [
    of('add') > 0 && `${of('add')} new`,
    of('change') > 0 && `${of('change')} changed`,
    of('remove') > 0 && `${of('remove')} removed`,
  ].filter(Boolean);
  return (
    <Group className={classes.save} justify="space-between" role="region" aria-label="Changes that are not saved">
      <div>
        <Text size="sm" fw={600} role="status">
          Not saved yet: {words.join(', ')}
        </Text>
        <Text size="xs" c="dimmed">
          {releases
            ? 'Saving makes one new release with all of it; the app restarts with it.'
            : 'They count from the first release on.'}
        </Text>
      </div>
      <Group gap="xs">
        <Button variant="default" size="sm" onClick={onDiscard} disabled={busy}>
          Discard
        </Button>
        <Button size="sm" onClick={onSave} loading={busy} disabled={wrong}>
          Save
        </Button>
      </Group>
    </Group>
  );
}

const SORTS: Record<EnvEditSort | 'same', { color: string; word: string }> = {
  add: { color: 'green', word: 'new' },
  change: { color: 'blue', word: 'changed' },
  remove: { color: 'red', word: 'removed' },
  same: { color: 'gray', word: 'as it is' },
};

/** So many problems of a pasted file are told. */
const MOST_PROBLEMS = 12;

export interface PasteFormProps {
  draft: EnvDraft;
  /** Takes over what is chosen; nothing is saved by it. */
  onTake: (variables: (PastedVariable & { secret: boolean })[]) => void;
  onClose: () => void;
}

export function PasteForm({ draft, onTake, onClose }: PasteFormProps) {
  const [text, setText] = useState('');
  const [guess, setGuess] = useState<'guess' | 'plain' | 'secret'>('guess');
  const { variables, problems } = useMemo(() => readDotenv(text), [text]);
  const read = variables.map((variable) => {
    const there = draft.rows.find((row) => row.name === variable.name && !row.removed);
    const kept = there?.secret ?? false;
    const secret = kept || guess === 'secret' || (guess === 'guess' && looksSecret(variable.name, variable.value));
    // Another value of a secret cannot be told from the same one.
    const same = there !== undefined && !kept && there.value === variable.value && there.secret === secret;
    const sort: EnvEditSort | 'same' = there === undefined ? 'add' : same ? 'same' : 'change';
    return { ...variable, secret, sort, before: there === undefined || kept ? undefined : there.value };
  });
  const changes = read.filter(({ sort }) => sort !== 'same');
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (changes.length > 0) onTake(changes);
      }}
    >
      <Stack>
        <Textarea
          label="Contents of a .env file"
          description="NAME=value on each line. Quotes, comments and values over several lines are understood. It stays in this browser until you save."
          placeholder={'# comment\nGREETING="Hello there"\nAPI_TOKEN=…'}
          autosize
          minRows={5}
          maxRows={10}
          value={text}
          onChange={(event) => setText(event.currentTarget.value)}
          onDrop={(event) => {
            const [file] = event.dataTransfer.files;
            if (file === undefined) return;
            event.preventDefault();
            void file.text().then(setText);
          }}
          spellCheck={false}
          autoComplete="off"
          data-autofocus
          styles={{ input: { fontFamily: 'var(--mantine-font-family-monospace)', fontSize: 12 } }}
        />
        <Group gap="xs">
          <Text size="sm">Secret:</Text>
          <SegmentedControl
            size="xs"
            aria-label="Which variables are secret"
            data={[
              { value: 'guess', label: 'those that look so' },
              { value: 'secret', label: 'all' },
              { value: 'plain', label: 'none' },
            ]}
            value={guess}
            onChange={(value) => setGuess(value === 'plain' || value === 'secret' ? value : 'guess')}
          />
        </Group>
        {text.trim() !== '' && problems.length > 0 && (
          <Alert color="orange" title={count(problems.length, 'line needs a look', 'lines need a look')}>
            <List size="xs">
              {problems.slice(0, MOST_PROBLEMS).map(({ line, message }) => (
                <List.Item key={`${line} ${message}`} style={{ overflowWrap: 'anywhere' }}>
                  Line {line}: {message}
                </List.Item>
              ))}
            </List>
            {problems.length > MOST_PROBLEMS && <Text size="xs">And {problems.length - MOST_PROBLEMS} more.</Text>}
          </Alert>
        )}
        {read.length > 0 && (
          <section aria-label="What would change">
            <Text size="sm" fw={600} mb={4} role="status">
              {count(changes.length, 'variable')} would change; {read.length - changes.length} stay as they are
            </Text>
            <ul className={classes.preview}>
              {read.map(({ name, value, secret, sort, before }) => (
                <li key={name} className={classes.pasted}>
                  <Badge color={SORTS[sort].color} size="sm">
                    {SORTS[sort].word}
                  </Badge>
                  <span className={classes.text} title={name}>
                    {name}
                  </span>
                  <span className={classes.text} title={secret ? undefined : value}>
                    {secret ? '••••••' : sort === 'change' && before !== undefined ? `${before} → ${value}` : value}
                  </span>
                  {secret ? <IconLock size={14} aria-label="secret" /> : <span />}
                </li>
              ))}
            </ul>
          </section>
        )}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button type="submit" disabled={changes.length === 0}>
            Take over {changes.length > 0 && changes.length}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

/** What the newest variables are, where they are not what the draft began with. */
export function ChangedMeanwhile(props: { names: readonly string[]; mine: readonly string[]; onTake: () => void }) {
  const { names, mine, onTake } = props;
  const both = names.some((name) => mine.includes(name));
  return (
    <Alert color="orange" title="Somebody else changed this app" role="alert">
      <Stack gap="xs" align="flex-start">
        <Text size="sm" style={{ overflowWrap: 'anywhere' }}>
          {names.length === 0
            ? 'Another setting of this app was changed while you were typing.'
            : `Variables that changed meanwhile: ${names.slice(0, 20).join(', ')}${names.length > 20 ? ' and more' : ''}.`}{' '}
          What you typed is still here{both ? ', and counts where both of you changed the same variable' : ''}.
        </Text>
        <Button size="xs" variant="default" onClick={onTake}>
          Take the newest and keep mine
        </Button>
      </Stack>
    </Alert>
  );
}
