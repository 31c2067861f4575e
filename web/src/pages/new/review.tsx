/** What was found in a source, to be looked at and changed before it is deployed. */
import {
  Alert,
  Badge,
  Button,
  Card,
  Code,
  Collapse,
  Group,
  List,
  Loader,
  Stack,
  Text,
  Textarea,
  ThemeIcon,
} from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import {
  IconAlertTriangle,
  IconBrandDocker,
  IconGitCommit,
  IconRocket,
  IconTemplate,
  IconUpload,
} from '@tabler/icons-react';
import { useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { useDeploySource } from '../../actions/build';
import { type Packed, useUpload } from '../../actions/source';
import { bytes, count } from '../../model/format';
import type { Detected, Source } from '../../model/schema';
import {
  changeOf,
  dockerfileFor,
  faults,
  found,
  isWithoutRecipe,
  problemOfSource,
  secretsOf,
  suggestion,
  useSource,
  wishOf,
} from '../../model/source';
import { appName } from '../../model/source_files';
import { LinkButton } from '../../view/link_button';
import { Loading, Page, ProblemAlert } from '../../view/page';
import { RunForm } from '../../view/run_form';
import { UploadProgress } from '../../view/source_drop';
import { Ago } from '../../view/text';
import { FromGit } from './choose';
import { ExistingApp, useAddress } from './naming';

export interface ReviewProps {
  project: string;
  source: string;
  app: string | undefined;
  packed: Packed | undefined;
  onPacked: (source: string, packed: Packed) => void;
}

export function Review(props: ReviewProps) {
  const { project, source: id } = props;
  const source = useSource(project, id);
  const navigate = useNavigate({ from: '/new' });
  const back = (
    <LinkButton to="/new" search={{ project, app: props.app }} variant="default">
      Choose another source
    </LinkButton>
  );
  if (source.error !== null) {
    return (
      <Page title="New app" actions={back}>
        <ProblemAlert error={source.error} />
        <Text size="sm" c="dimmed">
          A source that nobody deploys is kept for an hour.
        </Text>
      </Page>
    );
  }
  if (source.data === undefined) {
    return (
      <Page title="New app">
        <Loading rows={3} height={120} />
      </Page>
    );
  }
  const status: Partial<Source['status']> = source.data.status;
  if (status.phase === 'failed') {
    return (
      <Page title="New app" actions={back}>
        <Alert color="red" role="alert" icon={<IconAlertTriangle />} title="The source could not be fetched">
          <Text size="sm" style={{ whiteSpace: 'pre-wrap', overflowWrap: 'anywhere' }}>
            {status.reason ?? 'It is not known why.'}
          </Text>
        </Alert>
        {source.data.spec.origin.type === 'git' && (
          <FromGit
            project={project}
            before={{
              url: source.data.spec.origin.url,
              ref: source.data.spec.origin.ref ?? '',
              path: source.data.spec.origin.path ?? '',
            }}
            onSource={(next) =>
              void navigate({ search: { project, app: props.app, source: next.metadata.name }, replace: true })
            }
          />
        )}
      </Page>
    );
  }
  if (status.phase !== 'ready') {
    return (
      <Page title="New app" actions={back}>
        <Card>
          <Group wrap="nowrap" role="status">
            <Loader size="sm" />
            <div>
              <Text fw={600}>{status.reason ?? 'Looking at what is in it'}</Text>
              <Text size="sm" c="dimmed">
                This goes on by itself, also when you leave this page.
              </Text>
            </div>
          </Group>
        </Card>
      </Page>
    );
  }
  const detected = found(status.detected);
  return (
    <Page
      title={detected.problem === null ? 'Ready to deploy' : 'Nearly there'}
      lead={
        detected.problem === null
          ? 'This is what Coracle found. Change what you like, or leave everything as it is.'
          : 'The source is here, but it cannot be built yet.'
      }
      actions={back}
    >
      <SourceCard source={source.data} detected={detected} packed={props.packed} />
      {detected.problem === null ? (
        <Settings {...props} source={source.data} detected={detected} />
      ) : (
        <Trouble {...props} detected={detected} />
      )}
    </Page>
  );
}

function nameFor(source: Source, detected: Detected, packed: Packed | undefined): string {
  const { origin } = source.spec;
  if (detected.app !== null) return detected.app;
  if (origin.type === 'template') return origin.template;
  if (origin.type === 'git') return appName(origin.url.replace(/\/+$/, '').split('/').at(-1) ?? '') ?? 'app';
  return appName(packed?.name ?? '') ?? 'app';
}

function SourceCard({ source, detected, packed }: { source: Source; detected: Detected; packed: Packed | undefined }) {
  const [open, { toggle }] = useDisclosure(false);
  const { origin } = source.spec;
  const status: Partial<Source['status']> = source.status;
  const commit = status.commit;
  const left = packed?.gathered;
  return (
    <Card>
      <Group wrap="nowrap" align="flex-start">
        <ThemeIcon variant="light" size={40}>
          {origin.type === 'git' ? <IconGitCommit /> : origin.type === 'template' ? <IconTemplate /> : <IconUpload />}
        </ThemeIcon>
        <Stack gap={4} style={{ minWidth: 0, flex: 1 }}>
          <Text fw={600} style={{ overflowWrap: 'anywhere' }}>
            {origin.type === 'git'
              ? origin.url
              : origin.type === 'template'
                ? `Template ${origin.template}`
                : (packed?.name ?? 'Uploaded source') || 'Uploaded files'}
          </Text>
          {commit != null && (
            <Text size="sm" style={{ overflowWrap: 'anywhere' }}>
              <Code>{commit.id.slice(0, 10)}</Code> {commit.subject}{' '}
              <Text span size="sm" c="dimmed">
                by {commit.author}
                {commit.date != null && (
                  <>
                    , <Ago at={commit.date} />
                  </>
                )}
              </Text>
            </Text>
          )}
          <Group gap={6}>
            <Badge color="gray">
              {count(status.files ?? 0, 'file')}, {bytes(status.bytes ?? 0)}
            </Badge>
            {detected.language !== null && <Badge>{detected.language}</Badge>}
            {detected.dockerfile !== null && (
              <Badge color="blue" leftSection={<IconBrandDocker size={12} />}>
                {detected.dockerfile}
              </Badge>
            )}
            {detected.volumes.map(({ name, path }) => (
              <Badge key={name} color="grape">
                volume {name} at {path}
              </Badge>
            ))}
            {detected.release_command !== null && <Badge color="grape">release command</Badge>}
            {left !== undefined && left.leftOutCount > 0 && (
              <Button variant="subtle" size="compact-xs" onClick={toggle} aria-expanded={open}>
                {left.leftOutCount.toLocaleString()} left out
              </Button>
            )}
          </Group>
          {left !== undefined && (
            <Collapse expanded={open}>
              <Text size="xs" c="dimmed">
                {left.by === null
                  ? 'These are of no use to a build:'
                  : `These are left out because ${left.by} says so, or because no build needs them:`}
              </Text>
              <Text size="xs" ff="monospace" style={{ overflowWrap: 'anywhere' }}>
                {left.leftOut.join(', ')}
                {left.leftOutCount > left.leftOut.length && ' …'}
              </Text>
            </Collapse>
          )}
          {detected.warnings.length > 0 && (
            <Alert color="orange" p="xs" icon={<IconAlertTriangle size={18} />} title="Worth a look">
              <List size="sm">
                {detected.warnings.map((warning) => (
                  <List.Item key={warning}>{warning}</List.Item>
                ))}
              </List>
            </Alert>
          )}
        </Stack>
      </Group>
    </Card>
  );
}

function Settings(props: Omit<ReviewProps, 'source'> & { source: Source; detected: Detected }) {
  const { project, source, detected, packed, app } = props;
  const navigate = useNavigate({ from: '/new' });
  const deploy = useDeploySource();
  const [wish, setWish] = useState(() => wishOf(detected, app ?? nameFor(source, detected, packed)));
  const wrong = faults(wish);
  const address = useAddress(wish);
  const id = source.metadata.name;
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (Object.keys(wrong).length > 0) return;
        deploy.mutate(
          { project, app: wish.app, source: id, config: changeOf(wish, detected), secrets: secretsOf(wish) },
          {
            onSuccess: (build) =>
              void navigate({ search: { project, app: wish.app, build: build.metadata.name, source: id } }),
          },
        );
      }}
    >
      <Stack>
        <RunForm
          wish={wish}
          onWish={setWish}
          faults={wrong}
          address={address}
          ownCommand="the image’s own"
          note={<ExistingApp project={project} app={wish.app} />}
        />
        {deploy.error !== null && <ProblemAlert error={deploy.error} />}
        <Group justify="flex-end">
          <Text size="sm" c="dimmed">
            into the project {project}
          </Text>
          <Button
            type="submit"
            size="md"
            leftSection={<IconRocket size={18} />}
            loading={deploy.isPending}
            disabled={Object.keys(wrong).length > 0}
          >
            Deploy
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

