/** What an app is to be: its name, processes and variables. Everything that is there may stay as it is. */
import {
  ActionIcon,
  Button,
  Card,
  Checkbox,
  Code,
  Group,
  NumberInput,
  Stack,
  Text,
  TextInput,
  Title,
  Tooltip,
} from '@mantine/core';
import { IconPlus, IconTrash } from '@tabler/icons-react';
import type { ReactNode } from 'react';
import { type Wish, type WishedProcess, type WishedVariable, withPasted } from '../model/source';
import { Hint } from './hint';
import classes from './run_form.module.css';

export interface RunFormProps {
  wish: Wish;
  onWish: (wish: Wish) => void;
  faults: Record<string, string>;
  /** Where it will be reached. */
  address: string | undefined;
  /** The command that stands in the image itself, and is not known here. */
  ownCommand: string;
  /** Beside the name: what it means that there is an app of this name. */
  note?: ReactNode;
}

export function RunForm(props: RunFormProps) {
  const { wish, onWish, faults, address, note } = props;
  const setProcess = (index: number, change: Partial<WishedProcess>) =>
    onWish({ ...wish, processes: wish.processes.map((it, at) => (at === index ? { ...it, ...change } : it)) });
  const setVariable = (id: number, change: Partial<WishedVariable>) =>
    onWish({ ...wish, env: wish.env.map((it) => (it.id === id ? { ...it, ...change } : it)) });
  const nextId = Math.max(0, ...wish.env.map(({ id }) => id)) + 1;
  return (
    <Stack gap="md">
      <Card>
        <Stack gap="xs">
          <TextInput
            label="Name of the app"
            value={wish.app}
            onChange={(event) => onWish({ ...wish, app: event.currentTarget.value.toLowerCase() })}
            error={faults.app}
            maw={420}
            autoComplete="off"
            spellCheck={false}
            required
          />
          {faults.app === undefined && address !== undefined && (
            <Text size="sm" c="dimmed" style={{ overflowWrap: 'anywhere' }}>
              People will reach it at <Code>{address}</Code>
            </Text>
          )}
          {note}
        </Stack>
      </Card>
      <Card>
        <Stack gap="sm">
          <Group gap={6}>
            <Title order={2} size="h5">
              Processes
            </Title>
            <Hint about="a process">
              A process is a program of your app that is kept running, in as many pods (copies) as you like. The one
              called web gets the requests; others work in the background.
            </Hint>
          </Group>
          {wish.processes.map((process, index) => (
            <ProcessRow
              // biome-ignore lint/suspicious/noArrayIndexKey: the name is what is typed here
              key={index}
              process={process}
              fault={faults[`process.${index}`]}
              ownCommand={props.ownCommand}
              onChange={(change) => setProcess(index, change)}
              onRemove={() => onWish({ ...wish, processes: wish.processes.filter((_, at) => at !== index) })}
            />
          ))}
          <Group>
            <Button
              variant="subtle"
              size="compact-sm"
              leftSection={<IconPlus size={14} />}
              onClick={() =>
                onWish({
                  ...wish,
                  processes: [
                    ...wish.processes,
                    { name: 'worker', command: '', port: undefined, replicas: 1, given: false },
                  ],
                })
              }
            >
              Add a process
            </Button>
          </Group>
        </Stack>
      </Card>
      <Card>
        <Stack gap="sm">
          <Group gap={6}>
            <Title order={2} size="h5">
              Environment
            </Title>
            <Hint about="the environment">
              Variables are settings that your app reads when it starts, such as the address of a database. Secret ones
              are kept sealed, and nobody can read them here afterwards.
            </Hint>
          </Group>
          {wish.env.length === 0 && (
            <Text size="sm" c="dimmed">
              No variables. Most apps run without any.
            </Text>
          )}
          {wish.env.map((variable) => (
            <VariableRow
              key={variable.id}
              variable={variable}
              fault={faults[`env.${variable.id}`]}
              onChange={(change) => setVariable(variable.id, change)}
              onPaste={(text) => onWish(withPasted(wish, text))}
              onRemove={() => onWish({ ...wish, env: wish.env.filter(({ id }) => id !== variable.id) })}
            />
          ))}
          <Group>
            <Button
              variant="subtle"
              size="compact-sm"
              leftSection={<IconPlus size={14} />}
              onClick={() =>
                onWish({
                  ...wish,
                  env: [...wish.env, { id: nextId, name: '', value: '', secret: false, given: false }],
                })
              }
            >
              Add a variable
            </Button>
          </Group>
        </Stack>
      </Card>
    </Stack>
  );
}

