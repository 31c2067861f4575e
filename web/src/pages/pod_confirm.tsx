/** Asking before pods are restarted or deleted. */
import { List, Text } from '@mantine/core';
import { useDeletePods, useRestartPods } from '../actions/pod';
import { count } from '../model/format';
import type { Pod } from '../model/schema';
import { Confirm } from '../view/confirm';

export interface PodQuestion {
  what: 'restart' | 'delete';
  pods: readonly Pod[];
}

/** So many names are shown. */
const NAMED = 8;
/** From so many pods on their number is typed. */
const MANY = 10;

export function PodConfirm({
  question,
  onClose,
}: {
  question: PodQuestion | undefined;
  onClose: (done: boolean) => void;
}) {
  const restart = useRestartPods();
  const remove = useDeletePods();
  const pods = question?.pods ?? [];
  const deleting = question?.what === 'delete';
  const action = deleting ? remove : restart;
  const one = pods[0]?.metadata.name ?? '';
  const bare = pods.filter(({ spec }) => spec.app == null).length;
  return (
    <Confirm
      opened={question !== undefined}
      title={`${deleting ? 'Delete' : 'Restart'} ${pods.length === 1 ? `pod ${one}` : count(pods.length, 'pod')}?`}
      verb={deleting ? 'Delete' : 'Restart'}
      {...(deleting && pods.length >= MANY ? { typed: String(pods.length) } : {})}
      busy={action.isPending}
      error={action.error}
      onConfirm={() => action.mutate(pods, { onSuccess: () => onClose(true) })}
      onClose={() => {
        action.reset();
        onClose(false);
      }}
    >
      {pods.length > 1 && (
        <List size="sm" mb="sm">
          {pods.slice(0, NAMED).map((pod) => (
            <List.Item key={`${pod.metadata.project}/${pod.metadata.name}`}>{pod.metadata.name}</List.Item>
          ))}
          {pods.length > NAMED && <List.Item>and {pods.length - NAMED} more</List.Item>}
        </List>
      )}
      {deleting ? (
        <>
          {bare < pods.length && <Text size="sm">A pod of an app gets a new one in its place.</Text>}
          {bare > 0 && <Text size="sm">A pod of its own is gone for good, with what it wrote to its disk.</Text>}
        </>
      ) : (
        <Text size="sm">
          What runs in it is stopped and begins again in place. Until it is ready, other pods of the app serve, if there
          are any.
        </Text>
      )}
    </Confirm>
  );
}
