//! The description of this API: OpenAPI 3.1, made of the same list as the router, with the schemas of the very types
//! that are sent.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::IntoResponse;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::Answer;
use super::table::{Door, Endpoint, Sends, Shape, endpoints};
use crate::web::problem::Document;

/// Made once.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| document(&endpoints()).to_string());

/// What there is to know before anything else.
const ABOUT: &str = "How the fleet is, and the little that a human may do. Times are milliseconds since 1970 (UTC). \
                     Everything that is refused is a problem document (RFC 9457), whose `type` never changes meaning. Without \
                     tokens the server listens on loopback alone and everybody there may do everything.";

pub(super) fn endpoints_of_this() -> Vec<Endpoint> {
    let about = "This document";
    vec![Endpoint::get("/api/v1/openapi.json", openapi, about).sends_other("application/json")]
}

async fn openapi() -> Answer {
    Ok(([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response())
}

/// The whole document.
fn document(endpoints: &[Endpoint]) -> Value {
    let mut sent = SchemaSettings::draft2020_12().for_serialize().with(under_components).into_generator();
    let mut taken = SchemaSettings::draft2020_12().for_deserialize().with(inline).into_generator();
    let problem = sent.subschema_for::<Document<'static>>();
    let mut paths = Map::new();
    for endpoint in endpoints {
        let item = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        item[endpoint.method] = operation(endpoint, &mut sent, &mut taken);
    }
    json!({
        "openapi": "3.1.0",
        "info": {"title": "HMS-OPS war room", "version": env!("CARGO_PKG_VERSION"), "description": ABOUT},
        "paths": paths,
        "components": {
            "schemas": sent.take_definitions(true),
            "responses": {"problem": {
                "description": "It is refused, and nothing was changed.",
                "content": {"application/problem+json": {"schema": problem}},
            }},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "A token of [[tokens]] in ops.toml."},
                "session": {"type": "apiKey", "in": "cookie", "name": crate::web::sessions::COOKIE},
            },
        },
    })
}

fn under_components(settings: &mut SchemaSettings) {
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
}

fn inline(settings: &mut SchemaSettings) {
    settings.inline_subschemas = true;
    settings.meta_schema = None;
}

fn operation(endpoint: &Endpoint, sent: &mut SchemaGenerator, taken: &mut SchemaGenerator) -> Value {
    let mut operation = json!({
        "operationId": id(endpoint),
        "summary": endpoint.about,
        "parameters": parameters(endpoint, taken),
        "responses": {"default": {"$ref": "#/components/responses/problem"}},
    });
    let (status, success) = success(&endpoint.sends, sent);
    operation["responses"][status] = success;
    if let Some(body) = &endpoint.body {
        let content = body.kinds.iter().map(|kind| {
            let schema = body.shape.map_or_else(|| json!({}), |shape| json!({"schema": shape(taken)}));
            ((*kind).to_owned(), schema)
        });
        operation["requestBody"] = json!({"required": true, "content": content.collect::<Map<_, _>>()});
    }
    if let Door::Gate(right) | Door::Own(right) = endpoint.door {
        operation["security"] = json!([{"token": []}, {"session": []}]);
        operation["x-right"] = json!(right);
    }
    operation
}

/// `get_services_id_series`.
fn id(endpoint: &Endpoint) -> String {
    let path = endpoint.path.trim_start_matches("/api").trim_start_matches("/v1");
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    std::iter::once(endpoint.method).chain(words).collect::<Vec<_>>().join("_")
}

