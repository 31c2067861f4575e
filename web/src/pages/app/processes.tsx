/** The processes of an app: how many pods of each, and what each runs. A change is a new release. */
import { Alert, Button, Group, Modal, Stack, Text } from '@mantine/core';
import { IconStack2 } from '@tabler/icons-react';
import { useState } from 'react';
import { useConfigure } from '../../actions/release';
import { useScale } from '../../actions/scale';
import { useApp, useAppPods, useReleases } from '../../model/collections';
import { useMay } from '../../model/me';
import { ApiProblem } from '../../model/problem';
import {
  formOf,
  formProblems,
  type ProcessForm,
  type ProcessNow,
  processesOf,
  rebasedForm,
  sameForm,
  specOf,
} from '../../model/process';
import { baseRelease } from '../../model/release';
import type { App, Release } from '../../model/schema';
import { LinkButton } from '../../view/link_button';
import { EmptyState, Loading, ProblemAlert } from '../../view/page';
import { ProcessCard, ProcessFields } from '../../view/process';
import { UnsavedGuard } from '../../view/unsaved';
import { useAppRef } from './app_ref';

export default function AppProcesses() {
  const ref = useAppRef();
  const app = useApp(ref);
  const releases = useReleases(ref);
  const pods = useAppPods(ref);
  const may = useMay('developer', ref.project);
  const scale = useScale();
  const [editing, setEditing] = useState<{ process: string; app: App; base: Release }>();
  if (app == null || releases === undefined || pods === undefined) return <Loading rows={2} height={180} />;
  const base = baseRelease(releases, app.status.release);
  const mayChange = may && app.metadata.deleting == null;
  if (base === undefined) {
    return (
      <EmptyState
        icon={<IconStack2 />}
        title="There are no processes yet"
        action={
          mayChange && (
            <LinkButton to="/new" search={ref}>
              Deploy something
            </LinkButton>
          )
        }
      >
        A process is a command of the app that is kept running, such as a web server or a worker. They come with what
        you deploy.
      </EmptyState>
    );
  }
  const processes = processesOf(app, base, pods);
  return (
    <Stack>
      {processes.map((process) => (
        <ProcessCard
          key={process.name}
          process={process}
          project={ref.project}
          release={app.status.release}
          busy={scale.isPending && scale.variables?.process === process.name}
          {...(mayChange
            ? {
                onScale: (replicas: number) =>
                  scale.mutate({ ...ref, process: process.name, replicas, before: process.wish, seen: app }),
                onEdit: () => setEditing({ process: process.name, app, base }),
              }
            : {})}
        />
      ))}
      <Modal
        opened={editing !== undefined}
        onClose={() => setEditing(undefined)}
        title={`Change process ${editing?.process ?? ''}`}
        size="lg"
        closeOnClickOutside={false}
      >
        {editing !== undefined && (
          <ProcessEditor
            key={`${editing.process} ${editing.base.metadata.name}`}
            process={editing.process}
            seen={editing.app}
            base={editing.base}
            newest={{ app, base }}
            onClose={() => setEditing(undefined)}
          />
        )}
      </Modal>
    </Stack>
  );
}

interface ProcessEditorProps {
  process: ProcessNow['name'];
  /** What it was when the form was opened. */
  seen: App;
  base: Release;
  newest: { app: App; base: Release };
  onClose: () => void;
}

function ProcessEditor({ process, seen, base, newest, onClose }: ProcessEditorProps) {
  const ref = useAppRef();
  const configure = useConfigure();
  const [against, setAgainst] = useState({ app: seen, base });
  const [before, setBefore] = useState(() => {
    const spec = base.spec.config.processes[process];
    return spec === undefined ? undefined : formOf(spec);
  });
  const [form, setForm] = useState<ProcessForm | undefined>(before);
  const current = against.base.spec.config.processes[process];
  if (form === undefined || before === undefined || current === undefined) {
    return <Text size="sm">This process is not in the newest release any more.</Text>;
  }
  const dirty = !sameForm(form, before);
  const wrong = Object.keys(formProblems(form)).length > 0;
  const stale = configure.error instanceof ApiProblem && configure.error.code === 'stale_revision';
  const newer = newest.base.spec.number !== against.base.spec.number;
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (!dirty || wrong) return;
        const { config } = against.base.spec;
        configure.mutate(
          {
            ref,
            base: against.base,
            config: { ...config, processes: { ...config.processes, [process]: specOf(form, current) } },
            seen: against.app,
          },
          { onSuccess: onClose },
        );
      }}
    >
      <Stack>
        <ProcessFields web={process === 'web'} form={form} onChange={setForm} />
        {(stale || newer) && (
          <Alert color="orange" title="The app changed while you were typing" role="alert">
            <Stack gap="xs" align="flex-start">
              <Text size="sm">
                {newer
                  ? `v${newest.base.spec.number} is there now, by ${newest.base.spec.created_by}. `
                  : 'Somebody changed its scale, domains or variables. '}
                What you typed is still here, and can be put on top of the newest state.
              </Text>
              <Button
                size="xs"
                variant="default"
                onClick={() => {
                  const now = newest.base.spec.config.processes[process];
                  if (now !== undefined) {
                    setForm(rebasedForm(form, before, formOf(now)));
                    setBefore(formOf(now));
                  }
                  setAgainst(newest);
                  configure.reset();
                }}
              >
                Put it on the newest
              </Button>
            </Stack>
          </Alert>
        )}
        {configure.error !== null && !stale && <ProblemAlert error={configure.error} />}
        <Text size="xs" c="dimmed">
          Saving makes a new release of the same image. What runs now goes on until the new pods are ready.
        </Text>
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button type="submit" loading={configure.isPending} disabled={!dirty || wrong}>
            Save as a new release
          </Button>
        </Group>
      </Stack>
      <UnsavedGuard dirty={dirty && !configure.isSuccess} what={`What you changed of process ${process}`} />
    </form>
  );
}
