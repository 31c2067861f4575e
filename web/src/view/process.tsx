/** A process of an app: how many pods it should have and has, each of them, and the form that changes it. */
import {
  ActionIcon,
  Anchor,
  Badge,
  Button,
  Group,
  NumberInput,
  Select,
  SimpleGrid,
  Stack,
  Text,
  TextInput,
  Tooltip,
} from '@mantine/core';
import { IconMinus, IconPlus } from '@tabler/icons-react';
import { Link } from '@tanstack/react-router';
import { useEffect, useState } from 'react';
import { count } from '../model/format';
import { formProblems, MOST_REPLICAS, type ProcessForm, type ProcessNow } from '../model/process';
import { processTexts } from '../model/release';
import type { Pod } from '../model/schema';
import { Facts } from './facts';
import { PhaseBadge } from './phase';
import classes from './process.module.css';
import { Section } from './section';
import { Ago } from './text';

export interface ScaleStepperProps {
  process: string;
  wish: number;
  busy: boolean;
  onScale: (replicas: number) => void;
}

/** How many pods: one more, one less, or as many as are typed. */
export function ScaleStepper({ process, wish, busy, onScale }: ScaleStepperProps) {
  const [typed, setTyped] = useState<number | string>(wish);
  useEffect(() => setTyped(wish), [wish]);
  const wanted = typeof typed === 'number' ? Math.min(MOST_REPLICAS, Math.max(0, Math.trunc(typed))) : undefined;
  const differs = wanted !== undefined && wanted !== wish;
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (differs) onScale(wanted);
      }}
    >
      <Group gap={4} wrap="nowrap">
        <Tooltip label="One pod less">
          <ActionIcon
            variant="default"
            size={30}
            disabled={busy || wish <= 0}
            onClick={() => onScale(wish - 1)}
            aria-label={`One pod less of ${process}`}
          >
            <IconMinus size={15} />
          </ActionIcon>
        </Tooltip>
        <NumberInput
          aria-label={`Pods of ${process}`}
          value={typed}
          onChange={setTyped}
          min={0}
          max={MOST_REPLICAS}
          allowDecimal={false}
          allowNegative={false}
          hideControls
          size="xs"
          w={52}
          styles={{ input: { textAlign: 'center' } }}
        />
        <Tooltip label="One pod more">
          <ActionIcon
            variant="default"
            size={30}
            disabled={busy || wish >= MOST_REPLICAS}
            onClick={() => onScale(wish + 1)}
            aria-label={`One pod more of ${process}`}
          >
            <IconPlus size={15} />
          </ActionIcon>
        </Tooltip>
        {differs && (
          <Button type="submit" size="xs" loading={busy}>
            Scale to {wanted}
          </Button>
        )}
      </Group>
    </form>
  );
}

/** What is ready of what is wished, in words and as dots. */
export function Readiness({ process }: { process: ProcessNow }) {
  const { wish, ready } = process;
  const good = ready >= wish;
  return (
    <Badge color={wish === 0 ? 'gray' : good ? 'green' : 'orange'} size="lg">
      {wish === 0 ? 'stopped' : `${ready} of ${count(wish, 'pod')} ready`}
    </Badge>
  );
}

export function PodLines({
  project,
  pods,
  release,
}: {
  project: string;
  pods: readonly Pod[];
  release?: number | null;
}) {
  if (pods.length === 0) {
    return (
      <Text size="sm" c="dimmed">
        No pod runs.
      </Text>
    );
  }
  return (
    <ul className={classes.pods}>
      {pods.map(({ metadata, spec, status }) => (
        <li key={metadata.name} className={classes.pod}>
          <div className={classes.name}>
            <Anchor
              component={Link}
              to={`/projects/${encodeURIComponent(project)}/pods/${encodeURIComponent(metadata.name)}`}
              size="sm"
            >
              {metadata.name}
            </Anchor>
            {spec.release != null && spec.release !== release && (
              <Text size="xs" c="dimmed" span>
                {' '}
                of v{spec.release}
              </Text>
            )}
          </div>
          <PhaseBadge phase={status.phase ?? 'pending'} size="sm" />
          <Text size="xs" c="dimmed" className={classes.where}>
            {[status.node, status.address, (status.restarts ?? 0) > 0 && count(status.restarts ?? 0, 'restart')]
              .filter(Boolean)
              .join(' · ')}
          </Text>
          <Text size="xs" c="dimmed" component="div">
            {status.started == null ? '–' : <Ago at={status.started} size="xs" />}
          </Text>
          {status.reason != null && status.phase !== 'ready' && (
            <Text size="xs" c="orange.8" className={classes.reason}>
              {status.reason}
            </Text>
          )}
        </li>
      ))}
    </ul>
  );
}

export interface ProcessCardProps {
  process: ProcessNow;
  project: string;
  release: number | null | undefined;
  /** Absent where the caller may not change it. */
  onScale?: (replicas: number) => void;
  onEdit?: () => void;
  busy: boolean;
}

