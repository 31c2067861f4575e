/** One thing that happened. */
import { Anchor, Badge, Group, Text, ThemeIcon, Tooltip } from '@mantine/core';
import { IconRobot, IconUser } from '@tabler/icons-react';
import { type Activity, happened, isPlatform } from '../model/activity';
import classes from './activity.module.css';
import { Ago } from './text';

interface ActivityRowProps {
  event: Activity;
  onActor: (actor: string) => void;
  onObject: (object: string) => void;
}

export function ActivityRow({ event, onActor, onObject }: ActivityRowProps) {
  const { spec, metadata } = event;
  const platform = isPlatform(spec.actor);
  const bad = /\b(failed|lost|refused)\b/.test(spec.action);
  return (
    <li className={classes.row}>
      <Tooltip label={platform ? 'Coracle did this by itself' : 'A person did this'}>
        <ThemeIcon variant="light" color={bad ? 'red' : platform ? 'gray' : 'sea'} size={28} radius="xl" aria-hidden>
          {platform ? <IconRobot size={16} /> : <IconUser size={16} />}
        </ThemeIcon>
      </Tooltip>
      <div className={classes.body}>
        <Text size="sm" style={{ overflowWrap: 'anywhere' }}>
          <Anchor component="button" type="button" size="sm" fw={600} onClick={() => onActor(spec.actor)}>
            {spec.actor}
          </Anchor>
          : {happened(event)}
        </Text>
        <Group gap={8} mt={2}>
          <Badge size="sm" color={bad ? 'red' : 'gray'}>
            {spec.action}
          </Badge>
          <Anchor component="button" type="button" size="xs" c="dimmed" onClick={() => onObject(spec.object)}>
            {spec.object}
          </Anchor>
          {metadata.project != null && (
            <Text size="xs" c="dimmed">
              in {metadata.project}
            </Text>
          )}
        </Group>
      </div>
      <div className={classes.when}>
        <Ago at={metadata.created} size="xs" />
      </div>
    </li>
  );
}
