//! What of a platform is in an export, and what is left out on purpose.
//!
//! Theory of operation: every kind of object and every kind of record in the store is named here. A kind that is added does not
//! compile until somebody decides, and a key that is added to [`keys`](crate::keys) fails a test. What people may look for in vain
//! must be told to them in `docs/moving.md`. Fields are decided on where they are taken apart: [`crate::export`] names each.

use std::collections::BTreeSet;

use coracle_model::object::Kind;

/// Is it in an export?
enum Moves {
    /// It is a record, or a part of one.
    Exported,
    /// It is left out, and people are told in these words.
    Told(&'static str),
    /// It is left out for a reason that nobody needs to know who moves a platform.
    LeftOut(&'static str),
}

use Moves::{Exported, LeftOut, Told};

const fn of_kind(kind: Kind) -> Moves {
    match kind {
        Kind::Project | Kind::App | Kind::Release | Kind::Domain | Kind::User => Exported,
        Kind::Build => Told("builds and their logs"),
        Kind::Pod => Told("bare pods"),
        Kind::Token => Told("tokens"),
        Kind::Event => Told("the log of activity"),
        Kind::Node => Told("nodes"),
        Kind::Volume => Told("the data of volumes"),
        Kind::Image | Kind::Registry => {
            LeftOut("an app brings the image of its release; the rest can be built or pushed again")
        }
        Kind::Source => LeftOut("it is kept for an hour, or as long as its build"),
        Kind::Settings => Told("the platform's settings"),
    }
}

/// The beginnings of all keys.
const RECORDS: &[(&str, Moves)] = &[
    ("/projects/", of_kind(Kind::Project)),
    ("/apps/", of_kind(Kind::App)),
    ("/releases/", of_kind(Kind::Release)),
    ("/domains/", of_kind(Kind::Domain)),
    ("/users/", of_kind(Kind::User)),
    ("/builds/", of_kind(Kind::Build)),
    ("/pods/", of_kind(Kind::Pod)),
    ("/nodes/", of_kind(Kind::Node)),
    ("/tokens/", of_kind(Kind::Token)),
    ("/events/", of_kind(Kind::Event)),
    ("/settings/", of_kind(Kind::Settings)),
    ("/credentials/", Told("No passwords")),
    ("/token-hashes/", of_kind(Kind::Token)),
    ("/tokens-by-name/", of_kind(Kind::Token)),
    (
        "/registry-access/",
        LeftOut("every platform makes its own secrets for its registry"),
    ),
    ("/sources/", of_kind(Kind::Source)),
    (
        "/source-access/",
        LeftOut("it goes with the fetch that it is for"),
    ),
    (
        "/pod-actions/",
        LeftOut("it is asked of a pod that runs there"),
    ),
    (
        "/system/",
        LeftOut("it is about the control planes and gateways there"),
    ),
];

#[test]
fn every_record_in_the_store_is_exported_or_left_out_on_purpose() {
    let known: BTreeSet<_> = RECORDS.iter().map(|(prefix, _)| *prefix).collect();
    let beginning = |literal: &'static str| {
        let rest = literal.strip_prefix('/')?;
        let first = rest.find('/')?;
        Some(&literal[..first + 2])
    };
    // Every text in the source that begins with a slash is the beginning of a key.
    let code = include_str!("../keys.rs").lines();
    let code = code.filter(|line| !line.trim_start().starts_with("//"));
    let used: BTreeSet<_> = code
        .flat_map(|line| line.split('"'))
        .filter_map(beginning)
        .collect();
    assert_eq!(used, known);
}

#[test]
fn people_are_told_what_is_left_out() {
    let told = include_str!("../../../../docs/moving.md").replace('\n', " ");
    for (prefix, moves) in RECORDS {
        match moves {
            Exported => {}
            Told(words) => assert!(told.contains(words), "{prefix}: {words}"),
            LeftOut(reason) => assert!(!reason.is_empty(), "{prefix}"),
        }
    }
}
