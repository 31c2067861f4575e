/** Cells of the list of pods: thousands are scrolled through, so they are made of little. */
import type { MouseEvent } from 'react';
import { ago, when } from '../model/format';
import { podRef } from '../model/pod';
import type { Pod } from '../model/schema';
import classes from './pod.module.css';
import { useNow } from './text';

/** A pod's name, and the app that it is of. */
export function PodNames({ pod, go }: { pod: Pod; go: (to: string) => void }) {
  const { project, pod: name } = podRef(pod);
  const { app } = pod.spec;
  const within = `/projects/${encodeURIComponent(project)}`;
  return (
    <div className={classes.name}>
      <Place to={`${within}/pods/${encodeURIComponent(name)}`} go={go} look={classes.link}>
        {name}
      </Place>
      <span className={classes.of}>
        {app == null ? (
          'of no app'
        ) : (
          <Place to={`${within}/apps/${encodeURIComponent(app)}`} go={go} look={classes.of}>
            {app}
          </Place>
        )}{' '}
        in {project}
      </span>
    </div>
  );
}

function Place({
  to,
  go,
  look,
  children,
}: {
  to: string;
  go: (to: string) => void;
  look?: string | undefined;
  children: string;
}) {
  const onClick = (event: MouseEvent) => {
    // Another tab, another window, a download: the browser's own.
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey || event.button !== 0) return;
    event.preventDefault();
    go(to);
  };
  return (
    <a href={to} onClick={onClick} className={look} title={children}>
      {children}
    </a>
  );
}

/** How long ago something was. */
export function Since({ at }: { at: string | null | undefined }) {
  const now = useNow();
  if (at == null) return '–';
  return (
    <time dateTime={at} title={when(at)}>
      {ago(at, now)}
    </time>
  );
}
