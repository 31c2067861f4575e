import { getDefaultZIndex, Modal, Stack, Text } from '@mantine/core';
import { useLogin } from '../actions/session';
import { useMe, useSession } from '../model/me';
import { LoginForm } from '../view/login_form';

/** Over a page whose session ended: the page and what was typed into it stay, and what was asked goes on afterwards. */
export function SessionExpired() {
  const state = useSession();
  const me = useMe();
  const login = useLogin();
  return (
    <Modal
      opened={state === 'expired'}
      onClose={() => undefined}
      withCloseButton={false}
      closeOnClickOutside={false}
      closeOnEscape={false}
      title="Your session has ended"
      // Above every other dialog, whichever was there first: nothing goes on without it.
      zIndex={getDefaultZIndex('overlay')}
    >
      <Stack>
        <Text size="sm">Log in again to go on. What you typed on this page is still there.</Text>
        {state === 'expired' && (
          <LoginForm
            {...(me ? { user: me.user } : {})}
            busy={login.isPending}
            error={login.error}
            onLogin={login.mutate}
          />
        )}
      </Stack>
    </Modal>
  );
}
