/** A pod to be: what is asked when somebody makes one from an image. */
import { Button, Group, NumberInput, SegmentedControl, Select, Stack, Text, Textarea, TextInput } from '@mantine/core';
import { useState } from 'react';
import { parseVariables } from '../model/pod';
import type { PodSpec } from '../model/schema';
import { ProblemAlert } from './page';

export interface PodFormProps {
  projects: readonly string[];
  project: string | undefined;
  busy: boolean;
  error: unknown;
  onCreate: (project: string, name: string, spec: PodSpec) => void;
  onClose: () => void;
}

/** A name made of an image's: its last part without tag. */
export function nameOf(image: string): string {
  const last = image.split('@')[0]?.split('/').at(-1)?.split(':')[0] ?? '';
  return last
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^[^a-z]+|-+$/g, '')
    .slice(0, 30);
}

export function PodForm({ projects, project: given, busy, error, onCreate, onClose }: PodFormProps) {
  const [project, setProject] = useState(given ?? projects.find((one) => one === 'default') ?? projects[0] ?? '');
  const [image, setImage] = useState('');
  const [name, setName] = useState('');
  const [command, setCommand] = useState('');
  const [port, setPort] = useState<number | string>('');
  const [variables, setVariables] = useState('');
  const [restart, setRestart] = useState<'always' | 'never'>('always');
  const [wrong, setWrong] = useState<string>();
  const submit = () => {
    const { env, wrong } = parseVariables(variables);
    setWrong(wrong);
    if (wrong !== undefined) return;
    onCreate(project, name || nameOf(image), {
      image: image.trim(),
      restart,
      ...(command.trim() === '' ? {} : { command: command.trim() }),
      ...(typeof port === 'number' ? { port } : {}),
      ...(Object.keys(env).length === 0 ? {} : { env }),
    });
  };
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (!busy) submit();
      }}
    >
      <Stack gap="sm">
        <Text size="sm" c="dimmed">
          A pod of its own is good for trying an image or for one job. For something that has an address and is updated
          without a break, make an app.
        </Text>
        {projects.length > 1 && (
          <Select
            label="Project"
            data={[...projects]}
            value={project}
            onChange={(value) => setProject(value ?? project)}
            allowDeselect={false}
          />
        )}
        <TextInput
          label="Image"
          description="The program with everything that it needs: from a registry, or one of this platform’s images."
          placeholder="nginx:1.29"
          value={image}
          onChange={(event) => setImage(event.currentTarget.value)}
          required
          spellCheck={false}
          autoComplete="off"
          data-autofocus
        />
        <TextInput
          label="Name"
          description="Small letters, digits and hyphens."
          placeholder={nameOf(image) || 'my-pod'}
          value={name}
          onChange={(event) => setName(event.currentTarget.value)}
          required={nameOf(image) === ''}
          spellCheck={false}
          autoComplete="off"
        />
        <TextInput
          label="Command"
          description="What to run in it; left empty, what the image runs by itself."
          placeholder="python -m http.server $PORT"
          value={command}
          onChange={(event) => setCommand(event.currentTarget.value)}
          spellCheck={false}
          autoComplete="off"
        />
        <NumberInput
          label="Port"
          description="Where it listens, if it does; then it counts as ready once it answers there."
          placeholder="8080"
          min={1}
          max={65535}
          allowDecimal={false}
          value={port}
          onChange={setPort}
        />
        <Textarea
          label="Variables"
          description="Settings for the program: NAME=value on each line."
          placeholder={'LOG_LEVEL=info\nGREETING=hello'}
          autosize
          minRows={2}
          maxRows={8}
          value={variables}
          onChange={(event) => setVariables(event.currentTarget.value)}
          error={wrong}
          spellCheck={false}
        />
        <Stack gap={4}>
          <Text size="sm" fw={500} id="pod-restart">
            When it ends
          </Text>
          <SegmentedControl
            aria-labelledby="pod-restart"
            data={[
              { value: 'always', label: 'Start it again' },
              { value: 'never', label: 'Leave it ended' },
            ]}
            value={restart}
            onChange={(value) => setRestart(value === 'never' ? 'never' : 'always')}
          />
        </Stack>
        {error != null && <ProblemAlert error={error} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button type="submit" loading={busy}>
            Create pod
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