/** A source that cannot be built, and what to do about it: here at once, where that is possible. */
function Trouble({ project, app, detected, packed, onPacked }: ReviewProps & { detected: Detected }) {
  const navigate = useNavigate({ from: '/new' });
  const [text, setText] = useState(
    () => suggestion(detected.problem?.hint).dockerfile ?? dockerfileFor(detected.language),
  );
  const { state, start, cancel } = useUpload((source, packed) => {
    onPacked(source.metadata.name, packed);
    void navigate({ search: { project, app, source: source.metadata.name }, replace: true });
  });
  const { problem } = detected;
  if (problem === null) return null;
  const canAdd = packed?.gathered !== undefined;
  return (
    <Stack>
      <ProblemAlert error={problemOfSource(problem)} />
      {isWithoutRecipe(problem) && (
        <Card>
          <Stack gap="sm">
            <div>
              <Text fw={600}>Add a Dockerfile</Text>
              <Text size="sm" c="dimmed">
                A Dockerfile is the recipe by which your folder becomes an image: what it starts from, what is copied
                into it, and what is run. Here is one to begin with
                {detected.language === null ? '' : ` for ${detected.language}`}: look at its last line above all.
              </Text>
            </div>
            <Textarea
              aria-label="Dockerfile"
              value={text}
              onChange={(event) => setText(event.currentTarget.value)}
              autosize
              minRows={8}
              maxRows={24}
              spellCheck={false}
              styles={{ input: { fontFamily: 'var(--mantine-font-family-monospace)', fontSize: 13 } }}
            />
            {state.phase === 'failed' && <ProblemAlert error={state.error} />}
            {state.phase !== 'idle' && state.phase !== 'failed' ? (
              <UploadProgress state={state} onCancel={cancel} />
            ) : (
              <Group justify="space-between">
                <Text size="xs" c="dimmed">
                  {canAdd
                    ? 'It is added to what is sent. Save it in your folder too, for the next time.'
                    : 'Save it as Dockerfile beside your code, and bring the source again.'}
                </Text>
                {canAdd && (
                  <Button
                    onClick={() => {
                      const { given, everything } = packed;
                      void start({ project, given, everything, more: [{ path: 'Dockerfile', text }] });
                    }}
                  >
                    Add it and go on
                  </Button>
                )}
              </Group>
            )}
          </Stack>
        </Card>
      )}
      <Group>
        <LinkButton to="/new" search={{ project, app }} variant="default">
          Bring the source again
        </LinkButton>
        <LinkButton to="/new" search={{ project, app, from: 'template' }} variant="subtle">
          Begin with a template instead
        </LinkButton>
      </Group>
    </Stack>
  );
}
