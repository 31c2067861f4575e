//! The OpenAPI document. It is made from the routes themselves, in tests, and committed as `docs/openapi.json`; a test
//! fails when the committed one is stale. What is served is the committed one: making it takes more memory than serving
//! the whole API does.

use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;

#[cfg(test)]
pub(crate) use made::document;

/// The document, as it is committed.
const DOCUMENT: &str = include_str!("../../../docs/openapi.json");

/// The document.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "platform", responses((status = 200, description = "OpenAPI 3.1")))]
pub(crate) async fn read() -> impl IntoResponse {
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], DOCUMENT)
}

/// How it is made.
#[cfg(test)]
mod made {
    use serde_json::Value;
    use utoipa::openapi::{InfoBuilder, OpenApi};
    use utoipa_axum::router::OpenApiRouter;

    use crate::server::{bounded, streamed};

    /// The OpenAPI document of this version.
    pub(crate) fn document() -> Value {
        let mut document: OpenApi = streamed(bounded(OpenApiRouter::new())).into_openapi();
        document.info = InfoBuilder::new()
            .title("Coracle")
            .version(env!("CARGO_PKG_VERSION"))
            .description(Some("A private platform-as-a-service in one binary."))
            .build();
        let mut value = plain_names(serde_json::to_value(&document).unwrap_or_default());
        complete(&mut value);
        value
    }

    /// What OpenAPI demands and the routes' annotations do not say: an id of each operation that is unique in the whole
    /// document, and words to each answer.
    fn complete(document: &mut Value) {
        let Some(paths) = document["paths"].as_object_mut() else {
            return;
        };
        for (path, item) in paths {
            for (method, operation) in item.as_object_mut().into_iter().flatten() {
                operation["operationId"] = Value::String(operation_id(method, path));
                let responses = operation["responses"].as_object_mut();
                for (status, response) in responses.into_iter().flatten() {
                    let words = match status.as_str() {
                        "default" => "What went wrong (RFC 9457)",
                        "201" => "Made",
                        "202" => "Taken up; it comes true in a while",
                        _ => "Done",
                    };
                    if let Some(response) = response.as_object_mut() {
                        let described = response.get("description").and_then(Value::as_str);
                        if described.is_none_or(str::is_empty) {
                            response.insert("description".to_owned(), words.into());
                        }
                    }
                }
            }
        }
    }

    /// `get /api/v1/projects/{project}/apps` is `get_projects_project_apps`.
    fn operation_id(method: &str, path: &str) -> String {
        let path = path.strip_prefix("/api/v1").unwrap_or(path);
        let words = path
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty());
        std::iter::once(method)
            .chain(words)
            .collect::<Vec<_>>()
            .join("_")
    }

    /// Generic types get names such as `Object_AppSpec_AppStatus`; people read `App`.
    fn plain_names(value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(plain(&text)),
            Value::Array(items) => items.into_iter().map(plain_names).collect(),
            Value::Object(fields) => fields
                .into_iter()
                .map(|(key, value)| (plain(&key), plain_names(value)))
                .collect(),
            other => other,
        }
    }

    fn plain(text: &str) -> String {
        // The router's way to say that a parameter has slashes is not OpenAPI's, which has none.
        if text.starts_with('/') {
            return text.replace("{*", "{");
        }
        let (prefix, name) = match text.strip_prefix("#/components/schemas/") {
            Some(name) => ("#/components/schemas/", name),
            None => ("", text),
        };
        let named = |name: &str| -> Option<String> {
            let rest = name.strip_prefix("Object_")?;
            let (spec, status) = rest.split_once('_')?;
            let kind = spec.strip_suffix("Spec")?;
            (status == format!("{kind}Status")).then(|| kind.to_owned())
        };
        let renamed = if let Some(item) = name.strip_prefix("List_") {
            Some(format!(
                "{}List",
                named(item).unwrap_or_else(|| item.to_owned())
            ))
        } else if let Some(spec) = name.strip_prefix("Input_") {
            Some(format!(
                "{}Input",
                spec.strip_suffix("Spec").unwrap_or(spec)
            ))
        } else {
            named(name)
        };
        renamed.map_or_else(|| text.to_owned(), |renamed| format!("{prefix}{renamed}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_document_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
        let now = serde_json::to_string_pretty(&document()).unwrap() + "\n";
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, &now).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == now,
            "docs/openapi.json is stale: run the tests with UPDATE=1 and commit it"
        );
    }

    #[test]
    fn no_generated_name_is_left() {
        let text = serde_json::to_string(&document()).unwrap();
        assert!(
            !text.contains("Object_"),
            "{}",
            &text[text.find("Object_").unwrap_or(0)..][..60]
        );
    }
}
