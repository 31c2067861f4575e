/** The variables of an app. What is typed stays here until one save makes one release of all of it. */
import { Anchor, Button, Group, Modal, Stack, Text } from '@mantine/core';
import { IconClipboardText, IconLock, IconPlus, IconVariable } from '@tabler/icons-react';
import { useEffect, useMemo, useState } from 'react';
import { useChangeEnv } from '../../actions/env';
import { useApp, useReleases } from '../../model/collections';
import { type EnvRead, useEnv } from '../../model/env';
import {
  changedNames,
  changeOf,
  draftOf,
  type EnvDraft,
  editsOf,
  problemsOf,
  rebased,
  withNew,
  withoutRow,
  withPasted,
  withRow,
} from '../../model/env_draft';
import { useMay } from '../../model/me';
import { ApiProblem } from '../../model/problem';
import { baseRelease } from '../../model/release';
import { ChangedMeanwhile, EnvTable, PasteForm, SaveBar } from '../../view/env';
import { Pairs } from '../../view/facts';
import { EmptyState, Loading, ProblemAlert } from '../../view/page';
import { Section } from '../../view/section';
import { UnsavedGuard } from '../../view/unsaved';
import { useAppRef } from './app_ref';

export default function AppEnv() {
  const ref = useAppRef();
  const may = useMay('developer', ref.project);
  const env = useEnv(ref, may);
  if (!may) {
    return (
      <EmptyState icon={<IconLock />} title="Variables are for developers">
        They often hold passwords and keys. Ask an administrator of this platform for the role of a developer.
      </EmptyState>
    );
  }
  if (env.error !== null && env.data === undefined) {
    return <ProblemAlert error={env.error} retry={() => void env.refetch()} />;
  }
  if (env.data === undefined) return <Loading rows={5} />;
  return (
    <EnvEditor
      key={`${ref.project}/${ref.app}`}
      read={env.data}
      refetch={() => env.refetch().then(({ data }) => data)}
    />
  );
}

function EnvEditor({ read, refetch }: { read: EnvRead; refetch: () => Promise<EnvRead | undefined> }) {
  const ref = useAppRef();
  const app = useApp(ref);
  const releases = useReleases(ref) ?? [];
  const [draft, setDraft] = useState<EnvDraft>(() => draftOf(read.vars, read.revision));
  const [pasting, setPasting] = useState(false);
  const save = useChangeEnv();
  const edits = useMemo(() => editsOf(draft), [draft]);
  const problems = useMemo(() => problemsOf(draft), [draft]);
  const sorts = useMemo(() => new Map(edits.map(({ id, sort }) => [id, sort])), [edits]);
  const dirty = edits.length > 0;
  const newer = useMemo(() => changedNames(draft.base, read.vars), [draft.base, read.vars]);
  const stale = save.error instanceof ApiProblem && save.error.code === 'stale_revision';

  // Where nobody typed, the newest is shown; where only the revision moved, it is gone on from that.
  useEffect(() => {
    if (read.revision === draft.revision && newer.length === 0) return;
    if (!dirty) setDraft((before) => rebased(before, read.vars, read.revision));
    else if (newer.length === 0) setDraft((before) => ({ ...before, revision: read.revision }));
  }, [read, draft.revision, dirty, newer.length]);

  const submit = () => {
    if (!dirty || problems.size > 0) return;
    save.mutate(
      { ref, change: changeOf(draft), revision: draft.revision },
      {
        onSuccess: async () => {
          // What is there now is what was saved; secrets that were typed are let go of.
          const now = await refetch();
          if (now !== undefined) setDraft(draftOf(now.vars, now.revision));
        },
      },
    );
  };
  const takeNewest = async () => {
    const now = (await refetch()) ?? read;
    setDraft((before) => rebased(before, now.vars, now.revision));
    save.reset();
  };
  const base = app == null ? undefined : baseRelease(releases, app.status.release);
  const given = Object.entries(base?.spec.config.env ?? {});
  return (
    <Stack>
      <Section
        title="Variables"
        hint="Settings that the program reads when it starts, such as addresses and passwords. They are kept apart from its source."
        lead="What is set here goes before what the source says. A secret one is encrypted and never shown again."
        actions={
          <Group gap="xs">
            <Button
              size="xs"
              variant="default"
              leftSection={<IconClipboardText size={14} />}
              onClick={() => setPasting(true)}
            >
              Paste .env
            </Button>
            <Button
              size="xs"
              variant="light"
              leftSection={<IconPlus size={14} />}
              onClick={() => setDraft((before) => withNew(before, { name: '', value: '', secret: false }))}
            >
              Add
            </Button>
          </Group>
        }
      >
        {draft.rows.length === 0 ? (
          <EmptyState icon={<IconVariable />} title="No variables are set">
            <Anchor
              component="button"
              type="button"
              size="sm"
              onClick={() => setDraft((before) => withNew(before, { name: '', value: '', secret: false }))}
            >
              Add the first one
            </Anchor>{' '}
            or paste a whole <code>.env</code> file.
          </EmptyState>
        ) : (
          <EnvTable
            rows={draft.rows}
            edits={sorts}
            problems={problems}
            onRow={(id, change) => setDraft((before) => withRow(before, id, change))}
            onRemove={(id) => setDraft((before) => withoutRow(before, id))}
          />
        )}
      </Section>
      {dirty && (newer.length > 0 || stale) && (
        <ChangedMeanwhile names={newer} mine={edits.map(({ name }) => name)} onTake={() => void takeNewest()} />
      )}
      {save.error !== null && !stale && <ProblemAlert error={save.error} />}
      {dirty && (
        <SaveBar
          changes={edits.map(({ sort }) => sort)}
          wrong={problems.size > 0}
          busy={save.isPending}
          releases={base !== undefined}
          onSave={submit}
          onDiscard={() => {
            setDraft(draftOf(read.vars, read.revision));
            save.reset();
          }}
        />
      )}
      {given.length > 0 && (
        <Section
          title="From the source"
          lead={`Set by coracle.toml or by whoever deployed v${base?.spec.number}. A variable of the same name above goes before it.`}
        >
          <Pairs pairs={given} none="" />
        </Section>
      )}
      <Text size="xs" c="dimmed">
        Coracle itself sets PORT: where the program has to listen.
      </Text>
      <Modal
        opened={pasting}
        onClose={() => setPasting(false)}
        title="Paste a .env file"
        size="lg"
        closeOnClickOutside={false}
      >
        {pasting && (
          <PasteForm
            draft={draft}
            onClose={() => setPasting(false)}
            onTake={(variables) => {
              setDraft((before) => withPasted(before, variables));
              setPasting(false);
            }}
          />
        )}
      </Modal>
      <UnsavedGuard dirty={dirty && !save.isPending} what="The variables that you typed" />
    </Stack>
  );
}
