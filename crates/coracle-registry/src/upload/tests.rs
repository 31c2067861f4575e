//! Uploads that are interrupted, resumed, swept.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::digest::Digest;

fn uploads() -> (tempfile::TempDir, Uploads, RepositoryName) {
    let folder = tempfile::tempdir().unwrap();
    let uploads = Uploads::new(folder.path().to_owned());
    (folder, uploads, RepositoryName::new("a/b").unwrap())
}

#[tokio::test]
async fn one_writer_at_a_time_and_resume_after_restart() {
    let (folder, uploads, repository) = uploads();
    let mut first = uploads.create(&repository, 10).await.unwrap();
    let id = first.id().clone();
    first
        .append(&[Bytes::from_static(b"hello "), Bytes::from_static(b"wor")])
        .unwrap();
    assert!(matches!(
        uploads.open(&repository, &id).await,
        Err(RegistryError::UploadBusy)
    ));
    assert_eq!(uploads.offset(&repository, &id).await.unwrap(), 9);
    drop(first);
    assert!(
        uploads
            .open(&repository, &id)
            .await
            .unwrap()
            .hasher
            .is_some(),
        "the hash is kept"
    );

    let restarted = Uploads::new(folder.path().to_owned());
    let mut second = restarted.open(&repository, &id).await.unwrap();
    assert!(second.hasher.is_none());
    second.append(&[Bytes::from_static(b"ld")]).unwrap();
    assert_eq!(
        second.seal(Algorithm::Sha256).unwrap(),
        Digest::of(b"hello world")
    );
    let other = RepositoryName::new("a/c").unwrap();
    assert!(matches!(
        restarted.open(&other, &id).await,
        Err(RegistryError::UploadUnknown)
    ));
}

#[tokio::test]
async fn truncating_forgets_the_hash() {
    let (_folder, uploads, repository) = uploads();
    let mut upload = uploads.create(&repository, 10).await.unwrap();
    upload
        .append(&[Bytes::from_static(b"hello"), Bytes::from_static(b"xx")])
        .unwrap();
    upload.truncate(5).unwrap();
    upload.append(&[Bytes::from_static(b"!")]).unwrap();
    assert_eq!(
        upload.seal(Algorithm::Sha256).unwrap(),
        Digest::of(b"hello!")
    );
}

#[tokio::test]
async fn a_sweep_takes_the_old_and_leaves_the_busy() {
    let (folder, uploads, repository) = uploads();
    let busy = uploads.create(&repository, 10).await.unwrap();
    let idle = uploads.create(&repository, 10).await.unwrap();
    let idle_id = idle.id().clone();
    drop(idle);
    assert_eq!(
        uploads.sweep(Duration::from_secs(3600)).await.unwrap(),
        Swept::default()
    );
    assert_eq!(uploads.sweep(Duration::ZERO).await.unwrap().uploads, 1);
    assert!(matches!(
        uploads.open(&repository, &idle_id).await,
        Err(RegistryError::UploadUnknown)
    ));
    drop(busy);
    assert_eq!(uploads.sweep(Duration::ZERO).await.unwrap().uploads, 1);
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "empty folders go too"
    );
    assert!(uploads.create(&repository, 10).await.is_ok());
}

#[tokio::test]
async fn unfinished_uploads_are_bounded() {
    let (_folder, uploads, repository) = uploads();
    for _ in 0..2 {
        uploads.create(&repository, 2).await.unwrap();
    }
    assert!(matches!(
        uploads.create(&repository, 2).await,
        Err(RegistryError::TooMany(_))
    ));
}

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<u8>),
    Truncate(usize),
    Reopen,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..50).prop_map(Step::Append),
        1 => (0usize..100).prop_map(Step::Truncate),
        2 => Just(Step::Reopen),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn whatever_happens_on_the_way_the_digest_is_that_of_the_bytes(
        steps in proptest::collection::vec(step(), 0..12),
        long in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (folder, mut uploads, repository) = uploads();
            let mut upload = uploads.create(&repository, 10).await.unwrap();
            let id = upload.id().clone();
            let mut model = Vec::new();
            for step in steps {
                match step {
                    Step::Append(bytes) => {
                        model.extend_from_slice(&bytes);
                        upload.append(&[bytes.into()]).unwrap();
                    }
                    Step::Truncate(len) => {
                        model.truncate(len);
                        upload.truncate(model.len() as u64).unwrap();
                    }
                    Step::Reopen | Step::Restart => {
                        if matches!(step, Step::Restart) {
                            uploads = Uploads::new(folder.path().to_owned());
                        }
                        drop(upload);
                        upload = uploads.open(&repository, &id).await.unwrap();
                    }
                }
                assert_eq!(upload.offset(), model.len() as u64);
            }
            let algorithm = if long { Algorithm::Sha512 } else { Algorithm::Sha256 };
            let mut expected = Hasher::new(algorithm);
            expected.update(&model);
            assert_eq!(upload.seal(algorithm).unwrap(), expected.finish());
        });
    }
}
