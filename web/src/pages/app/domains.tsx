/** The host names that an app answers to. */
import { Stack } from '@mantine/core';
import { useAddDomain, useRemoveDomain } from '../../actions/domain';
import { useApp } from '../../model/collections';
import { dnsRecord, useDomains } from '../../model/domain';
import { useMay } from '../../model/me';
import { DnsHelp, DomainForm, DomainList } from '../../view/domain';
import { Loading, ProblemAlert } from '../../view/page';
import { Section } from '../../view/section';
import { useAppRef } from './app_ref';

const NONE: readonly string[] = [];

export default function AppDomains() {
  const ref = useAppRef();
  const app = useApp(ref);
  const mayChange = useMay('developer', ref.project) && app?.metadata.deleting == null;
  const domains = useDomains(ref, app?.spec.domains ?? NONE);
  const add = useAddDomain();
  const remove = useRemoveDomain();
  if (domains.error !== null && domains.data === undefined) {
    return <ProblemAlert error={domains.error} retry={() => void domains.refetch()} />;
  }
  if (app == null || domains.data === undefined) return <Loading rows={3} />;
  const { items } = domains.data;
  const [own, ...others] = items;
  return (
    <Stack>
      <Section
        title="Host names"
        hint="The names in a browser’s address line that lead to this app. Each name leads to one app only."
        lead="Each app has a name of its own. You can add names of domains that you have."
      >
        <Stack>
          <DomainList domains={items} {...(mayChange ? { onRemove: (host) => remove.mutate({ ...ref, host }) } : {})} />
          {mayChange && (
            <DomainForm
              taken={items.map(({ host }) => host)}
              busy={add.isPending}
              error={add.error}
              onAdd={(host, added) => add.mutate({ ...ref, host, seen: app }, { onSuccess: added })}
            />
          )}
        </Stack>
      </Section>
      {others.length > 0 && (
        <Section title="What to do where you bought the domain">
          <Stack>
            {others.map(({ host }) => (
              <DnsHelp key={host} host={host} record={dnsRecord(host, own?.host)} />
            ))}
          </Stack>
        </Section>
      )}
    </Stack>
  );
}
