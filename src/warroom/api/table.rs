//! What is served under `/api/v1` (and OTLP's path): one list, of which both the router and its description are made, so
//! that neither can have what the other has not.

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodRouter, get, post};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::{
    Desk, actions, approvals, archive, explain, incidents, login, openapi, receive, register, services, stream,
};
use crate::web::{Gate, Right};

/// All of them.
pub(super) fn endpoints() -> Vec<Endpoint> {
    [
        login::endpoints(),
        services::endpoints(),
        incidents::endpoints(),
        explain::endpoints(),
        archive::endpoints(),
        actions::endpoints(),
        approvals::endpoints(),
        stream::endpoints(),
        receive::endpoints(),
        register::endpoints(),
        openapi::endpoints_of_this(),
    ]
    .concat()
}

/// The routes, each behind the gate that it needs.
pub(super) fn router(endpoints: Vec<Endpoint>, gate: &Gate) -> Router<Desk> {
    endpoints.into_iter().fold(Router::new(), |all, endpoint| {
        let one = Router::new().route(endpoint.path, endpoint.handler);
        all.merge(match endpoint.door {
            Door::Open => gate.clone().greet(one),
            Door::Gate(_) => gate.clone().protect(one),
            Door::Own(_) => one,
        })
    })
}

/// Makes the schema of a type.
pub(super) type Shape = fn(&mut SchemaGenerator) -> Schema;

fn shape<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// Also who has not logged in.
    Open,
    /// Whoever has this right.
    Gate(Right),
    /// The same, but what it leads to has a gate of its own.
    Own(Right),
}

/// What a request carries.
#[derive(Clone)]
pub(super) struct Body {
    /// Media types.
    pub(super) kinds: &'static [&'static str],
    /// Of JSON.
    pub(super) shape: Option<Shape>,
}

/// What comes back with success.
#[derive(Clone)]
pub(super) enum Sends {
    /// 204.
    Nothing,
    /// 200, JSON.
    Json(Shape),
    /// 200, server-sent events: name and data of those whose form is fixed.
    Events(Vec<(&'static str, Shape)>),
    /// 200, of another protocol.
    Other(&'static str),
}

/// One method of one path.
#[derive(Clone)]
pub(super) struct Endpoint {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) about: &'static str,
    pub(super) door: Door,
    /// Needs the header `x-ops`.
    pub(super) is_by_hand: bool,
    pub(super) query: Option<Shape>,
    pub(super) body: Option<Body>,
    pub(super) sends: Sends,
    handler: MethodRouter<Desk>,
}

impl Endpoint {
    pub(super) fn get<T: 'static>(path: &'static str, handler: impl Handler<T, Desk>, about: &'static str) -> Self {
        Self::new("get", path, get(handler), about)
    }

    pub(super) fn post<T: 'static>(path: &'static str, handler: impl Handler<T, Desk>, about: &'static str) -> Self {
        Self::new("post", path, post(handler), about)
    }

    fn new(method: &'static str, path: &'static str, handler: MethodRouter<Desk>, about: &'static str) -> Self {
        let (door, is_by_hand) = (Door::Open, false);
        Self { method, path, about, door, is_by_hand, query: None, body: None, sends: Sends::Nothing, handler }
    }

    /// Only who has this right, for the service in question.
    pub(super) fn needs(self, right: Right) -> Self {
        Self { door: Door::Gate(right), ..self }
    }

    /// The same, judged by what the handler leads to.
    pub(super) fn leads_to(self, right: Right) -> Self {
        Self { door: Door::Own(right), ..self }
    }

    /// Only with the header `x-ops`.
    pub(super) fn by_hand(self) -> Self {
        Self { is_by_hand: true, ..self }
    }

    pub(super) fn asks<T: JsonSchema>(self) -> Self {
        Self { query: Some(shape::<T>), ..self }
    }

    pub(super) fn takes<T: JsonSchema>(self) -> Self {
        Self { body: Some(Body { kinds: &["application/json"], shape: Some(shape::<T>) }), ..self }
    }

    /// A body that is no JSON of ours.
    pub(super) fn takes_any(self, kinds: &'static [&'static str]) -> Self {
        Self { body: Some(Body { kinds, shape: None }), ..self }
    }

    pub(super) fn sends<T: JsonSchema>(self) -> Self {
        Self { sends: Sends::Json(shape::<T>), ..self }
    }

    pub(super) fn sends_other(self, kind: &'static str) -> Self {
        Self { sends: Sends::Other(kind), ..self }
    }

    pub(super) fn tells<T: JsonSchema>(self, event: &'static str) -> Self {
        let mut events = match self.sends {
            Sends::Events(events) => events,
            _ => Vec::new(),
        };
        events.push((event, shape::<T> as Shape));
        Self { sends: Sends::Events(events), ..self }
    }
}
