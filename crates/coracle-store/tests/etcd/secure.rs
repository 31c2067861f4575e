//! TLS and authentication.

use std::path::Path;
use std::time::Duration;

use coracle_store::{Etcd, EtcdConfig, EtcdTls, EtcdUser, Put, Store, StoreError};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};

use crate::server::{Certificates, Cluster};

/// A certificate authority and what it signed: for a member on loopback, and for its client.
fn certificates(root: &Path) -> Certificates {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority
        .distinguished_name
        .push(DnType::CommonName, "test authority");
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
    let mut certificate = CertificateParams::new(names).unwrap();
    certificate.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let key = KeyPair::generate().unwrap();
    let certificate = certificate.signed_by(&key, &authority).unwrap();
    let write = |name: &str, text: String| {
        let path = root.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    Certificates {
        ca: write("ca.pem", authority.pem()),
        certificate: write("it.pem", certificate.pem()),
        key: write("it.key", key.serialize_pem()),
    }
}

#[tokio::test]
async fn members_and_clients_show_certificates() {
    let root = tempfile::tempdir().unwrap();
    let files = certificates(root.path());
    let Some(cluster) = Cluster::start_with(1, &[], Some(&files)) else {
        return;
    };
    let read = |path: &Path| Some(std::fs::read(path).unwrap());
    let tls = EtcdTls {
        ca: read(&files.ca),
        certificate: read(&files.certificate),
        key: read(&files.key),
    };
    let config = EtcdConfig {
        tls: Some(tls.clone()),
        ..cluster.config("/tls/")
    };
    let store = cluster.store_as(config.clone()).await;
    store.put(Put::new("/a", "1")).await.unwrap();
    let lease = store.grant_lease(Duration::from_secs(5)).await.unwrap();
    store.keep_alive(lease).await.unwrap();

    let with = |tls: EtcdTls| EtcdConfig {
        tls: Some(tls),
        ..config.clone()
    };
    // An authority that is not the members', and a client without a certificate.
    let stranger = tempfile::tempdir().unwrap();
    let other = certificates(stranger.path());
    let wrong = with(EtcdTls {
        ca: read(&other.ca),
        ..tls.clone()
    });
    let without = with(EtcdTls {
        certificate: None,
        key: None,
        ..tls.clone()
    });
    for config in [wrong, without] {
        let refused = Etcd::connect(config).await.unwrap_err();
        assert!(
            matches!(refused, StoreError::Unavailable { .. }),
            "{refused:?}"
        );
        assert!(refused.to_string().contains("certificates"), "{refused}");
    }
    let garbage = with(EtcdTls {
        ca: Some(b"no certificate".to_vec()),
        ..tls
    });
    let refused = Etcd::connect(garbage).await.unwrap_err();
    assert!(!refused.to_string().is_empty(), "{refused:?}");
}

#[tokio::test]
async fn users_may_do_what_their_role_grants() {
    let Some(cluster) = Cluster::start(1, &["--auth-token-ttl=1"]) else {
        return;
    };
    drop(cluster.store("/").await);
    for command in [
        "role add coracle",
        "role grant-permission coracle readwrite /mine/ --prefix=true",
        "role grant-permission coracle read /others/ --prefix=true",
        "user add root:rootpw",
        "user grant-role root root",
        "user add coracle:right",
        "user grant-role coracle coracle",
        "auth enable",
    ] {
        let words: Vec<&str> = command.split(' ').collect();
        if cluster.control(&words).is_none() {
            return;
        }
    }
    let user = |password: &str| {
        Some(EtcdUser {
            name: "coracle".to_owned(),
            password: password.to_owned(),
        })
    };
    let config = |prefix: &str, user: Option<EtcdUser>| EtcdConfig {
        user,
        ..cluster.config(prefix)
    };
    let store = Etcd::connect(config("/mine/", user("right")))
        .await
        .unwrap();
    store.put(Put::new("/a", "1")).await.unwrap();
    let lease = store.grant_lease(Duration::from_secs(60)).await.unwrap();
    store.put(Put::new("/b", "1").leased(lease)).await.unwrap();
    store.keep_alive(lease).await.unwrap();
    let mut watch = store
        .watch("/", Some(store.revision().await.unwrap() + 1))
        .await
        .unwrap();
    // The token is forgotten after a second without use: a new one is asked for.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let revision = store.put(Put::new("/a", "2")).await.unwrap();
    let event = futures::StreamExt::next(&mut watch).await.unwrap().unwrap();
    assert_eq!(event.revision(), revision);
    store.revoke(lease).await.unwrap();

    let refused = |result: Result<(), StoreError>, words: &str| match result {
        Err(StoreError::Refused { reason, .. }) => assert!(reason.contains(words), "{reason}"),
        other => unreachable!("a refusal was due, not {other:?}"),
    };
    let wrong = Etcd::connect(config("/mine/", user("wrong")))
        .await
        .map(drop);
    refused(wrong, "the name and the password");
    refused(
        Etcd::connect(config("/mine/", None)).await.map(drop),
        "none is given",
    );
    refused(
        Etcd::connect(config("/foreign/", user("right")))
            .await
            .map(drop),
        "grant-permission",
    );
    // May read and not write.
    let reader = Etcd::connect(config("/others/", user("right")))
        .await
        .unwrap();
    refused(
        reader.put(Put::new("/a", "1")).await.map(drop),
        "readwrite /others/",
    );
    // Which is known without trying it.
    refused(reader.writable().await, "readwrite /others/");
    store.writable().await.unwrap();
    // Who may see only a part cannot know what else there is.
    refused(store.is_shared().await.map(drop), "grant-permission");
}