function ProcessRow(props: {
  process: WishedProcess;
  fault: string | undefined;
  ownCommand: string;
  onChange: (change: Partial<WishedProcess>) => void;
  onRemove: () => void;
}) {
  const { process, fault, onChange } = props;
  return (
    <div className={classes.process}>
      <TextInput
        label="Process"
        value={process.name}
        onChange={(event) => onChange({ name: event.currentTarget.value })}
        readOnly={process.given}
        variant={process.given ? 'filled' : 'default'}
        error={fault}
      />
      <TextInput
        label="Command"
        value={process.command}
        placeholder={process.given ? props.ownCommand : 'python3 worker.py'}
        onChange={(event) => onChange({ command: event.currentTarget.value })}
        spellCheck={false}
        styles={{ input: { fontFamily: 'var(--mantine-font-family-monospace)' } }}
      />
      <NumberInput
        label="Port"
        value={process.port ?? ''}
        placeholder={process.name === 'web' ? 'automatic' : 'none'}
        onChange={(value) => onChange({ port: typeof value === 'number' ? value : undefined })}
        min={1}
        max={65_535}
        allowDecimal={false}
        hideControls
      />
      <NumberInput
        label="Pods"
        value={process.replicas}
        onChange={(value) => onChange({ replicas: typeof value === 'number' ? value : 1 })}
        min={0}
        max={100}
        allowDecimal={false}
      />
      {!process.given && (
        <Tooltip label="Remove this process">
          <ActionIcon
            variant="subtle"
            color="gray"
            mt={28}
            onClick={props.onRemove}
            aria-label={`Remove the process ${process.name}`}
          >
            <IconTrash size={16} />
          </ActionIcon>
        </Tooltip>
      )}
    </div>
  );
}

function VariableRow(props: {
  variable: WishedVariable;
  fault: string | undefined;
  onChange: (change: Partial<WishedVariable>) => void;
  /** Lines of a `.env` were pasted into the name. */
  onPaste: (text: string) => void;
  onRemove: () => void;
}) {
  const { variable, fault, onChange } = props;
  const mono = { input: { fontFamily: 'var(--mantine-font-family-monospace)' } };
  return (
    <div className={classes.variable}>
      <TextInput
        aria-label="Name of the variable"
        placeholder="NAME, or paste a .env"
        onPaste={(event) => {
          const text = event.clipboardData.getData('text');
          if (!text.includes('=')) return;
          event.preventDefault();
          props.onPaste(text);
        }}
        value={variable.name}
        onChange={(event) => onChange({ name: event.currentTarget.value })}
        readOnly={variable.given}
        variant={variable.given ? 'filled' : 'default'}
        error={fault}
        spellCheck={false}
        styles={mono}
      />
      <TextInput
        aria-label={`Value of ${variable.name || 'the variable'}`}
        placeholder="value"
        value={variable.value}
        type={variable.secret ? 'password' : 'text'}
        autoComplete="off"
        onChange={(event) => onChange({ value: event.currentTarget.value })}
        spellCheck={false}
        styles={mono}
      />
      {variable.given ? (
        <Text size="xs" c="dimmed" className={classes.given}>
          from the source
        </Text>
      ) : (
        <Group gap="xs" wrap="nowrap">
          <Checkbox
            label="Secret"
            checked={variable.secret}
            onChange={(event) => onChange({ secret: event.currentTarget.checked })}
          />
          <Tooltip label="Remove this variable">
            <ActionIcon
              variant="subtle"
              color="gray"
              onClick={props.onRemove}
              aria-label={`Remove the variable ${variable.name}`}
            >
              <IconTrash size={16} />
            </ActionIcon>
          </Tooltip>
        </Group>
      )}
    </div>
  );
}
