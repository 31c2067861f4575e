/** Where a new app comes from. */
import {
  Alert,
  Anchor,
  Button,
  Card,
  Checkbox,
  Collapse,
  Group,
  PasswordInput,
  Select,
  Stack,
  Tabs,
  Text,
  TextInput,
} from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { IconBrandDocker, IconFolderUp, IconGitBranch, IconTemplate } from '@tabler/icons-react';
import { useNavigate } from '@tanstack/react-router';
import { useEffect, useRef, useState } from 'react';
import { type Given, type Packed, useFetchSource, useUpload } from '../../actions/source';
import type { Source } from '../../model/schema';
import { gitPlace } from '../../model/source';
import { archiveKind, chosenFolder, droppedFolder } from '../../model/source_files';
import { useTemplates } from '../../model/template';
import { Loading, Page, ProblemAlert } from '../../view/page';
import { DropPlace, UploadProgress } from '../../view/source_drop';
import { TemplateGallery } from '../../view/template_card';
import { ImageForm } from './image_form';

const WAYS = ['folder', 'git', 'image', 'template'] as const;
type Way = (typeof WAYS)[number];

const SIZE = 16;

export interface ChooseProps {
  project: string;
  projects: string[];
  from: string | undefined;
  /** The app that this is for, where there is one. */
  app: string | undefined;
  onPacked: (source: string, packed: Packed) => void;
}

export function Choose({ project, projects, from, app, onPacked }: ChooseProps) {
  const navigate = useNavigate({ from: '/new' });
  const way: Way = WAYS.find((one) => one === from) ?? 'folder';
  const review = (source: Source) => void navigate({ search: { project, app, source: source.metadata.name } });
  return (
    <Page
      title={app === undefined ? 'New app' : `New release of ${app}`}
      lead="Bring code, or something ready made. Coracle builds it, runs it, and gives it an address."
      actions={
        projects.length > 1 && (
          <Select
            label="Project"
            data={projects}
            value={project}
            allowDeselect={false}
            onChange={(chosen) => chosen && void navigate({ search: (before) => ({ ...before, project: chosen }) })}
            searchable={projects.length > 8}
          />
        )
      }
    >
      <Tabs
        value={way}
        keepMounted={false}
        onChange={(chosen) =>
          void navigate({ search: (before) => ({ ...before, from: chosen ?? undefined }), replace: true })
        }
      >
        <Tabs.List mb="md" aria-label="Where the app comes from">
          <Tabs.Tab value="folder" leftSection={<IconFolderUp size={SIZE} />}>
            Folder or archive
          </Tabs.Tab>
          <Tabs.Tab value="git" leftSection={<IconGitBranch size={SIZE} />}>
            Git repository
          </Tabs.Tab>
          <Tabs.Tab value="image" leftSection={<IconBrandDocker size={SIZE} />}>
            Image
          </Tabs.Tab>
          <Tabs.Tab value="template" leftSection={<IconTemplate size={SIZE} />}>
            Template
          </Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="folder">
          <FromFolder project={project} onSource={review} onPacked={onPacked} />
        </Tabs.Panel>
        <Tabs.Panel value="git">
          <FromGit project={project} onSource={review} />
        </Tabs.Panel>
        <Tabs.Panel value="image">
          <ImageForm key={project} project={project} app={app} />
        </Tabs.Panel>
        <Tabs.Panel value="template">
          <FromTemplate project={project} onSource={review} />
        </Tabs.Panel>
      </Tabs>
    </Page>
  );
}

interface PanelProps {
  project: string;
  onSource: (source: Source) => void;
}

function FromFolder({
  project,
  onSource,
  onPacked,
}: PanelProps & { onPacked: (source: string, packed: Packed) => void }) {
  const [everything, setEverything] = useState(false);
  const { state, start, cancel } = useUpload((source, packed) => {
    onPacked(source.metadata.name, packed);
    onSource(source);
  });
  const [wrong, setWrong] = useState<string>();
  const give = (given: Given | string) => {
    setWrong(typeof given === 'string' ? given : undefined);
    if (typeof given !== 'string') void start({ project, given, everything });
  };
  const busy = state.phase !== 'idle' && state.phase !== 'failed';
  const over = useDrop(!busy, give);
  return (
    <Stack gap="sm">
      {busy ? (
        <UploadProgress state={state} onCancel={cancel} />
      ) : (
        <DropPlace over={over} onFiles={(files) => give(givenOf(files))} />
      )}
      {wrong !== undefined && (
        <Alert color="orange" title="This cannot be taken" role="alert">
          {wrong}
        </Alert>
      )}
      {state.phase === 'failed' && <ProblemAlert error={state.error} />}
      <Checkbox
        label="Also send what .gitignore leaves out"
        description="Say so where your Dockerfile needs files that Git does not keep, such as a built site. A .dockerignore always holds."
        checked={everything}
        onChange={(event) => setEverything(event.currentTarget.checked)}
        disabled={busy}
      />
      <Text size="xs" c="dimmed">
        A folder needs a Dockerfile, which says how it becomes an image. Where there is none, Coracle suggests one.
        Folders such as .git and node_modules are never sent.
      </Text>
    </Stack>
  );
}

/** One archive, or files that make a folder. */
function givenOf(files: readonly File[]): Given {
  const [only] = files;
  if (files.length === 1 && only !== undefined && archiveKind(only.name) !== undefined && !only.webkitRelativePath) {
    return { is: 'archive', file: only };
  }
  return { is: 'folder', folder: chosenFolder(files) };
}