fn success(sends: &Sends, sent: &mut SchemaGenerator) -> (&'static str, Value) {
    match sends {
        Sends::Nothing => ("204", json!({"description": "Done."})),
        Sends::Json(shape) => {
            let content = json!({"application/json": {"schema": shape(sent)}});
            ("200", json!({"description": "As asked.", "content": content}))
        }
        Sends::Other(kind) => {
            let content = Map::from_iter([((*kind).to_owned(), json!({}))]);
            ("200", json!({"description": "As asked.", "content": content}))
        }
        Sends::Events(events) => {
            // OpenAPI 3.1 has no words for the events of a stream.
            let named: Map<_, _> =
                events.iter().map(|(name, shape)| ((*name).to_owned(), json!(shape(sent)))).collect();
            let content = json!({"text/event-stream": {"schema": {"type": "string"}, "x-events": named}});
            ("200", json!({"description": "Events, until the connection ends.", "content": content}))
        }
    }
}

/// Those of the path, of the query, and the header of what is done by hand.
fn parameters(endpoint: &Endpoint, taken: &mut SchemaGenerator) -> Vec<Value> {
    let named = endpoint.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut all: Vec<_> =
        named.map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}})).collect();
    if endpoint.is_by_hand {
        let about = "Any value; no form of another site can send it.";
        all.push(json!({
            "name": crate::web::gate::HAND, "in": "header", "required": true, "description": about,
            "schema": {"type": "string"}, "example": "1",
        }));
    }
    all.extend(endpoint.query.into_iter().flat_map(|shape| of_query(shape, taken)));
    all
}

/// The fields of a type, each a parameter.
fn of_query(shape: Shape, taken: &mut SchemaGenerator) -> Vec<Value> {
    let schema = shape(taken).to_value();
    let is_required = |name: &str| schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
    let fields = schema["properties"].as_object().cloned().unwrap_or_default();
    let parameter = |(name, mut schema): (String, Value)| {
        let about = schema.as_object_mut().and_then(|schema| schema.remove("description"));
        json!({
            "name": name, "in": "query", "required": is_required(&name), "description": about.unwrap_or_default(),
            "schema": schema,
        })
    };
    fields.into_iter().map(parameter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_somewhere_and_every_operation_has_a_name_of_its_own() {
        let document = document(&endpoints());
        let text = document.to_string();
        let names: Vec<_> = text.match_indices("\"$ref\":\"").map(|(at, found)| at + found.len()).collect();
        assert!(names.len() > 20, "{}", names.len());
        for at in names {
            let path = text[at..].split('"').next().unwrap();
            assert!(document.pointer(path.trim_start_matches('#')).is_some(), "{path}");
        }
        let operations =
            document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values());
        let ids: Vec<_> = operations.map(|operation| operation["operationId"].as_str().unwrap()).collect();
        let different: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(different.len(), ids.len());
        assert_eq!(ids.len(), endpoints().len(), "no operation hides another");
        let mut schemas = document["components"]["schemas"].as_object().unwrap().keys();
        let twice = schemas.find(|name| name.ends_with(|c: char| c.is_ascii_digit()));
        assert_eq!(twice, None, "two types have one name");
    }

    #[test]
    fn a_query_is_described_field_by_field() {
        let document = document(&endpoints());
        let parameters = document["paths"]["/api/v1/services/{id}/series"]["get"]["parameters"].as_array().unwrap();
        let named = |name: &str| parameters.iter().find(|one| one["name"] == name).unwrap();
        assert_eq!((&named("id")["in"], &named("id")["required"]), (&json!("path"), &json!(true)));
        assert_eq!((&named("from")["in"], &named("from")["required"]), (&json!("query"), &json!(false)));
        assert!(named("points")["description"].as_str().unwrap().contains("500"));
    }

    #[test]
    fn what_changes_something_by_hand_says_so() {
        let document = document(&endpoints());
        let by_hand = |path: &str| {
            let parameters = document["paths"][path]["post"]["parameters"].as_array().unwrap();
            parameters.iter().any(|one| one["name"] == "x-ops" && one["required"] == true)
        };
        assert!(by_hand("/api/v1/freeze") && by_hand("/api/v1/login") && !by_hand("/api/v1/emit"));
        assert_eq!(document["paths"]["/api/v1/register"]["post"]["x-right"], "act");
    }
}