const WHAT: Record<string, string> = {
  web: 'The process that the app’s address leads to.',
};

export function ProcessCard({ process, project, release, onScale, onEdit, busy }: ProcessCardProps) {
  const { name, spec, wish } = process;
  const texts = processTexts(spec);
  return (
    <Section
      title={name}
      lead={Object.hasOwn(WHAT, name) ? WHAT[name] : 'It works in the background; no address leads to it.'}
      actions={
        <Group gap="xs">
          <Readiness process={process} />
          {onScale !== undefined && <ScaleStepper process={name} wish={wish} busy={busy} onScale={onScale} />}
        </Group>
      }
    >
      <Stack gap="sm">
        {process.scaled && wish !== (spec.replicas ?? 1) && (
          <Text size="xs" c="dimmed">
            The release asks for {count(spec.replicas ?? 1, 'pod')}; somebody scaled it to {wish}, and that counts, for
            later releases too.
          </Text>
        )}
        <PodLines project={project} pods={process.pods} release={release ?? null} />
        <Facts
          facts={[
            { label: 'Command', value: <Said text={texts.get('Command')} none="what the image runs by itself" /> },
            {
              label: 'Port',
              value: (
                <Said
                  text={texts.get('Port')}
                  none={name === 'web' ? 'the one that the image names, else 8080' : 'none'}
                />
              ),
              hint: 'Where it listens inside its pod. It is told to the program in the variable PORT.',
            },
            {
              label: 'Processors',
              value: <Said text={texts.get('Processors')} none="as much as is free" />,
              hint: 'The most processor time that each pod gets: 0.5 is half of one processor.',
            },
            {
              label: 'Memory',
              value: <Said text={texts.get('Memory')} none="as much as is free" />,
              hint: 'The most memory of each pod. One that needs more is ended and started again.',
            },
            {
              label: 'Health check',
              value: <Said text={texts.get('Health check')} none="none: a pod that runs counts as healthy" />,
              hint: 'How Coracle finds out whether a pod works. Traffic goes to healthy pods only.',
            },
            { label: 'Automatic scaling', value: texts.get('Automatic scaling') },
          ]}
        />
        {onEdit !== undefined && (
          <Group>
            <Button variant="light" size="xs" onClick={onEdit} aria-label={`Change process ${name}`}>
              Change…
            </Button>
          </Group>
        )}
      </Stack>
    </Section>
  );
}

function Said({ text, none }: { text: string | undefined; none: string }) {
  if (text !== undefined) return <span className={classes.said}>{text}</span>;
  return (
    <Text span size="sm" c="dimmed">
      {none}
    </Text>
  );
}

export interface ProcessFieldsProps {
  web: boolean;
  form: ProcessForm;
  onChange: (form: ProcessForm) => void;
}

/** The fields of one process. */
export function ProcessFields({ web, form, onChange }: ProcessFieldsProps) {
  const problems = formProblems(form);
  const field = (name: keyof ProcessForm) => ({
    value: form[name],
    error: problems[name],
    onChange: (event: { currentTarget: { value: string } }) => onChange({ ...form, [name]: event.currentTarget.value }),
    spellCheck: false,
    autoComplete: 'off',
  });
  return (
    <Stack gap="sm">
      <TextInput
        label="Command"
        description={'A line for the shell, or words as ["python3", "app.py"]. Empty: what the image runs by itself.'}
        placeholder="python3 app.py"
        {...field('command')}
        data-autofocus
      />
      <SimpleGrid cols={{ base: 1, xs: 3 }} spacing="sm">
        <TextInput label="Port" placeholder={web ? 'of the image' : 'none'} inputMode="numeric" {...field('port')} />
        <TextInput label="Processors" placeholder="no limit" {...field('cpu')} />
        <TextInput label="Memory" placeholder="no limit" {...field('memory')} />
      </SimpleGrid>
      <Select
        label="Health check"
        description="How Coracle finds out whether a pod works, before it gets traffic and while it runs."
        data={[
          { value: 'http', label: 'A path answers with success' },
          { value: 'port', label: 'The port takes connections' },
          { value: 'none', label: 'None said: Coracle decides' },
        ]}
        value={form.health}
        onChange={(value) => onChange({ ...form, health: value === 'http' || value === 'port' ? value : 'none' })}
        allowDeselect={false}
      />
      {form.health === 'http' && <TextInput label="Path" placeholder="/healthz" {...field('path')} />}
      {form.health !== 'none' && (
        <SimpleGrid cols={{ base: 2, xs: 4 }} spacing="sm">
          <TextInput label="Asked every" {...field('interval')} />
          <TextInput label="Answers within" {...field('timeout')} />
          <TextInput label="Time to start" {...field('grace')} />
          <TextInput label="Failures" inputMode="numeric" {...field('failures')} />
        </SimpleGrid>
      )}
      <TextInput
        label="Time to stop"
        description="So long a pod may finish its work before it is ended."
        maw={200}
        {...field('stopGrace')}
      />
    </Stack>
  );
}
