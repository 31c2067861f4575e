import { Loading, Page } from '../../view/page';

export default function Stub() {
  return (
    <Page title="domains">
      <Loading />
    </Page>
  );
}
