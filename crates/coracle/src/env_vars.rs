//! Every environment variable that the program reads, in one place.

/// Where the platform keeps everything.
pub(crate) const DATA_DIR: &str = "CORACLE_DATA_DIR";
/// Address of the API, the dashboard and the registry.
pub(crate) const LISTEN: &str = "CORACLE_LISTEN";
/// Address of applications.
pub(crate) const HTTP: &str = "CORACLE_HTTP";
/// The domain that applications are served under.
pub(crate) const DOMAIN: &str = "CORACLE_DOMAIN";
/// The password of user `admin`, at the very first start only.
pub(crate) const ADMIN_PASSWORD: &str = "CORACLE_ADMIN_PASSWORD";
/// What the platform's own processes log, such as `debug` or `coracle_api=debug,info`.
pub(crate) const LOG: &str = "CORACLE_LOG";
/// The platform that the command line speaks to.
pub(crate) const URL: &str = "CORACLE_URL";
/// The token that it presents there.
pub(crate) const TOKEN: &str = "CORACLE_TOKEN";
/// The command line's own file.
pub(crate) const CONFIG: &str = "CORACLE_CONFIG";
/// The project that commands are about.
pub(crate) const PROJECT: &str = "CORACLE_PROJECT";
/// No colours, when it is set to anything but nothing (<https://no-color.org>).
pub(crate) const NO_COLOR: &str = "NO_COLOR";

/// The value of `name`, where it is set to something that is text.
pub(crate) fn read(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
