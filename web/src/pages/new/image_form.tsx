/** An image that is there already, deployed as it is. */
import { Button, Card, Group, Stack, TextInput } from '@mantine/core';
import { IconRocket } from '@tabler/icons-react';
import { useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { useDeployImage } from '../../actions/build';
import { configOf, faults, secretsOf, type Wish, wishOf } from '../../model/source';
import { appName } from '../../model/source_files';
import { ProblemAlert } from '../../view/page';
import { RunForm } from '../../view/run_form';
import { ExistingApp, useAddress } from './naming';

/** `registry.example.com/team/web:1` → `web`. */
function nameOf(image: string): string {
  const last = image.trim().split('/').at(-1) ?? '';
  return appName(last.split(/[:@]/)[0] ?? '') ?? '';
}

export function ImageForm({ project, app }: { project: string; app: string | undefined }) {
  const navigate = useNavigate({ from: '/new' });
  const deploy = useDeployImage();
  const [image, setImage] = useState('');
  const [wish, setWish] = useState<Wish>(() => wishOf(undefined, app ?? ''));
  const [named, setNamed] = useState(app !== undefined);
  const [tried, setTried] = useState(false);
  const wrong = faults(wish);
  const address = useAddress(wish);
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        setTried(true);
        if (Object.keys(wrong).length > 0) return;
        deploy.mutate(
          { project, app: wish.app, image: image.trim(), config: configOf(wish), secrets: secretsOf(wish) },
          {
            onSuccess: (release) =>
              void navigate({ search: { project, app: wish.app, release: release.metadata.name } }),
          },
        );
      }}
    >
      <Stack>
        <Card>
          <TextInput
            label="Image"
            description="As docker pull takes it: a name with a tag, with the registry in front where it is not the usual one."
            placeholder="registry.example.com/team/web:1.4"
            value={image}
            onChange={(event) => {
              const text = event.currentTarget.value;
              setImage(text);
              if (!named) setWish((before) => ({ ...before, app: nameOf(text) }));
            }}
            autoComplete="off"
            spellCheck={false}
            required
            maw={620}
          />
        </Card>
        <RunForm
          wish={wish}
          onWish={(next) => {
            if (next.app !== wish.app) setNamed(true);
            setWish(next);
          }}
          faults={tried ? wrong : wish.app === '' ? {} : { ...(wrong.app === undefined ? {} : { app: wrong.app }) }}
          address={address}
          ownCommand="the image’s own"
          note={<ExistingApp project={project} app={wish.app} />}
        />
        {deploy.error !== null && <ProblemAlert error={deploy.error} />}
        <Group justify="flex-end">
          <Button type="submit" size="md" leftSection={<IconRocket size={18} />} loading={deploy.isPending}>
            Deploy
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