/** Takes what is dropped anywhere on the page; whether something hangs over it. */
function useDrop(enabled: boolean, onGiven: (given: Given | string) => void): boolean {
  const [over, setOver] = useState(false);
  const give = useRef(onGiven);
  give.current = onGiven;
  useEffect(() => {
    if (!enabled) return undefined;
    let depth = 0;
    const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes('Files') ?? false;
    const enter = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      depth += 1;
      setOver(true);
    };
    const leave = () => {
      depth = Math.max(0, depth - 1);
      if (depth === 0) setOver(false);
    };
    const hover = (event: DragEvent) => {
      if (hasFiles(event)) event.preventDefault();
    };
    const drop = (event: DragEvent) => {
      depth = 0;
      setOver(false);
      if (!hasFiles(event) || event.dataTransfer === null) return;
      event.preventDefault();
      // The list of entries is empty once this function has returned.
      const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter((it) => it !== null);
      const files = [...event.dataTransfer.files];
      const folders = entries.filter((entry) => entry.isDirectory) as FileSystemDirectoryEntry[];
      const [folder] = folders;
      if (folder !== undefined && entries.length === 1) give.current({ is: 'folder', folder: droppedFolder(folder) });
      else if (folder !== undefined)
        give.current('Drop one folder at a time, with everything that belongs to the app in it.');
      else if (files.length > 0) give.current(givenOf(files));
    };
    window.addEventListener('dragenter', enter);
    window.addEventListener('dragleave', leave);
    window.addEventListener('dragover', hover);
    window.addEventListener('drop', drop);
    return () => {
      window.removeEventListener('dragenter', enter);
      window.removeEventListener('dragleave', leave);
      window.removeEventListener('dragover', hover);
      window.removeEventListener('drop', drop);
    };
  }, [enabled]);
  return over;
}

export function FromGit(props: PanelProps & { before?: { url: string; ref: string; path: string } }) {
  const { project, onSource, before } = props;
  const fetchSource = useFetchSource();
  const [address, setAddress] = useState(before?.url ?? '');
  const [branch, setBranch] = useState(before?.ref ?? '');
  const [path, setPath] = useState(before?.path ?? '');
  const [username, setUsername] = useState('');
  const [password, setPassword] = useState('');
  const [open, { toggle }] = useDisclosure(before !== undefined);
  const place = gitPlace(address);
  return (
    <Card maw={720}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          const ref = branch.trim() || place.ref;
          const git = {
            url: place.url,
            ...(ref === undefined ? {} : { ref }),
            ...(path.trim() === '' ? {} : { path: path.trim() }),
            ...(username === '' ? {} : { username }),
            ...(password === '' ? {} : { password }),
          };
          fetchSource.mutate({ project, source: { git } }, { onSuccess: onSource });
        }}
      >
        <Stack>
          <TextInput
            label="Address of the repository"
            placeholder="https://git.example.com/team/app"
            value={address}
            onChange={(event) => setAddress(event.currentTarget.value)}
            type="text"
            inputMode="url"
            autoComplete="off"
            spellCheck={false}
            required
          />
          <TextInput
            label="Branch, tag or commit"
            placeholder={place.ref ?? 'the usual one'}
            description="Without one, the branch that the repository calls its own."
            value={branch}
            onChange={(event) => setBranch(event.currentTarget.value)}
            autoComplete="off"
            spellCheck={false}
          />
          <Anchor component="button" type="button" size="sm" onClick={toggle} aria-expanded={open} ta="start">
            {open ? 'Less' : 'A private repository, or a folder in one'}
          </Anchor>
          <Collapse expanded={open}>
            <Stack>
              <TextInput
                label="Folder in the repository"
                placeholder="services/web"
                value={path}
                onChange={(event) => setPath(event.currentTarget.value)}
                spellCheck={false}
              />
              <TextInput
                label="User name"
                description="Many servers take any name beside a token."
                value={username}
                onChange={(event) => setUsername(event.currentTarget.value)}
                autoComplete="off"
              />
              <PasswordInput
                label="Password or token"
                description="It is used for this one fetch, and not kept."
                value={password}
                onChange={(event) => setPassword(event.currentTarget.value)}
                autoComplete="new-password"
              />
            </Stack>
          </Collapse>
          {fetchSource.error !== null && <ProblemAlert error={fetchSource.error} />}
          <Group justify="flex-end">
            <Button type="submit" loading={fetchSource.isPending}>
              Fetch it
            </Button>
          </Group>
        </Stack>
      </form>
    </Card>
  );
}

export function FromTemplate({ project, onSource }: PanelProps) {
  const templates = useTemplates();
  const fetchSource = useFetchSource();
  if (templates.error !== null) return <ProblemAlert error={templates.error} retry={() => void templates.refetch()} />;
  if (templates.data === undefined) return <Loading rows={2} height={140} />;
  return (
    <Stack>
      {fetchSource.error !== null && <ProblemAlert error={fetchSource.error} />}
      <TemplateGallery
        templates={templates.data}
        busy={fetchSource.isPending ? (fetchSource.variables.source.template ?? undefined) : undefined}
        onChoose={(template) => fetchSource.mutate({ project, source: { template } }, { onSuccess: onSource })}
      />
    </Stack>
  );
}
