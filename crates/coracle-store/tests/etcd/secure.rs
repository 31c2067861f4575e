//! TLS and authentication.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use coracle_store::{Etcd, EtcdConfig, EtcdTls, EtcdUser, Put, Store, StoreError};

use crate::server::{Certificates, Cluster};

/// A certificate authority and what it signed, made with the `openssl` command; `None` when there is none.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn certificates(root: &Path) -> Option<Certificates> {
    let openssl = |arguments: &[&str]| {
        Command::new("openssl")
            .current_dir(root)
            .args(arguments)
            .output()
    };
    if openssl(&["version"]).is_err() {
        eprintln!("skipped: there is no openssl command on this machine");
        return None;
    }
    let make = |arguments: &[&str]| {
        let made = openssl(arguments).unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
    };
    std::fs::write(
        root.join("names"),
        "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n",
    )
    .unwrap();
    let key = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
    ];
    let ca = [
        "-x509",
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
        "-subj",
        "/CN=test-ca",
        "-days",
        "2",
    ];
    make(&[&["req"][..], &key, &ca].concat());
    let request = [
        "-keyout",
        "it.key",
        "-out",
        "it.csr",
        "-subj",
        "/CN=coracle-test",
    ];
    make(&[&["req"][..], &key, &request].concat());
    make(&[
        "x509",
        "-req",
        "-in",
        "it.csr",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-out",
        "it.pem",
        "-days",
        "2",
        "-extfile",
        "names",
    ]);
    Some(Certificates {
        ca: root.join("ca.pem"),
        certificate: root.join("it.pem"),
        key: root.join("it.key"),
    })
}

#[tokio::test]
async fn members_and_clients_show_certificates() {
    let root = tempfile::tempdir().unwrap();
    let Some(files) = certificates(root.path()) else {
        return;
    };
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
    let other = certificates(stranger.path()).unwrap();
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
}
