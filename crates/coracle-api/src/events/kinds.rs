//! The kinds that are told.

use coracle_control::OperationError;
use coracle_control::keys;
use coracle_control::objects::decode_object;
use coracle_control::pod::merge;
use coracle_model::app::AppSpec;
use coracle_model::build::BuildSpec;
use coracle_model::event::EventSpec;
use coracle_model::name::{ProjectName, UserName};
use coracle_model::object::{Kind, Of, Spec};
use coracle_model::pod::PodSpec;
use coracle_model::project::ProjectSpec;
use coracle_model::registry::RegistrySpec;
use coracle_model::release::ReleaseSpec;
use coracle_model::settings::SettingsSpec;
use coracle_model::source::SourceSpec;
use coracle_model::token::TokenSpec;
use coracle_model::user::{Role, UserSpec};
use coracle_store::Entry;
use serde::Serialize;

use super::filter::Audience;
use super::observed::pod_id;
use crate::state::ApiState;
use crate::view;

/// A kind of which the store has records.
pub(super) struct Stored {
    pub(super) kind: Kind,
    /// Where its records are.
    pub(super) prefix: &'static str,
    /// What the rest of their keys says.
    pub(super) place: Place,
    /// The object as its own route answers it.
    pub(super) show: Show,
}

/// The kinds of the store: a new one is a line here. Records under other keys (claims, passwords' hashes, what is sealed)
/// are nobody's to see.
pub(super) static STORED: &[Stored] = &[
    told(
        Kind::Project,
        keys::PROJECTS,
        Place::Project,
        plain::<ProjectSpec>,
    ),
    told(Kind::App, keys::APPS, Place::InProject, app),
    told(Kind::Source, keys::SOURCES, Place::InProject, source),
    told(Kind::Build, keys::BUILDS, Place::OfApp('b'), build),
    told(Kind::Release, keys::RELEASES, Place::OfApp('v'), release),
    told(Kind::Pod, keys::PODS, Place::InProject, pod),
    told(
        Kind::Registry,
        keys::REGISTRY,
        Place::Platform(Role::Viewer),
        plain::<RegistrySpec>,
    ),
    told(Kind::User, keys::USERS, ADMINS, plain::<UserSpec>),
    told(
        Kind::Settings,
        keys::SETTINGS,
        Place::Platform(Role::Viewer),
        settings,
    ),
    told(Kind::Token, keys::TOKENS, Place::OfUser, plain::<TokenSpec>),
    told(
        Kind::Event,
        keys::EVENTS,
        Place::Journal,
        plain::<EventSpec>,
    ),
];

type Show = fn(&Entry, &Eye<'_>) -> Result<String, OperationError>;

const fn told(kind: Kind, prefix: &'static str, place: Place, show: Show) -> Stored {
    Stored {
        kind,
        prefix,
        place,
        show,
    }
}

/// For administrators of the whole platform.
const ADMINS: Place = Place::Platform(Role::Admin);

/// The kinds of which there are no records to follow: the journal tells what happens to them.
pub(super) const JOURNALED: [Kind; 2] = [Kind::Volume, Kind::Image];

/// Everything that can be asked for.
pub(super) fn all() -> impl Iterator<Item = Kind> {
    let stored = STORED.iter().map(|stored| stored.kind);
    stored.chain([Kind::Node]).chain(JOURNALED)
}

/// The kind whose record is at `key`, with the rest of the key.
pub(super) fn stored(key: &str) -> Option<(&'static Stored, &str)> {
    STORED
        .iter()
        .find_map(|stored| Some((stored, key.strip_prefix(stored.prefix)?)))
}

/// What the key of a record says behind its prefix, and so who may see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// `NAME`, of the whole platform: for those who have this role everywhere. A prefix that is a whole key has one record,
    /// named by its last word.
    Platform(Role),
    /// `PROJECT`: the project itself.
    Project,
    /// `PROJECT/NAME`.
    InProject,
    /// `PROJECT/APP/NUMBER`; the number follows this letter in its name.
    OfApp(char),
    /// `USER/NAME`: for that user alone.
    OfUser,
    /// Of the project that the record names; without one for administrators. Only what is new is told.
    Journal,
}

/// Whom a key is about.
pub(super) struct Who {
    pub(super) audience: Audience,
    pub(super) name: String,
    pub(super) app: Option<String>,
}

