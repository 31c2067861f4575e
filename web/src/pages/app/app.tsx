/** What is around each page of an app: its name, state and address, and the tabs. */
import { Outlet } from '@tanstack/react-router';

export default function AppPage() {
  return <Outlet />;
}
