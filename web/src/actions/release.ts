/** Making releases: going back, again, with another configuration, in another app. The stream tells what becomes of them. */
import { useMutation } from '@tanstack/react-query';
import { client, data, ifMatch } from '../model/client';
import type { AppRef } from '../model/objects';
import { imageOf } from '../model/release';
import type { App, NewRelease, Release, RunConfig } from '../model/schema';
import { done, failed } from './notify';

function create({ project, app }: AppRef, body: NewRelease, seen?: App): Promise<Release> {
  return data(
    client.POST('/api/v1/projects/{project}/apps/{app}/releases', {
      params: { path: { project, app } },
      ...(seen === undefined ? {} : { headers: ifMatch(seen) }),
      body,
    }),
  );
}

/** Goes back to an earlier release; `live` is the one that runs now, for the way back. */
export function useRollBack() {
  const again = useMutation({
    mutationFn: ({ ref, to }: { ref: AppRef; to: number }) => create(ref, { rollback: `v${to}` }),
    onSuccess: (release, { to }) => done(`v${release.spec.number} brings v${to} back.`),
    onError: failed,
  });
  return useMutation({
    mutationFn: ({ ref, to }: { ref: AppRef; to: number; live: number | null | undefined }) =>
      create(ref, { rollback: `v${to}` }),
    onSuccess: (release, { ref, to, live }) =>
      done(
        `v${release.spec.number} goes back to v${to}.`,
        live == null || live === to ? undefined : () => again.mutate({ ref, to: live }),
      ),
  });
}

/** The same image and configuration once more, with the app's present variables. */
export function useDeployAgain() {
  return useMutation({
    mutationFn: ({ ref, base }: { ref: AppRef; base: Release }) =>
      create(ref, { image: imageOf(base), config: base.spec.config }),
    onSuccess: (release) => done(`v${release.spec.number} is on its way.`),
    onError: failed,
  });
}

/** Another configuration for the same image. Refused when somebody else was faster. */
export function useConfigure() {
  return useMutation({
    mutationFn: ({ ref, base, config, seen }: { ref: AppRef; base: Release; config: RunConfig; seen: App }) =>
      create(ref, { image: imageOf(base), config }, seen),
    onSuccess: (release) => done(`v${release.spec.number} is on its way with what you changed.`),
  });
}

/** Releases here what another app released. */
export function usePromote() {
  return useMutation({
    mutationFn: ({ from, release, to }: { from: AppRef; release: number; to: AppRef }) =>
      create(to, { promote: { project: from.project, app: from.app, release: `v${release}` } }),
    onSuccess: (made, { to }) => done(`${to.app} in ${to.project} gets it as v${made.spec.number}.`),
  });
}
