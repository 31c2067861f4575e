/** JSON that can be folded. Whatever it holds is shown as text. */
import { Button, CopyButton, Group } from '@mantine/core';
import { IconCheck, IconCopy } from '@tabler/icons-react';
import { useMemo, useState } from 'react';
import classes from './json.module.css';

/** Anything that `JSON.parse` gives. */
type Json = unknown;

/** Open at first, so many levels deep. */
const OPEN = 2;
/** Members of one list or object that are shown at first. */
const SHOWN = 200;

export function JsonView({ value, label }: { value: Json; label: string }) {
  const text = useMemo(() => JSON.stringify(value, null, 2), [value]);
  // All are opened or closed by making the tree anew.
  const [depth, setDepth] = useState({ open: OPEN, version: 0 });
  const set = (open: number) => setDepth(({ version }) => ({ open, version: version + 1 }));
  return (
    <section aria-label={label}>
      <Group gap="xs" mb="xs">
        <CopyButton value={text}>
          {({ copied, copy }) => (
            <Button
              size="xs"
              variant="default"
              leftSection={copied ? <IconCheck size={14} /> : <IconCopy size={14} />}
              onClick={copy}
            >
              {copied ? 'Copied' : 'Copy all'}
            </Button>
          )}
        </CopyButton>
        <Button size="xs" variant="subtle" onClick={() => set(50)}>
          Open all
        </Button>
        <Button size="xs" variant="subtle" onClick={() => set(1)}>
          Close all
        </Button>
      </Group>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it is scrolled with the keyboard */}
      <div className={classes.box} tabIndex={0}>
        <Branch key={depth.version} name={undefined} value={value} open={depth.open} />
      </div>
    </section>
  );
}

function Branch({ name, value, open }: { name: string | undefined; value: Json; open: number }) {
  const [opened, setOpened] = useState(open > 0);
  const [shown, setShown] = useState(SHOWN);
  const label = name === undefined ? null : <span className={classes.name}>{name}: </span>;
  if (value === null || typeof value !== 'object') {
    return (
      <div className={classes.leaf}>
        {label}
        <span className={classes[typeof value]}>{JSON.stringify(value) ?? ''}</span>
      </div>
    );
  }
  const members: (readonly [string, Json])[] = Array.isArray(value)
    ? value.map((member: unknown, index) => [String(index), member] as const)
    : Object.entries(value);
  const marks = Array.isArray(value) ? '[]' : '{}';
  if (members.length === 0) {
    return (
      <div className={classes.leaf}>
        {label}
        {marks}
      </div>
    );
  }
  return (
    <details open={opened} onToggle={(event) => setOpened(event.currentTarget.open)}>
      <summary>
        {label}
        <span className={classes.size}>
          {marks[0]}
          {members.length}
          {marks[1]}
        </span>
      </summary>
      {opened && (
        <div className={classes.members}>
          {members.slice(0, shown).map(([key, member]) => (
            <Branch key={key} name={key} value={member} open={open - 1} />
          ))}
          {members.length > shown && (
            <Button size="compact-xs" variant="subtle" onClick={() => setShown(shown + 1000)}>
              Show more of {members.length.toLocaleString()}
            </Button>
          )}
        </div>
      )}
    </details>
  );
}
