/** What is around every page: the side bar, the bar on top, the palette, and what to do when the session ends. */
import {
  ActionIcon,
  AppShell,
  Box,
  Burger,
  Button,
  Group,
  Image,
  Kbd,
  Menu,
  NavLink,
  ScrollArea,
  Text,
  Tooltip,
  UnstyledButton,
  useComputedColorScheme,
  useMantineColorScheme,
  VisuallyHidden,
} from '@mantine/core';
import { useDisclosure, useHotkeys } from '@mantine/hooks';
import { IconLogout, IconMoon, IconPlus, IconSearch, IconSun, IconUser } from '@tabler/icons-react';
import { Link, Outlet, useLocation } from '@tanstack/react-router';
import { lazy, Suspense, useEffect } from 'react';
import { useLogout } from '../actions/session';
import { useLiveState } from '../model/collections';
import { may, useMe } from '../model/me';
import type { WhoAmI } from '../model/schema';
import { openPalette } from './open_palette';
import { PLACES, placeOf } from './places';
import { SessionExpired } from './session_expired';

const Palette = lazy(() => import('./palette'));

export function Shell() {
  const [opened, { toggle, close }] = useDisclosure();
  const path = useLocation({ select: (location) => location.pathname });
  // biome-ignore lint/correctness/useExhaustiveDependencies: the menu closes when somebody went somewhere
  useEffect(close, [path]);
  // Here and not in the palette, whose code may still be on its way: it opens when it is there.
  useHotkeys([
    ['mod+K', openPalette],
    ['/', openPalette],
  ]);
  const me = useMe();
  return (
    <AppShell
      header={{ height: 56 }}
      navbar={{ width: 220, breakpoint: 'sm', collapsed: { mobile: !opened } }}
      padding={{ base: 'md', sm: 'lg' }}
    >
      <AppShell.Header>
        <a href="#content" className="mantine-visually-hidden-until-focused">
          <VisuallyHidden>Skip to the content</VisuallyHidden>
        </a>
        <TopBar
          me={me}
          menu={<Burger opened={opened} onClick={toggle} hiddenFrom="sm" size="sm" aria-label="Menu" />}
        />
      </AppShell.Header>
      <AppShell.Navbar p="xs" aria-label="Main">
        <ScrollArea type="auto">
          <Places me={me} path={path} />
        </ScrollArea>
      </AppShell.Navbar>
      <AppShell.Main id="content" tabIndex={-1}>
        <Box maw={1280} mx="auto">
          <Outlet />
        </Box>
      </AppShell.Main>
      <SessionExpired />
      <Suspense>
        <Palette />
      </Suspense>
    </AppShell>
  );
}

function TopBar({ me, menu }: { me: WhoAmI | undefined; menu: React.ReactNode }) {
  return (
    <Group h="100%" px="md" justify="space-between" wrap="nowrap">
      <Group gap="sm" wrap="nowrap">
        {menu}
        <UnstyledButton component={Link} to="/" aria-label="Coracle, to the overview">
          <Group gap={8} wrap="nowrap">
            <Image src="/icon.svg" alt="" w={28} h={28} />
            <Text fw={700} visibleFrom="xs">
              Coracle
            </Text>
          </Group>
        </UnstyledButton>
        <Connection />
      </Group>
      <Group gap="xs" wrap="nowrap">
        <Button
          variant="default"
          size="xs"
          visibleFrom="sm"
          leftSection={<IconSearch size={14} />}
          rightSection={<Kbd size="xs">Ctrl K</Kbd>}
          onClick={openPalette}
        >
          Search
        </Button>
        <ActionIcon variant="default" size="md" hiddenFrom="sm" onClick={openPalette} aria-label="Search">
          <IconSearch size={16} />
        </ActionIcon>
        {me !== undefined && me.role !== 'viewer' && (
          <Button component={Link} to="/new" size="xs" leftSection={<IconPlus size={14} />}>
            New app
          </Button>
        )}
        <SchemeSwitch />
        {me !== undefined && <UserMenu me={me} />}
      </Group>
    </Group>
  );
}

/** Says that what is shown may be old, when it may be. */
function Connection() {
  const state = useLiveState();
  return (
    <div role="status">
      {state === 'away' && (
        <Tooltip label="Coracle does not answer at the moment. What you see may be old; it is brought up to date by itself.">
          <Text size="xs" c="orange" fw={600}>
            Reconnecting…
          </Text>
        </Tooltip>
      )}
    </div>
  );
}

function SchemeSwitch() {
  const { setColorScheme } = useMantineColorScheme();
  const dark = useComputedColorScheme('light') === 'dark';
  const label = dark ? 'Light colours' : 'Dark colours';
  return (
    <Tooltip label={label}>
      <ActionIcon variant="default" onClick={() => setColorScheme(dark ? 'light' : 'dark')} aria-label={label}>
        {dark ? <IconSun size={16} /> : <IconMoon size={16} />}
      </ActionIcon>
    </Tooltip>
  );
}

function UserMenu({ me }: { me: WhoAmI }) {
  const logout = useLogout();
  return (
    <Menu position="bottom-end" withinPortal>
      <Menu.Target>
        <ActionIcon variant="default" aria-label={`You are ${me.user}`}>
          <IconUser size={16} />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>
          {me.user}, {me.role}
        </Menu.Label>
        <Menu.Item component={Link} to="/tokens">
          Tokens and password
        </Menu.Item>
        <Menu.Divider />
        <Menu.Item leftSection={<IconLogout size={14} />} onClick={() => logout.mutate()}>
          Log out
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}

function Places({ me, path }: { me: WhoAmI | undefined; path: string }) {
  return PLACES.map((group) => (
    <Box key={group.label} mb="sm">
      <Text size="xs" c="dimmed" fw={600} px="sm" py={4}>
        {group.label}
      </Text>
      {group.places
        .filter((place) => place.platform === undefined || may(me, place.platform))
        .map((place) => {
          const active = place.to === placeOf(path);
          return (
            <NavLink
              key={place.to}
              component={Link}
              to={place.to}
              label={place.label}
              leftSection={place.icon}
              active={active}
              // Which place an address belongs to is said above: an app's begins with its project's.
              activeOptions={{ exact: true }}
              aria-current={active ? 'page' : undefined}
              style={{ borderRadius: 'var(--mantine-radius-md)' }}
            />
          );
        })}
    </Box>
  ));
}