impl Place {
    /// Whom the key of a record in this place is about; `None` where the record alone says it, and for keys that no record of
    /// ours has.
    pub(super) fn who(self, prefix: &str, rest: &str) -> Option<Who> {
        let parts: Vec<&str> = rest.split('/').collect();
        let project = |name: &str| ProjectName::new(name).ok().map(Audience::Project);
        let (audience, name, app) = match (self, parts.as_slice()) {
            (Self::Platform(role), [""]) => {
                let name = prefix.rsplit('/').next().unwrap_or_default();
                (Audience::Platform(role), name.to_owned(), None)
            }
            (Self::Platform(role), [name]) => (Audience::Platform(role), (*name).to_owned(), None),
            (Self::Project, [name]) => (project(name)?, (*name).to_owned(), None),
            (Self::InProject, [of, name]) => (project(of)?, (*name).to_owned(), None),
            (Self::OfApp(letter), [of, app, number]) => {
                let name = format!("{letter}{}", number.trim_start_matches('0'));
                (project(of)?, name, Some((*app).to_owned()))
            }
            (Self::OfUser, [user, name]) => {
                let user = UserName::new(*user).ok()?;
                (Audience::User(user), (*name).to_owned(), None)
            }
            _ => return None,
        };
        Some(Who {
            audience,
            name,
            app,
        })
    }
}

/// With what a record is looked at.
pub(super) struct Eye<'a> {
    pub(super) role: Role,
    pub(super) state: &'a ApiState,
}

/// The object of a record, as `view` makes it.
fn shown<S: Spec>(
    entry: &Entry,
    view: impl FnOnce(Of<S>) -> Of<S>,
) -> Result<String, OperationError>
where
    Of<S>: Serialize,
{
    serde_json::to_string(&view(decode_object::<S>(entry)?)).map_err(|source| {
        OperationError::Record {
            key: entry.key.clone(),
            source,
        }
    })
}

/// The object of a record, as it is.
fn plain<S: Spec>(entry: &Entry, _eye: &Eye<'_>) -> Result<String, OperationError>
where
    Of<S>: Serialize,
{
    shown::<S>(entry, |object| object)
}

fn app(entry: &Entry, _eye: &Eye<'_>) -> Result<String, OperationError> {
    shown::<AppSpec>(entry, view::app)
}

fn source(entry: &Entry, eye: &Eye<'_>) -> Result<String, OperationError> {
    shown::<SourceSpec>(entry, |source| view::source(source, eye.role))
}

fn build(entry: &Entry, eye: &Eye<'_>) -> Result<String, OperationError> {
    shown::<BuildSpec>(entry, |build| view::build(build, eye.role))
}

fn settings(entry: &Entry, eye: &Eye<'_>) -> Result<String, OperationError> {
    shown::<SettingsSpec>(entry, |settings| {
        view::settings(eye.state.control.with_status(settings))
    })
}

fn release(entry: &Entry, eye: &Eye<'_>) -> Result<String, OperationError> {
    shown::<ReleaseSpec>(entry, |release| view::release(release, eye.role))
}

/// What was asked for, with what the engine made of it.
fn pod(entry: &Entry, eye: &Eye<'_>) -> Result<String, OperationError> {
    shown::<PodSpec>(entry, |pod| {
        let seen = pod_id(&pod).and_then(|id| eye.state.control.observed.pod(&id));
        view::pod(merge(pod, seen.as_deref()), eye.role)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_says_whom_it_is_about() {
        let say = |key: &str| {
            let (stored, rest) = stored(key)?;
            let who = stored.place.who(stored.prefix, rest)?;
            Some((stored.kind, who.audience, who.name, who.app))
        };
        let shop = || Audience::Project(ProjectName::new("shop").unwrap());
        assert_eq!(
            say("/releases/shop/till/0000000012"),
            Some((
                Kind::Release,
                shop(),
                "v12".to_owned(),
                Some("till".to_owned())
            ))
        );
        assert_eq!(
            say("/apps/shop/till"),
            Some((Kind::App, shop(), "till".to_owned(), None))
        );
        assert_eq!(
            say("/projects/shop"),
            Some((Kind::Project, shop(), "shop".to_owned(), None))
        );
        let dan = Audience::User(UserName::new("dan").unwrap());
        assert_eq!(
            say("/tokens/dan/ci"),
            Some((Kind::Token, dan, "ci".to_owned(), None))
        );
        let admins = Audience::Platform(Role::Admin);
        assert_eq!(
            say("/users/dan"),
            Some((Kind::User, admins, "dan".to_owned(), None))
        );
        for secret in [
            "/credentials/dan",
            "/token-hashes/00",
            "/tokens-by-name/dan/ci",
            "/registry-access/shop",
            "/domains/example.com",
            "/pod-actions/shop/p",
            "/system/platform",
            "/apps/shop",
            "/apps/shop/a/b",
            "/apps/Up/a",
        ] {
            assert_eq!(say(secret), None, "{secret}");
        }
    }

    #[test]
    fn no_prefix_hides_another() {
        for (at, one) in STORED.iter().enumerate() {
            for other in &STORED[at + 1..] {
                assert!(!one.prefix.starts_with(other.prefix), "{}", one.prefix);
                assert!(!other.prefix.starts_with(one.prefix), "{}", other.prefix);
            }
        }
    }
}
